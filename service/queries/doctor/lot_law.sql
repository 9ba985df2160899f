-- Law 1, for every lot at every position: what its events add up to is what each event says it left behind.
WITH summed AS (
    SELECT
        position, lot, lot_granted, lot_used, lot_balance,
        sum(amount) OVER so_far AS balance,
        coalesce(sum(amount) FILTER (WHERE type = 'ledger.granted') OVER so_far, 0) AS granted,
        coalesce(-sum(amount) FILTER (WHERE type IN ('ledger.debited', 'ledger.refunded')) OVER so_far, 0) AS used
    FROM movements
    WHERE lot IS NOT NULL AND (amount IS NOT NULL OR lot_balance IS NOT NULL)
    WINDOW so_far AS (PARTITION BY lot ORDER BY position ROWS UNBOUNDED PRECEDING)
),
judged AS (
    SELECT
        position,
        CASE
            WHEN (granted, used, balance) IS DISTINCT FROM (lot_granted, lot_used, lot_balance)
                THEN concat(
                    'at position ', position, ' lot ', lot, ' has granted ', granted, ', used ', used, ', balance ',
                    balance, ', but the event says ', lot_granted, ', ', lot_used, ', ', lot_balance
                )
            WHEN balance < 0 THEN concat('at position ', position, ' lot ', lot, ' has the balance ', balance)
        END AS fault
    FROM summed
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY position LIMIT 1) AS first_fault
FROM judged
