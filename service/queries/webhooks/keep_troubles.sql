INSERT INTO webhook_troubles (endpoint_id, holder, attempts, failing_seconds, error)
SELECT %(id)s, told.holder, told.attempts, told.failing_seconds, told.error
FROM unnest(%(holders)s::text[], %(attempts)s::integer[], %(seconds)s::double precision[], %(errors)s::text[])
    AS told (holder, attempts, failing_seconds, error)
ON CONFLICT (endpoint_id, holder) DO UPDATE
SET attempts = excluded.attempts, failing_seconds = excluded.failing_seconds, error = excluded.error
