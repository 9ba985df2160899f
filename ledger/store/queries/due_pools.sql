-- The pools on which something has fallen due, the longest overdue first.
SELECT kind, holder, currency, resource FROM due
WHERE due_at <= %(now)s
GROUP BY kind, holder, currency, resource
ORDER BY min(due_at), kind, holder, currency, resource
LIMIT %(limit)s
