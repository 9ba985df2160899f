-- Note how far the log was looked through, unless an operator has changed something meanwhile.
UPDATE webhook_endpoints SET position = %(until)s
WHERE id = %(id)s AND revision = %(revision)s AND disabled_at IS NULL
