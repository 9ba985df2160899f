-- Messages that were tried in vain; those with an instant are given up.
UPDATE webhook_messages AS kept
SET attempts = told.attempts, error = told.error, parked_at = told.parked_at
FROM unnest(%(positions)s::bigint[], %(attempts)s::integer[], %(errors)s::text[], %(parked)s::timestamptz[])
    AS told (position, attempts, error, parked_at)
WHERE kept.endpoint_id = %(id)s AND kept.position = told.position
