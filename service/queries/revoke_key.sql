UPDATE api_keys SET revoked_at = coalesce(revoked_at, %(now)s) WHERE id = %(id)s
RETURNING id, name, role, holders, created_at, revoked_at
