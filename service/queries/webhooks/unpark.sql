UPDATE webhook_messages SET parked_at = NULL, error = NULL, attempts = 0
WHERE endpoint_id = %(id)s AND parked_at IS NOT NULL
