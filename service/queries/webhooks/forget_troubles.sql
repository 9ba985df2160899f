DELETE FROM webhook_troubles WHERE endpoint_id = %(id)s
