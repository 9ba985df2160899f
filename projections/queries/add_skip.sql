INSERT INTO projection_skips (name, position, reason, skipped_at, skipped_by)
VALUES (%(name)s, %(position)s, %(reason)s, %(skipped_at)s, %(skipped_by)s)
ON CONFLICT DO NOTHING
