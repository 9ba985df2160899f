SELECT * FROM events
WHERE position > %(after)s
    AND position <= %(until)s
    AND (%(types)s::text[] IS NULL OR type = ANY(%(types)s::text[]))
ORDER BY position
LIMIT %(limit)s
