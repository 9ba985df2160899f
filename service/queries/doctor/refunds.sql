-- Law 4: of no draw has more come back than went out.
WITH draw AS (
    SELECT
        debit_id,
        lot,
        min(position) AS position,
        coalesce(-sum(amount) FILTER (WHERE type = 'ledger.debited'), 0) AS debited,
        coalesce(sum(amount) FILTER (WHERE type = 'ledger.refunded'), 0) AS refunded
    FROM movements WHERE debit_id IS NOT NULL
    GROUP BY debit_id, lot
),
judged AS (
    SELECT
        position,
        CASE
            WHEN refunded > debited
                THEN 'debit ' || debit_id || ' drew ' || debited || ' from lot ' || lot || ', and ' || refunded
                    || ' came back'
        END AS fault
    FROM draw
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY position LIMIT 1) AS first_fault
FROM judged
