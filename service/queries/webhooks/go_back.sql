-- Never forward: what was not looked through yet comes by itself.
UPDATE webhook_endpoints SET position = least(position, %(first)s::bigint - 1) WHERE id = %(id)s
