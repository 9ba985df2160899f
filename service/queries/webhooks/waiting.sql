-- What waits to be delivered to an endpoint, in order.
SELECT position, holder, attempts FROM webhook_messages
WHERE endpoint_id = %(id)s AND parked_at IS NULL
ORDER BY position
