-- Every row that only one of the builds has: -1 for the one before, 1 for the one after.
CREATE TABLE {differences} AS
SELECT side, told, jsonb_build_array({key}) AS key
FROM (
    SELECT side, {json} AS told
    FROM (
        SELECT sum(side)::integer AS side, {columns}
        FROM (
            SELECT -1 AS side, {row} FROM {before} AS model
            UNION ALL
            SELECT 1 AS side, {row} FROM {after} AS model
        ) AS both_of_them
        GROUP BY {columns}
        HAVING sum(side) <> 0
    ) AS parted
) AS rows_told
