SELECT id, url, types, holders, currencies, position, revision,
    (SELECT count(*) FROM webhook_messages WHERE endpoint_id = id AND parked_at IS NOT NULL) AS parked
FROM webhook_endpoints
WHERE id = %(id)s AND disabled_at IS NULL
