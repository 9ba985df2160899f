DELETE FROM webhook_secrets WHERE endpoint_id = %(id)s AND good_until <= %(now)s
