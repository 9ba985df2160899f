-- The first few events of each branch, in the order they count, and what the rest of a branch comes to.
WITH placed AS (
    SELECT
        branch, position, counts_at, amount,
        row_number() OVER (PARTITION BY branch ORDER BY counts_at, position) AS place
    FROM ({picked}) AS picked
)
SELECT branch, 1 AS number, amount, position AS first, position AS last, counts_at
FROM placed WHERE place <= %(leaves)s
UNION ALL
SELECT branch, count(*), sum(amount)::numeric(38, 9), min(position), max(position), NULL
FROM placed WHERE place > %(leaves)s GROUP BY branch
ORDER BY counts_at, first
