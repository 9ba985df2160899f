-- The window's debits less its refunds, by bucket of each grain, added to what was there. Instants are summed to hours,
-- these to days. Pool by pool, so that each page of the index is written to once for a window.
WITH in_order AS (
    SELECT
        moved.kind, moved.holder, coalesce(moved.resource, '') AS resource, moved.use_at AS bucket_at, moved.currency,
        coalesce(
            CASE moved.type
                WHEN 'ledger.debited' THEN moved.document_id
                -- A refund's own document holds its reason. All rows of its debit name the same document: any will do,
                -- and asked for in no order, it is found by the index on debits alone.
                ELSE (
                    SELECT debit.document_id FROM movements AS debit
                    WHERE debit.debit_id = moved.debit_id AND debit.type = 'ledger.debited'
                    LIMIT 1
                )
            END,
            '00000000-0000-0000-0000-000000000000'
        ) AS dimension_set,
        -moved.amount AS used
    FROM movements AS moved
    WHERE moved.position > %(after)s AND moved.position <= %(until)s
        AND moved.type IN ('ledger.debited', 'ledger.refunded')
    ORDER BY holder, kind, resource, bucket_at, currency, dimension_set
),
by_instant AS MATERIALIZED (
    SELECT kind, holder, resource, bucket_at, currency, dimension_set, sum(used) AS used
    FROM in_order GROUP BY holder, kind, resource, bucket_at, currency, dimension_set
),
by_hour AS MATERIALIZED (
    SELECT
        kind, holder, resource, date_bin('1 hour', bucket_at, '1970-01-01T00:00:00Z') AS bucket_at, currency,
        dimension_set, sum(used) AS used
    FROM by_instant GROUP BY 1, 2, 3, 4, 5, 6
    ORDER BY holder, kind, resource
),
by_day AS MATERIALIZED (
    SELECT
        kind, holder, resource, date_bin('1 day', bucket_at, '1970-01-01T00:00:00Z') AS bucket_at, currency,
        dimension_set, sum(used) AS used
    FROM by_hour GROUP BY 1, 2, 3, 4, 5, 6
    ORDER BY holder, kind, resource
),
by_bucket AS NOT MATERIALIZED (
    SELECT kind, holder, resource, 'INSTANT' AS grain, bucket_at, currency, dimension_set, used FROM by_instant
    UNION ALL
    SELECT kind, holder, resource, 'HOUR', bucket_at, currency, dimension_set, used FROM by_hour
    UNION ALL
    SELECT kind, holder, resource, 'DAY', bucket_at, currency, dimension_set, used FROM by_day
),
-- No use lies after the instant at which it was recorded. So a bucket that begins after the last event before the window
-- is new: there is nothing to look for.
before_window AS MATERIALIZED (
    SELECT coalesce((SELECT recorded_at FROM movements WHERE position = %(after)s), '-infinity') AS ends_at
),
-- A refund never exceeds its debit and comes after it, so no bucket is below zero at the end of any transaction: a CHECK
-- of the table, which is asked before it is known that there is something to add to. So that is looked up, row by row,
-- whatever the statistics say: a join may read the whole table for a window of one event.
added AS (
    INSERT INTO {table} (kind, holder, resource, grain, bucket_at, currency, dimension_set, used)
    SELECT
        new.kind, new.holder, new.resource, new.grain, new.bucket_at, new.currency, new.dimension_set,
        new.used + coalesce((
            SELECT before.used FROM {table} AS before
            WHERE before.holder = new.holder AND before.kind = new.kind AND before.resource = new.resource
                AND before.grain = new.grain AND before.bucket_at = new.bucket_at AND before.currency = new.currency
                AND before.dimension_set = new.dimension_set
        ), 0)
    FROM by_bucket AS new WHERE bucket_at <= (SELECT ends_at FROM before_window)
    ON CONFLICT (holder, kind, resource, grain, bucket_at, currency, dimension_set) DO UPDATE SET used = excluded.used
)
INSERT INTO {table} (kind, holder, resource, grain, bucket_at, currency, dimension_set, used)
SELECT kind, holder, resource, grain, bucket_at, currency, dimension_set, used
FROM by_bucket WHERE bucket_at > (SELECT ends_at FROM before_window)
