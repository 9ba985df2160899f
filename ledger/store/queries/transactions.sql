-- All events of the transactions that begin at the given positions: one look-up for each, whatever the planner believes.
SELECT own.*
FROM unnest(%(positions)s::bigint[]) AS wanted (position)
CROSS JOIN LATERAL (
    SELECT position, transaction_last FROM events WHERE position = wanted.position OFFSET 0
) AS first
CROSS JOIN LATERAL (
    SELECT * FROM events WHERE position BETWEEN first.position AND first.transaction_last OFFSET 0
) AS own
ORDER BY own.position
