UPDATE open_lots SET definition_version = changed.version
FROM unnest(%(streams)s::uuid[], %(versions)s::integer[]) AS changed (stream_id, version)
WHERE open_lots.stream_id = changed.stream_id
