INSERT INTO {table} (kind, holder, resource, currency, type, position)
SELECT kind, holder, coalesce(resource, ''), currency, type, position
FROM movements
WHERE position > %(after)s AND position <= %(until)s AND amount IS NOT NULL
ORDER BY position
