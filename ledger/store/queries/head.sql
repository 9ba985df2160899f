SELECT
    meta.epoch,
    last.position,
    last.recorded_at
FROM log_meta AS meta
LEFT JOIN LATERAL (
    SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1
) AS last ON true
