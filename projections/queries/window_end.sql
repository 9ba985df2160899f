-- Where a window that may hold %(limit)s events ends: at the end of a transaction, and not beyond the head.
SELECT transaction_last FROM movements
WHERE position = least(
    %(after)s::bigint + %(limit)s::bigint, (SELECT position FROM movements ORDER BY position DESC LIMIT 1)
)
