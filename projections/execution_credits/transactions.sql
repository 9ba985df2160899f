-- The debits and refunds of credits up to a version of each, its newest ones, read from the log; so many in all at most.
SELECT
    wanted.version AS up_to, moved.stream_id AS credit, moved.version, moved.type, moved.transaction_id,
    abs(moved.amount) AS credits, moved.debit_id, moved.recorded_at
FROM unnest(%(credits)s::uuid[], %(versions)s::integer[]) AS wanted (credit, version)
CROSS JOIN LATERAL (
    SELECT * FROM movements
    WHERE stream_id = wanted.credit AND version <= wanted.version AND type IN ('ledger.debited', 'ledger.refunded')
    ORDER BY version DESC LIMIT %(limit)s OFFSET %(offset)s
) AS moved
LIMIT %(rows_max)s
