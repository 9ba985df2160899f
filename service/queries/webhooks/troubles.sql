SELECT holder, attempts, failing_seconds, error FROM webhook_troubles
WHERE endpoint_id = %(id)s
ORDER BY holder
