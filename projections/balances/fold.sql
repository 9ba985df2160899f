-- The window's movements by pool, added to what was there. The law of the lots, summed, is a CHECK of the table.
-- First by type as well, so that each movement is added once.
WITH by_type AS (
    SELECT kind, holder, currency, resource, type, sum(amount) AS amount, max(position) AS position
    FROM movements
    WHERE position > %(after)s AND position <= %(until)s AND amount IS NOT NULL
    GROUP BY kind, holder, currency, resource, type
),
in_window AS (
    SELECT
        kind, holder, currency, resource,
        coalesce(sum(amount) FILTER (WHERE type = 'ledger.granted'), 0) AS granted,
        coalesce(-sum(amount) FILTER (WHERE type = 'ledger.debited'), 0) AS debited,
        coalesce(sum(amount) FILTER (WHERE type = 'ledger.refunded'), 0) AS refunded,
        coalesce(-sum(amount) FILTER (WHERE type = 'ledger.voided'), 0) AS voided,
        coalesce(-sum(amount) FILTER (WHERE type = 'ledger.expired'), 0) AS expired,
        sum(amount) AS balance,
        max(position) AS position
    FROM by_type
    GROUP BY kind, holder, currency, resource
)
INSERT INTO {table} (
    kind, holder, currency, resource, granted, debited, refunded, voided, expired, balance, position
)
SELECT
    new.kind, new.holder, new.currency, new.resource,
    new.granted + coalesce(before.granted, 0),
    new.debited + coalesce(before.debited, 0),
    new.refunded + coalesce(before.refunded, 0),
    new.voided + coalesce(before.voided, 0),
    new.expired + coalesce(before.expired, 0),
    new.balance + coalesce(before.balance, 0),
    new.position
FROM in_window AS new
LEFT JOIN {table} AS before
    ON before.holder = new.holder AND before.currency = new.currency AND before.kind = new.kind
    AND before.resource IS NOT DISTINCT FROM new.resource
ON CONFLICT (holder, currency, kind, resource) DO UPDATE SET
    granted  = excluded.granted,
    debited  = excluded.debited,
    refunded = excluded.refunded,
    voided   = excluded.voided,
    expired  = excluded.expired,
    balance  = excluded.balance,
    position = excluded.position
