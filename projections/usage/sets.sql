-- Which currencies and sets of dimensions were used in these stretches, at most %(limit)s of them.
SELECT DISTINCT found.currency, found.dimension_set
FROM unnest(%(grains)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS stretch (grain, start_at, end_at)
CROSS JOIN LATERAL (
    SELECT DISTINCT currency, dimension_set FROM {table}
    WHERE holder = %(holder)s AND kind = %(kind)s AND resource = %(resource)s
        AND grain = stretch.grain AND bucket_at >= stretch.start_at AND bucket_at < stretch.end_at
        AND (%(currency)s::text IS NULL OR currency = %(currency)s)
) AS found
LIMIT %(limit)s
