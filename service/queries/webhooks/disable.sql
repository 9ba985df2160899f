UPDATE webhook_endpoints
SET disabled_at = coalesce(disabled_at, %(now)s), disabled_why = coalesce(disabled_why, %(why)s), revision = revision + 1
WHERE id = %(id)s AND revision = coalesce(%(revision)s::integer, revision)
