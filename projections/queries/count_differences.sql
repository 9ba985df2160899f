SELECT
    (SELECT count(*) FROM {before}) AS rows_before,
    (SELECT count(*) FROM {after}) AS rows_after,
    count(*) FILTER (WHERE was_there AND is_there) AS changed,
    count(*) FILTER (WHERE is_there AND NOT was_there) AS added,
    count(*) FILTER (WHERE was_there AND NOT is_there) AS removed
FROM (
    SELECT bool_or(side < 0) AS was_there, bool_or(side > 0) AS is_there FROM {differences} GROUP BY key
) AS by_key
