-- Which pool the streams belong to; it never changes.
SELECT wanted.stream_id, first.kind, first.holder, first.currency, first.resource
FROM unnest(%(streams)s::uuid[]) AS wanted (stream_id)
CROSS JOIN LATERAL (
    SELECT kind, holder, currency, resource FROM events WHERE stream_id = wanted.stream_id ORDER BY version LIMIT 1
) AS first
