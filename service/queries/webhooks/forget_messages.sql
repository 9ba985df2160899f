DELETE FROM webhook_messages WHERE endpoint_id = %(id)s AND position >= %(first)s
