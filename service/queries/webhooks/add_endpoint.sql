INSERT INTO webhook_endpoints (id, url, description, types, holders, currencies, position, created_at)
VALUES (
    %(id)s, %(url)s, %(description)s, %(types)s::text[], %(holders)s::text[], %(currencies)s::text[], %(position)s, %(now)s
)
