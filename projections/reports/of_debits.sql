-- The draws of some debits and their refunds, as they add to what was used.
SELECT debit_id::text AS branch, position, effective_at AS counts_at, -amount AS amount
FROM movements
WHERE debit_id = ANY (%(debits)s::uuid[]) AND position <= %(until)s AND effective_at <= %(effective_at)s
