-- What was used in these stretches, by currency, series and point. A set of dimensions belongs to the series that it is
-- given, else to series 0. Each stretch is summed by itself, so that each is one range of the index.
SELECT
    found.currency,
    coalesce(series.number, 0) AS series,
    found.point_at,
    sum(found.used)::numeric(38, 9) AS used
FROM unnest(%(grains)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS stretch (grain, start_at, end_at)
CROSS JOIN LATERAL (
    SELECT currency, dimension_set, date_trunc(%(point)s, bucket_at, 'UTC') AS point_at, sum(used) AS used
    FROM {table}
    WHERE holder = %(holder)s AND kind = %(kind)s AND resource = %(resource)s
        AND grain = stretch.grain AND bucket_at >= stretch.start_at AND bucket_at < stretch.end_at
        AND (%(currency)s::text IS NULL OR currency = %(currency)s)
    GROUP BY 1, 2, 3
) AS found
LEFT JOIN unnest(%(sets)s::uuid[], %(numbers)s::integer[]) AS series (dimension_set, number) USING (dimension_set)
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
