SELECT * FROM movements
WHERE position > %(after)s AND position <= %(until)s AND lot IS NOT NULL
    AND (%(kind)s::text IS NULL OR kind = %(kind)s)
    AND (%(holders)s::text[] IS NULL OR holder = ANY (%(holders)s))
    AND (%(currency)s::text IS NULL OR currency = %(currency)s)
