-- All events of the transactions that begin at the given positions.
SELECT e.*
FROM unnest(%(positions)s::bigint[]) AS wanted (position)
JOIN events AS first ON first.position = wanted.position
JOIN events AS e ON e.position BETWEEN first.position AND first.transaction_last
ORDER BY e.position
