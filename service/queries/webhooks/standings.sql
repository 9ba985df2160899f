-- The endpoints, or one of them, and how each is getting on.
SELECT
    id, url, description, types, holders, currencies, endpoints.position, created_at, disabled_at, disabled_why,
    greatest(head.position - endpoints.position, 0) AS lag,
    (SELECT count(*) FROM webhook_messages WHERE endpoint_id = id AND parked_at IS NULL) AS waiting,
    (SELECT count(*) FROM webhook_messages WHERE endpoint_id = id AND parked_at IS NOT NULL) AS parked,
    (SELECT count(*) FROM webhook_troubles WHERE endpoint_id = id) AS failing,
    coalesce(
        (SELECT error FROM webhook_troubles WHERE endpoint_id = id ORDER BY failing_seconds DESC, holder LIMIT 1),
        (SELECT error FROM webhook_messages WHERE endpoint_id = id AND parked_at IS NOT NULL ORDER BY position DESC LIMIT 1)
    ) AS error
FROM webhook_endpoints AS endpoints,
    (SELECT coalesce(max(movements.position), 0) AS position FROM movements) AS head
WHERE %(id)s::text IS NULL OR id = %(id)s
ORDER BY created_at, id
