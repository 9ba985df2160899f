WITH RECURSIVE every_list (currency, type) AS (
    (SELECT currency, type FROM {table}
     WHERE holder = %(holder)s AND kind = %(kind)s AND resource = %(resource)s
     ORDER BY currency, type LIMIT 1)
    UNION ALL
    SELECT next.currency, next.type FROM every_list AS this CROSS JOIN LATERAL (
        SELECT currency, type FROM {table}
        WHERE holder = %(holder)s AND kind = %(kind)s AND resource = %(resource)s
            AND (currency, type) > (this.currency, this.type)
        ORDER BY currency, type LIMIT 1
    ) AS next
),
list AS (
    SELECT currency, type FROM every_list
    WHERE (%(currency)s::text IS NULL OR currency = %(currency)s)
        AND (%(types)s::text[] IS NULL OR type = ANY (%(types)s))
)
SELECT coalesce(sum(one.total), 0)::bigint AS total FROM list CROSS JOIN LATERAL (
    SELECT count(*) AS total FROM {table}
    WHERE holder = %(holder)s AND kind = %(kind)s AND resource = %(resource)s
        AND currency = list.currency AND type = list.type AND position < %(below)s
) AS one
