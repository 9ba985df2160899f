-- The versions of each stream are gapless from 1, in the order of the log.
WITH counted AS (
    SELECT position, stream_id, version, row_number() OVER (PARTITION BY stream_id ORDER BY position) AS place
    FROM movements
),
judged AS (
    SELECT
        position,
        CASE
            WHEN version <> place
                THEN 'position ' || position || ' is event ' || place || ' of stream ' || stream_id
                    || ', but says version ' || version
        END AS fault
    FROM counted
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY position LIMIT 1) AS first_fault
FROM judged
