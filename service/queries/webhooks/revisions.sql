-- The endpoints that are to be delivered to, each with what changes whenever it does.
SELECT id, revision FROM webhook_endpoints WHERE disabled_at IS NULL
