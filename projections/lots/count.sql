SELECT count(*) AS total FROM {table}
WHERE holder = %(holder)s AND kind = %(kind)s AND resource IS NOT DISTINCT FROM %(resource)s::text
    AND (%(currency)s::text IS NULL OR currency = %(currency)s)
    AND (%(status)s::text IS NULL OR %(status)s = CASE
            WHEN voided_at IS NOT NULL THEN 'VOIDED'
            WHEN used = granted THEN 'CONSUMED'
            WHEN expires_at <= %(now)s THEN 'EXPIRED'
            WHEN effective_at > %(now)s OR awaiting_payment THEN 'PENDING'
            ELSE 'ACTIVE'
        END)
