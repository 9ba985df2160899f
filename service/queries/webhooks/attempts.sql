-- The last attempts for an endpoint, newest first.
SELECT attempted_at, position, attempt, status, milliseconds, error FROM webhook_attempts
WHERE endpoint_id = %(id)s AND (error IS NOT NULL OR NOT %(failed)s)
ORDER BY number DESC
LIMIT %(limit)s
