SELECT * FROM events
WHERE stream_id = %(stream)s
    AND (%(gt)s::integer IS NULL OR version > %(gt)s)
    AND (%(lte)s::integer IS NULL OR version <= %(lte)s)
ORDER BY version DESC
LIMIT %(limit)s
