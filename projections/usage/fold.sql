-- The window's debits less its refunds, by bucket of each grain, added to what was there. A refund never exceeds its
-- debit and comes after it, so no bucket is below zero at the end of any transaction: a CHECK of the table.
-- Materialized, so that the set of a movement is found once for its three buckets.
WITH in_window AS MATERIALIZED (
    SELECT
        moved.kind, moved.holder, coalesce(moved.resource, '') AS resource, moved.currency, moved.use_at,
        CASE moved.type
            WHEN 'ledger.debited' THEN moved.document_id
            -- A refund's own document holds its reason. All rows of its debit name the same document: any will do,
            -- and asked for in no order, it is found by the index on debits alone.
            ELSE (
                SELECT debit.document_id FROM movements AS debit
                WHERE debit.debit_id = moved.debit_id AND debit.type = 'ledger.debited'
                LIMIT 1
            )
        END AS document_id,
        -moved.amount AS used
    FROM movements AS moved
    WHERE moved.position > %(after)s AND moved.position <= %(until)s
        AND moved.type IN ('ledger.debited', 'ledger.refunded')
),
by_bucket AS (
    SELECT
        kind, holder, resource, grain,
        CASE grain
            WHEN 'DAY' THEN date_trunc('day', use_at, 'UTC')
            WHEN 'HOUR' THEN date_trunc('hour', use_at, 'UTC')
            ELSE use_at
        END AS bucket_at,
        currency,
        coalesce(document_id, '00000000-0000-0000-0000-000000000000') AS dimension_set,
        sum(used) AS used
    FROM in_window CROSS JOIN (VALUES ('DAY'), ('HOUR'), ('INSTANT')) AS grains (grain)
    GROUP BY 1, 2, 3, 4, 5, 6, 7
)
INSERT INTO {table} (kind, holder, resource, grain, bucket_at, currency, dimension_set, used)
SELECT
    new.kind, new.holder, new.resource, new.grain, new.bucket_at, new.currency, new.dimension_set,
    -- Looked up row by row, whatever the statistics say: a join may read the whole table for a window of one event.
    new.used + coalesce((
        SELECT before.used FROM {table} AS before
        WHERE before.holder = new.holder AND before.kind = new.kind AND before.resource = new.resource
            AND before.grain = new.grain AND before.bucket_at = new.bucket_at AND before.currency = new.currency
            AND before.dimension_set = new.dimension_set
    ), 0)
FROM by_bucket AS new
ON CONFLICT (holder, kind, resource, grain, bucket_at, currency, dimension_set) DO UPDATE SET used = excluded.used
