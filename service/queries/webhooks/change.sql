-- Whoever delivers to an endpoint begins anew; until the transaction ends, he notes nothing.
UPDATE webhook_endpoints SET revision = revision + 1 WHERE id = %(id)s
