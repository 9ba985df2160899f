INSERT INTO webhook_secrets (endpoint_id, secret, created_at) VALUES (%(id)s, %(secret)s, %(now)s)
