INSERT INTO claims (kind, value, stream_id)
SELECT * FROM unnest(%(kinds)s::text[], %(values)s::text[], %(streams)s::uuid[])
