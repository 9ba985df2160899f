-- A holder's pools of one kind, their lots summed: all of each column, and what of the balance is usable at %(now)s.
-- No currency: all of them. No resource: all pools; an empty one: the holder's own, of none.
SELECT
    currency, resource,
    sum(granted)::numeric(38, 9) AS granted,
    sum(used)::numeric(38, 9) AS used,
    sum(voided)::numeric(38, 9) AS voided,
    sum(expired)::numeric(38, 9) AS expired,
    sum(balance)::numeric(38, 9) AS booked,
    coalesce(sum(balance) FILTER (
        WHERE voided_at IS NULL AND NOT awaiting_payment
            AND effective_at <= %(now)s AND (expires_at IS NULL OR expires_at > %(now)s)
    ), 0)::numeric(38, 9) AS available
FROM {table}
WHERE holder = %(holder)s AND kind = %(kind)s
    AND (%(currency)s::text IS NULL OR currency = %(currency)s)
    AND (%(resource)s::text IS NULL OR coalesce(resource, '') = %(resource)s)
GROUP BY currency, resource
ORDER BY currency COLLATE "C", resource COLLATE "C" NULLS FIRST
LIMIT %(pools_max)s + 1
