-- The draws of debits, and what has come back of each in all. In no order: asked for one, the planner may walk the whole
-- log rather than sort a few rows.
SELECT
    min(position) AS position, debit_id, type, stream_id, lot, sum(amount)::numeric(38, 9) AS amount,
    use_at, account_groups, kind, holder, currency, resource
FROM events
WHERE debit_id = ANY(%(debits)s::uuid[])
GROUP BY debit_id, type, stream_id, lot, use_at, account_groups, kind, holder, currency, resource
