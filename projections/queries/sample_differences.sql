-- The first of the rows that differ, by their key; as text, so that amounts keep every digit.
SELECT
    (array_agg(told) FILTER (WHERE side < 0))[1]::text AS before,
    (array_agg(told) FILTER (WHERE side > 0))[1]::text AS after
FROM {differences} GROUP BY key ORDER BY key LIMIT %(limit)s
