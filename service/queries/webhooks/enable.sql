UPDATE webhook_endpoints SET disabled_at = NULL, disabled_why = NULL WHERE id = %(id)s
