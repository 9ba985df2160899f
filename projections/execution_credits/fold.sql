-- By credit: its last definition, the lot it was granted last, and what the last event about that lot left used of it.
-- A renewal counts at the period's beginning, whenever it was recorded; with it the definition of a cycle that turns.
-- What only definitions and grants tell is asked of these alone: to look into the details of every event would take most
-- of the time. FULL JOINs are hashed, whatever the planner believes of a table that it knows nothing of.
WITH in_window AS MATERIALIZED (
    SELECT stream_id, version, transaction_id, recorded_at, effective_at, cause, lot, terms_version, lot_used
    FROM movements WHERE position > %(after)s AND position <= %(until)s AND kind = 'EXECUTION_CREDIT'
),
telling AS MATERIALIZED (
    SELECT * FROM movements
    WHERE position > %(after)s AND position <= %(until)s AND kind = 'EXECUTION_CREDIT'
        AND type IN ('ledger.execution-credit-defined', 'ledger.granted')
),
touched AS (
    SELECT
        stream_id, max(version) AS version,
        max(
            CASE
                WHEN transaction_id IN (SELECT transaction_id FROM in_window WHERE cause = 'RENEWED') THEN effective_at
                ELSE recorded_at
            END
        ) AS updated_at
    FROM in_window GROUP BY stream_id
),
defined AS (
    SELECT DISTINCT ON (stream_id)
        stream_id, credit_type, rollup_type, allotment AS credits, anchor_at, deleted_at,
        definition ->> 'next_rollup_type' AS next_rollup_type,
        coalesce((definition ->> 'first_month')::integer, 0) AS first_month,
        (definition ->> 'created_at')::timestamptz AS created_at
    FROM telling WHERE type = 'ledger.execution-credit-defined' ORDER BY stream_id, version DESC
),
opened AS (
    SELECT stream_id, holder AS company, document_id FROM telling WHERE version = 1
),
granted AS (
    SELECT DISTINCT ON (stream_id) stream_id, lot, lot_expires_at AS ends_at
    FROM telling WHERE type = 'ledger.granted' ORDER BY stream_id, version DESC
),
-- Of the lots in the window the newest one; a refund may go to older ones.
newest AS (
    SELECT DISTINCT ON (stream_id) stream_id, lot, lot_used
    FROM in_window WHERE lot IS NOT NULL ORDER BY stream_id, terms_version DESC, version DESC
)
INSERT INTO {table} (
    credit, company, credit_type, rollup_type, next_rollup_type, credits, anchor_at, first_month,
    created_at, updated_at, deleted_at, document_id, lot, ends_at, used, version
)
SELECT
    stream_id,
    coalesce(before.company, opened.company),
    coalesce(before.credit_type, defined.credit_type),
    coalesce(defined.rollup_type, before.rollup_type),
    CASE WHEN defined.stream_id IS NULL THEN before.next_rollup_type ELSE defined.next_rollup_type END,
    coalesce(defined.credits, before.credits),
    coalesce(before.anchor_at, defined.anchor_at),
    coalesce(defined.first_month, before.first_month),
    coalesce(before.created_at, defined.created_at),
    greatest(before.updated_at, touched.updated_at),
    coalesce(defined.deleted_at, before.deleted_at),
    CASE WHEN before.credit IS NULL THEN opened.document_id ELSE before.document_id END,
    coalesce(granted.lot, before.lot),
    CASE WHEN granted.lot IS NULL THEN before.ends_at ELSE granted.ends_at END,
    CASE WHEN newest.lot = coalesce(granted.lot, before.lot) THEN newest.lot_used ELSE before.used END,
    touched.version
FROM touched
FULL JOIN defined USING (stream_id)
FULL JOIN opened USING (stream_id)
FULL JOIN granted USING (stream_id)
FULL JOIN newest USING (stream_id)
LEFT JOIN {table} AS before ON before.credit = stream_id
ON CONFLICT (credit) DO UPDATE SET
    rollup_type      = excluded.rollup_type,
    next_rollup_type = excluded.next_rollup_type,
    credits          = excluded.credits,
    first_month      = excluded.first_month,
    updated_at       = excluded.updated_at,
    deleted_at       = excluded.deleted_at,
    lot              = excluded.lot,
    ends_at          = excluded.ends_at,
    used             = excluded.used,
    version          = excluded.version
