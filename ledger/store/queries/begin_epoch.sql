-- Nothing is begun after a position that the log has not.
WITH log AS (
    SELECT coalesce(max(position), 0) AS head FROM events
),
begun AS (
    INSERT INTO epochs (number, epoch, began_after, began_at, began_by, reason)
    SELECT (SELECT max(number) + 1 FROM epochs), gen_random_uuid(), coalesce(%(after)s::bigint, log.head),
        %(now)s::timestamptz, %(by)s::text, %(reason)s::text
    FROM log WHERE coalesce(%(after)s::bigint, log.head) BETWEEN 0 AND log.head
    RETURNING *
),
told AS (
    UPDATE log_meta SET epoch = begun.epoch FROM begun
)
SELECT epoch, began_after, began_at, began_by, reason FROM begun
