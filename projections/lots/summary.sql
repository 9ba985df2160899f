-- What of some holders' lots is usable at %(now)s, by pool, and when that changes by itself. No currency: all of them.
SELECT
    holder, resource, currency,
    coalesce(sum(granted) FILTER (WHERE usable), 0)::numeric(38, 9) AS granted,
    coalesce(sum(used) FILTER (WHERE usable), 0)::numeric(38, 9) AS used,
    coalesce(sum(balance) FILTER (WHERE usable), 0)::numeric(38, 9) AS available,
    least(
        min(effective_at) FILTER (WHERE changes AND effective_at > %(now)s),
        min(expires_at) FILTER (WHERE changes AND expires_at > %(now)s)
    ) AS valid_until
FROM (
    SELECT
        lots.*,
        voided_at IS NULL AND NOT awaiting_payment AND balance > 0 AS changes,
        voided_at IS NULL AND NOT awaiting_payment
            AND effective_at <= %(now)s AND (expires_at IS NULL OR expires_at > %(now)s) AS usable
    FROM unnest(%(holders)s::text[], %(resources)s::text[], %(currencies)s::text[])
        AS wanted (holder, resource, currency)
    JOIN {table} AS lots
        ON lots.holder = wanted.holder AND lots.kind = %(kind)s
        AND lots.resource IS NOT DISTINCT FROM wanted.resource
        AND (wanted.currency IS NULL OR lots.currency = wanted.currency)
) AS lots
GROUP BY holder, resource, currency
ORDER BY holder, resource, currency
