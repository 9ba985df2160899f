-- Forget the oldest attempts of an endpoint: those before an instant, and those that are too many.
DELETE FROM webhook_attempts
WHERE (endpoint_id, number) IN (
    SELECT endpoint_id, number
    FROM (
        SELECT endpoint_id, number, attempted_at FROM webhook_attempts
        WHERE endpoint_id = %(id)s
        ORDER BY number
        LIMIT %(limit)s
    ) AS oldest
    WHERE attempted_at < %(before)s
        OR number <= (SELECT max(number) FROM webhook_attempts WHERE endpoint_id = %(id)s) - %(kept_max)s
)
