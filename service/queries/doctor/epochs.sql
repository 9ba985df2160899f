-- The epochs, each after an event that there is; the last of them is the one that writers and cursors go by.
WITH judged AS (
    SELECT
        epochs.number,
        CASE
            WHEN epochs.began_after > log.head
                THEN 'epoch ' || epochs.number || ' began after position ' || epochs.began_after
                    || ', but the log ends at ' || log.head
            WHEN epochs.number = last.number AND epochs.epoch <> meta.epoch
                THEN 'the log is of epoch ' || meta.epoch || ', which is not the last one'
        END AS fault
    FROM epochs
    CROSS JOIN (SELECT max(number) AS number FROM epochs) AS last
    CROSS JOIN (SELECT coalesce(max(position), 0) AS head FROM movements) AS log
    CROSS JOIN (SELECT epoch FROM log_meta) AS meta
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY number LIMIT 1) AS first_fault
FROM judged
