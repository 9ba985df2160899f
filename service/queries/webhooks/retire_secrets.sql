-- What is good now is good until an instant at the latest.
UPDATE webhook_secrets SET good_until = least(coalesce(good_until, %(until)s), %(until)s) WHERE endpoint_id = %(id)s
