-- What people call grants, as the first event of each tells.
SELECT streams.stream_id, first.readable_id
FROM unnest(%(streams)s::uuid[]) AS streams (stream_id)
CROSS JOIN LATERAL (
    SELECT readable_id FROM movements WHERE stream_id = streams.stream_id ORDER BY version LIMIT 1
) AS first
