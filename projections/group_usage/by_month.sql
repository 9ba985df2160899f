-- What was ever used under account groups, by UTC calendar month.
SELECT date_trunc('month', bucket_at, 'UTC') AS month_at, currency, group_set, sum(used)::numeric(38, 9) AS used
FROM {table}
WHERE grain = 'DAY' AND group_set <> '00000000-0000-0000-0000-000000000000'
GROUP BY 1, 2, 3
