-- What serves for a read model: the present version, unless it has not begun or another one is farther by more than
-- %(together)s events.
SELECT version, schema_sql, fold_sql, position
FROM (SELECT *, max(position) OVER () AS farthest FROM projections WHERE name = %(name)s AND stage = 'serving') AS model
ORDER BY
    split_part(version, '_', 1) = %(version)s AND position > 0 AND position + %(together)s >= farthest DESC,
    position DESC
LIMIT 1
