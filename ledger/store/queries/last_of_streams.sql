-- The last event of each stream, which for a schedule and an automatic recharge tells them whole.
SELECT last.* FROM unnest(%(streams)s::uuid[]) AS wanted (stream_id)
CROSS JOIN LATERAL (
    SELECT * FROM events WHERE stream_id = wanted.stream_id ORDER BY version DESC LIMIT 1
) AS last
