INSERT INTO documents (id, body, sha256)
SELECT * FROM unnest(%(ids)s::uuid[], %(bodies)s::text[], %(hashes)s::text[])
