-- The events of a transaction stand together, and each says where its transaction ends.
WITH whole AS (
    SELECT
        transaction_id,
        min(position) AS first,
        max(position) AS last,
        count(*) AS events,
        min(transaction_last) AS ends_min,
        max(transaction_last) AS ends_max
    FROM movements GROUP BY transaction_id
),
judged AS (
    SELECT
        first,
        CASE
            WHEN last - first + 1 <> events
                THEN 'transaction ' || transaction_id || ' has ' || events || ' events, spread over the positions '
                    || first || ' to ' || last
            WHEN ends_min <> last OR ends_max <> last
                THEN 'transaction ' || transaction_id || ' ends at position ' || last || ', but an event of it says '
                    || CASE WHEN ends_max <> last THEN ends_max ELSE ends_min END
        END AS fault
    FROM whole
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY first LIMIT 1) AS first_fault
FROM judged
