SELECT
    count(*) FILTER (WHERE parked_at IS NULL) AS waiting,
    count(*) FILTER (WHERE parked_at IS NOT NULL) AS parked,
    (SELECT count(*) FROM webhook_troubles) AS failing
FROM webhook_messages
