-- What was used by currency and set of account groups: buckets added and taken away. Each part is summed by itself, so
-- that each is one range of its index.
WITH buckets AS (
    SELECT part.sign, found.currency, found.group_set, found.used
    FROM unnest(%(grains)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(signs)s::integer[])
        AS part (grain, start_at, end_at, sign)
    CROSS JOIN LATERAL (
        SELECT currency, group_set, sum(used) AS used FROM {table}
        WHERE grain <> 'INSTANT' AND grain = part.grain
            AND bucket_at >= part.start_at AND bucket_at < coalesce(part.end_at, 'infinity')
        GROUP BY currency, group_set
    ) AS found
    WHERE part.grain <> 'INSTANT'
),
instants AS (
    SELECT part.sign, found.currency, found.group_set, found.used
    FROM unnest(%(grains)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(signs)s::integer[])
        AS part (grain, start_at, end_at, sign)
    CROSS JOIN LATERAL (
        SELECT currency, group_set, sum(used) AS used FROM {table}
        WHERE grain = 'INSTANT' AND bucket_at >= part.start_at AND bucket_at < part.end_at
        GROUP BY currency, group_set
    ) AS found
    WHERE part.grain = 'INSTANT'
)
SELECT currency, group_set, sum(sign * used)::numeric(38, 9) AS used
FROM (SELECT * FROM buckets UNION ALL SELECT * FROM instants) AS both_of_them
GROUP BY currency, group_set
HAVING sum(sign * used) <> 0
