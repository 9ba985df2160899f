-- The window's debits less its refunds, by bucket of each grain, added to what was there. No account groups are the nil
-- UUID: an index can look it up.
WITH by_instant AS MATERIALIZED (
    SELECT
        use_at, currency,
        coalesce(group_set_of(account_groups), '00000000-0000-0000-0000-000000000000') AS group_set,
        -sum(amount) AS used
    FROM movements
    WHERE position > %(after)s AND position <= %(until)s AND type IN ('ledger.debited', 'ledger.refunded')
    GROUP BY 1, 2, 3
),
instants AS (
    INSERT INTO {table} AS known (grain, bucket_at, currency, group_set, used)
    SELECT 'INSTANT', use_at, currency, group_set, used FROM by_instant
    ON CONFLICT (bucket_at, currency, group_set) WHERE grain = 'INSTANT'
        DO UPDATE SET used = known.used + excluded.used
)
INSERT INTO {table} AS known (grain, bucket_at, currency, group_set, used)
SELECT
    grain,
    CASE grain
        WHEN 'DAY' THEN date_trunc('day', use_at, 'UTC')
        WHEN 'HOUR' THEN date_trunc('hour', use_at, 'UTC')
        ELSE date_bin('10 minutes', use_at, '1970-01-01T00:00:00Z')
    END,
    currency, group_set, sum(used)
FROM by_instant CROSS JOIN (VALUES ('DAY'), ('HOUR'), ('TEN_MINUTES')) AS grains (grain)
GROUP BY 1, 2, 3, 4
ON CONFLICT (grain, bucket_at, currency, group_set) WHERE grain <> 'INSTANT'
    DO UPDATE SET used = known.used + excluded.used
