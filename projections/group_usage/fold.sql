-- The window's debits less its refunds: each by itself at its instant, and by bucket of each grain added to what was
-- there. No account groups are the nil UUID: an index can look it up. Uses are summed to ten minutes, these to hours,
-- these to days. In order of the instants, so that each page of their index is written to once for a window.
WITH uses AS MATERIALIZED (
    SELECT use_at, position, currency, named.group_set, -amount AS used
    FROM movements
    -- OFFSET keeps it apart as a subquery, whose answers PostgreSQL remembers: a window's uses name few different sets.
    CROSS JOIN LATERAL (
        SELECT coalesce(group_set_of(account_groups), '00000000-0000-0000-0000-000000000000') AS group_set OFFSET 0
    ) AS named
    WHERE position > %(after)s AND position <= %(until)s AND type IN ('ledger.debited', 'ledger.refunded')
    ORDER BY use_at, position
),
by_use AS (
    INSERT INTO {table} (grain, bucket_at, position, currency, group_set, used)
    SELECT 'INSTANT', use_at, position, currency, group_set, used FROM uses
),
by_ten_minutes AS MATERIALIZED (
    SELECT
        date_bin('10 minutes', use_at, '1970-01-01T00:00:00Z') AS bucket_at, currency, group_set, sum(used) AS used
    FROM uses GROUP BY 1, 2, 3
),
by_hour AS MATERIALIZED (
    SELECT date_bin('1 hour', bucket_at, '1970-01-01T00:00:00Z') AS bucket_at, currency, group_set, sum(used) AS used
    FROM by_ten_minutes GROUP BY 1, 2, 3
)
INSERT INTO {table} AS known (grain, bucket_at, currency, group_set, used)
SELECT 'TEN_MINUTES', bucket_at, currency, group_set, used FROM by_ten_minutes
UNION ALL
SELECT 'HOUR', bucket_at, currency, group_set, used FROM by_hour
UNION ALL
SELECT 'DAY', date_bin('1 day', bucket_at, '1970-01-01T00:00:00Z'), currency, group_set, sum(used) FROM by_hour GROUP BY 1, 2, 3, 4
ON CONFLICT (grain, bucket_at, currency, group_set) WHERE grain <> 'INSTANT'
    DO UPDATE SET used = known.used + excluded.used
