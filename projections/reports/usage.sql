-- What was used in a window, less what of it was refunded, by pool and unit of the calendar; a refund counts at its use.
SELECT
    kind, holder, currency, resource, date_trunc(%(size)s::text, use_at, 'UTC') AS point_at,
    -sum(amount)::numeric(38, 9) AS used
FROM ({moved}) AS moved
WHERE type IN ('ledger.debited', 'ledger.refunded') AND effective_at <= %(effective_at)s
    AND (%(start)s::timestamptz IS NULL OR use_at >= %(start)s)
    AND (%(end)s::timestamptz IS NULL OR use_at < %(end)s)
    AND (%(resource)s::text IS NULL OR resource = %(resource)s)
    AND (%(groups)s::text[] IS NULL OR EXISTS (
        SELECT FROM unnest(account_groups) AS named (id) WHERE named.id = ANY (%(groups)s::text[]) -- hashed, && is not
    ))
GROUP BY kind, holder, currency, resource, point_at
