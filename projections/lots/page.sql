-- One page of a holder's lots, newest first; %(backward)s reads from the old end of the window, oldest first.
WITH wanted AS (
    SELECT * FROM {table}
    WHERE holder = %(holder)s AND kind = %(kind)s AND resource IS NOT DISTINCT FROM %(resource)s::text
        AND (%(currency)s::text IS NULL OR currency = %(currency)s)
        AND (%(status)s::text IS NULL OR %(status)s = CASE
            WHEN voided_at IS NOT NULL THEN 'VOIDED'
            WHEN used = granted THEN 'CONSUMED'
            WHEN expires_at <= %(now)s THEN 'EXPIRED'
            WHEN effective_at > %(now)s OR awaiting_payment THEN 'PENDING'
            ELSE 'ACTIVE'
        END)
        AND first_position > %(above)s AND first_position < %(below)s
),
page AS (
    (SELECT * FROM wanted WHERE NOT %(backward)s ORDER BY first_position DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM wanted WHERE %(backward)s ORDER BY first_position LIMIT %(limit)s)
)
SELECT
    lot, stream_id, kind, holder, currency, resource, grant_type, readable_id, cost_amount, cost_currency, document_id,
    effective_at, expires_at, created_at, updated_at, priority, awaiting_payment,
    granted, used, voided, expired, balance, voided_at, details, rolled_over_to, first_position, last_position
FROM page
