-- A document that many transactions share is there already after the first of them.
INSERT INTO documents (id, body, sha256)
SELECT * FROM unnest(%(ids)s::uuid[], %(bodies)s::text[], %(hashes)s::text[])
ON CONFLICT (id) DO NOTHING
