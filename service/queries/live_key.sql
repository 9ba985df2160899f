SELECT role, holders, sha256 FROM api_keys WHERE id = %(id)s AND revoked_at IS NULL
