-- What of a holder's lots is usable at %(now)s, by currency, and when that changes by itself.
SELECT
    currency,
    coalesce(sum(granted) FILTER (WHERE usable), 0)::numeric(38, 9) AS granted,
    coalesce(sum(used) FILTER (WHERE usable), 0)::numeric(38, 9) AS used,
    coalesce(sum(balance) FILTER (WHERE usable), 0)::numeric(38, 9) AS available,
    least(
        min(effective_at) FILTER (WHERE changes AND effective_at > %(now)s),
        min(expires_at) FILTER (WHERE changes AND expires_at > %(now)s)
    ) AS valid_until
FROM (
    SELECT
        *,
        voided_at IS NULL AND NOT awaiting_payment AND balance > 0 AS changes,
        voided_at IS NULL AND NOT awaiting_payment
            AND effective_at <= %(now)s AND (expires_at IS NULL OR expires_at > %(now)s) AS usable
    FROM {table}
    WHERE holder = %(holder)s AND kind = %(kind)s AND resource IS NOT DISTINCT FROM %(resource)s::text
        AND (%(currency)s::text IS NULL OR currency = %(currency)s)
) AS lots
GROUP BY currency
ORDER BY currency
