-- By lot: its last event tells its state, the last one that has terms its terms and what else a grant is; what was
-- voided and expired adds up. All three have the same lots, and they are FULL JOINs because these are hashed, whatever
-- the planner believes of a table that it knows nothing of: nested loops over a large window would never end.
WITH in_window AS (
    SELECT * FROM movements WHERE position > %(after)s AND position <= %(until)s AND lot IS NOT NULL
),
last_of_lot AS (
    SELECT DISTINCT ON (lot) * FROM in_window ORDER BY lot, position DESC
),
terms_of_lot AS (
    SELECT DISTINCT ON (lot)
        lot, lot_effective_at, lot_expires_at, lot_created_at, lot_priority, lot_awaiting_payment,
        grant_details, grant_document_id
    FROM in_window WHERE lot_created_at IS NOT NULL ORDER BY lot, position DESC
),
sums_of_lot AS (
    SELECT
        lot,
        coalesce(-sum(amount) FILTER (WHERE type = 'ledger.voided'), 0) AS voided,
        coalesce(-sum(amount) FILTER (WHERE type = 'ledger.voided' AND cause = 'RESIZED'), 0) AS lowered,
        coalesce(-sum(amount) FILTER (WHERE type = 'ledger.expired'), 0) AS expired,
        min(recorded_at) FILTER (WHERE type = 'ledger.voided' AND cause IN ('VOIDED', 'DELETED')) AS voided_at,
        max(readable_id) AS readable_id,
        max(cost_amount) AS cost_amount,
        max(cost_currency) AS cost_currency,
        max(rolled_over_to::text)::uuid AS rolled_over_to,
        bool_or(lot_awaiting_payment) AS awaited,
        min(recorded_at) FILTER (WHERE NOT lot_awaiting_payment) AS awaits_no_more_at,
        min(position) AS first_position
    FROM in_window GROUP BY lot
)
INSERT INTO {table} (
    lot, stream_id, kind, holder, currency, resource, grant_type,
    readable_id, cost_amount, cost_currency, document_id,
    effective_at, expires_at, created_at, updated_at, priority, awaiting_payment,
    granted, used, voided, expired, balance, voided_at, lowered, opened_at, details, rolled_over_to, first_position,
    last_position
)
SELECT
    last.lot, last.stream_id, last.kind, last.holder, last.currency, last.resource, last.grant_type,
    coalesce(sums.readable_id, before.readable_id),
    coalesce(sums.cost_amount, before.cost_amount),
    coalesce(sums.cost_currency, before.cost_currency),
    coalesce(terms.grant_document_id, before.document_id),
    coalesce(terms.lot_effective_at, before.effective_at),
    CASE WHEN terms.lot IS NULL THEN before.expires_at ELSE terms.lot_expires_at END,
    coalesce(terms.lot_created_at, before.created_at),
    last.recorded_at,
    coalesce(terms.lot_priority, before.priority),
    coalesce(terms.lot_awaiting_payment, before.awaiting_payment),
    last.lot_granted,
    last.lot_used,
    coalesce(before.voided, 0) + sums.voided,
    coalesce(before.expired, 0) + sums.expired,
    last.lot_balance,
    coalesce(before.voided_at, sums.voided_at),
    coalesce(before.lowered, 0) + sums.lowered,
    coalesce(
        before.opened_at, CASE WHEN coalesce(before.awaiting_payment, sums.awaited) THEN sums.awaits_no_more_at END
    ),
    coalesce(terms.grant_details, before.details),
    coalesce(before.rolled_over_to, sums.rolled_over_to),
    coalesce(before.first_position, sums.first_position),
    last.position
FROM last_of_lot AS last
FULL JOIN sums_of_lot AS sums USING (lot)
FULL JOIN terms_of_lot AS terms USING (lot)
LEFT JOIN {table} AS before USING (lot)
ON CONFLICT (lot) DO UPDATE SET
    document_id      = excluded.document_id,
    effective_at     = excluded.effective_at,
    expires_at       = excluded.expires_at,
    updated_at       = excluded.updated_at,
    priority         = excluded.priority,
    awaiting_payment = excluded.awaiting_payment,
    granted          = excluded.granted,
    used             = excluded.used,
    voided           = excluded.voided,
    expired          = excluded.expired,
    balance          = excluded.balance,
    voided_at        = excluded.voided_at,
    lowered          = excluded.lowered,
    opened_at        = excluded.opened_at,
    details          = excluded.details,
    rolled_over_to   = excluded.rolled_over_to,
    last_position    = excluded.last_position
