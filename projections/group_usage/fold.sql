-- The window's debits less its refunds, by bucket of each grain, added to what was there. No account groups are the nil
-- UUID: an index can look it up. Instants are summed to ten minutes, these to hours, these to days. An instant beyond all
-- that are known, as most are, has nothing to be added to: there is no need to look for it.
WITH in_order AS (
    SELECT use_at, currency, account_groups, amount
    FROM movements
    WHERE position > %(after)s AND position <= %(until)s AND type IN ('ledger.debited', 'ledger.refunded')
    ORDER BY use_at, currency, account_groups
),
by_instant AS MATERIALIZED (
    SELECT
        use_at, currency,
        coalesce(group_set_of(account_groups), '00000000-0000-0000-0000-000000000000') AS group_set,
        -sum(amount) AS used
    FROM in_order GROUP BY use_at, currency, account_groups
),
newest AS MATERIALIZED (
    SELECT coalesce(max(bucket_at), '-infinity') AS bucket_at FROM {table} WHERE grain = 'INSTANT'
),
new_instants AS (
    INSERT INTO {table} (grain, bucket_at, currency, group_set, used)
    SELECT 'INSTANT', use_at, currency, group_set, used FROM by_instant
    WHERE use_at > (SELECT bucket_at FROM newest)
),
other_instants AS (
    INSERT INTO {table} AS known (grain, bucket_at, currency, group_set, used)
    SELECT 'INSTANT', use_at, currency, group_set, used FROM by_instant
    WHERE use_at <= (SELECT bucket_at FROM newest)
    ON CONFLICT (bucket_at, currency, group_set) WHERE grain = 'INSTANT'
        DO UPDATE SET used = known.used + excluded.used
),
by_ten_minutes AS MATERIALIZED (
    SELECT
        date_bin('10 minutes', use_at, '1970-01-01T00:00:00Z') AS bucket_at, currency, group_set, sum(used) AS used
    FROM by_instant GROUP BY 1, 2, 3
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
