-- The newest of an endpoint's secrets, newest first.
SELECT secret, created_at, good_until FROM webhook_secrets
WHERE endpoint_id = %(id)s
ORDER BY good_until DESC NULLS FIRST, created_at DESC
LIMIT %(limit)s
