-- Every key leads to the first event of the transaction that answered it.
WITH judged AS (
    SELECT
        key.position,
        CASE
            WHEN event.position IS NULL
                THEN ' leads to position ' || key.position || ', where there is no event'
            WHEN event.transaction_id <> key.transaction_id
                THEN ' leads to position ' || key.position || ' and transaction ' || key.transaction_id
                    || ', but that event is of transaction ' || event.transaction_id
            WHEN before.transaction_id = key.transaction_id
                THEN ' leads to position ' || key.position || ', which is not the first of transaction '
                    || key.transaction_id
            WHEN event.kind <> key.kind
                THEN ' is one of ' || key.kind || ', but leads to position ' || key.position || ' of ' || event.kind
        END AS fault,
        key.key,
        key.operation,
        key.holder
    FROM idempotency AS key
    LEFT JOIN movements AS event ON event.position = key.position
    LEFT JOIN movements AS before ON before.position = key.position - 1
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (
        SELECT 'key ' || key || ' of ' || operation || ', ' || holder || fault FROM judged
        WHERE fault IS NOT NULL ORDER BY position, key, operation LIMIT 1
    ) AS first_fault
FROM judged
