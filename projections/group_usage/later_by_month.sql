-- The same of uses that were recorded in (position, until] alone.
SELECT
    date_trunc('month', use_at, 'UTC') AS month_at, currency,
    group_set_of(account_groups) AS group_set,
    -sum(amount)::numeric(38, 9) AS used
FROM movements
WHERE position > %(position)s AND position <= %(until)s AND account_groups IS NOT NULL
    AND position NOT IN (SELECT position FROM projection_skips WHERE name = 'group_usage')
GROUP BY 1, 2, 3
