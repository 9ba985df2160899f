-- Debits with their refunds, in the order of the log.
SELECT
    debit_id, type, stream_id, lot, amount, use_at, account_groups,
    kind, holder, currency, resource
FROM events
WHERE debit_id = ANY(%(debits)s::uuid[])
ORDER BY position
