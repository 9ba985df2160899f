-- The pools on which something has fallen due, the longest overdue first; of one holder, if one is named.
SELECT kind, holder, currency, resource FROM due
WHERE due_at <= %(now)s AND (%(holder)s::text IS NULL OR (holder = %(holder)s AND kind = %(kind)s))
GROUP BY kind, holder, currency, resource
ORDER BY min(due_at), kind, holder, currency, resource
LIMIT %(limit)s
