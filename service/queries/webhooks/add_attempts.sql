INSERT INTO webhook_attempts (endpoint_id, position, attempt, attempted_at, milliseconds, status, error)
SELECT %(id)s, told.position, told.attempt, told.attempted_at, told.milliseconds, told.status, told.error
FROM unnest(
    %(positions)s::bigint[], %(attempts)s::integer[], %(instants)s::timestamptz[], %(milliseconds)s::integer[],
    %(statuses)s::smallint[], %(errors)s::text[]
) WITH ORDINALITY AS told (position, attempt, attempted_at, milliseconds, status, error, place)
ORDER BY told.place
