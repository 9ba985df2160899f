-- Where the log ends, and where a stretch that begins after a position does: at the end of a transaction.
SELECT log.head, coalesce(reached.transaction_last, log.head) AS until
FROM (SELECT coalesce(max(position), 0) AS head FROM events) AS log
LEFT JOIN events AS reached ON reached.position = %(after)s::bigint + %(events_max)s::bigint
