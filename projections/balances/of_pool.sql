SELECT granted, debited, refunded, voided, expired, balance, position FROM {table}
WHERE holder = %(holder)s AND currency = %(currency)s AND kind = %(kind)s
    AND resource IS NOT DISTINCT FROM %(resource)s::text
