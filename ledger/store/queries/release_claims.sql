DELETE FROM claims USING unnest(%(kinds)s::text[], %(values)s::text[], %(streams)s::uuid[]) AS let_go (kind, value, stream_id)
WHERE claims.kind = let_go.kind AND claims.value = let_go.value AND claims.stream_id = let_go.stream_id
