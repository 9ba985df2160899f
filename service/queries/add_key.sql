INSERT INTO api_keys (id, name, role, holders, sha256, created_at)
VALUES (%(id)s, %(name)s, %(role)s, %(holders)s::text[], %(sha256)s, %(created_at)s)
