SELECT position, holder, attempts, parked_at, error FROM webhook_messages
WHERE endpoint_id = %(id)s AND parked_at IS NOT NULL
ORDER BY position
LIMIT %(limit)s
