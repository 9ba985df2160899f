-- Positions are gapless from 1, and the time of recording never goes back.
WITH neighbours AS (
    SELECT
        position,
        recorded_at,
        lag(position, 1, 0::bigint) OVER (ORDER BY position) AS position_before,
        lag(recorded_at) OVER (ORDER BY position) AS recorded_at_before
    FROM movements
),
judged AS (
    SELECT
        position,
        CASE
            WHEN position <> position_before + 1
                THEN 'position ' || position || ' comes where ' || position_before + 1 || ' should be'
            WHEN recorded_at < recorded_at_before
                THEN 'position ' || position || ' was recorded at ' || recorded_at || ', the one before it at '
                    || recorded_at_before
        END AS fault
    FROM neighbours
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY position LIMIT 1) AS first_fault
FROM judged
