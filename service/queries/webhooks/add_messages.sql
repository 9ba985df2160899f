INSERT INTO webhook_messages (endpoint_id, position, holder)
SELECT %(id)s, told.position, told.holder
FROM unnest(%(positions)s::bigint[], %(holders)s::text[]) AS told (position, holder)
