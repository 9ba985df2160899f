SELECT * FROM movements
WHERE position = ANY (%(positions)s::bigint[]) AND lot IS NOT NULL
    AND kind = %(kind)s AND holder = ANY (%(holders)s)
    AND (%(currency)s::text IS NULL OR currency = %(currency)s)
