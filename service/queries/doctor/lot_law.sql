-- Law 1, for every lot at every position: what its events add up to is what each event says it left behind. An event by
-- which a grant only changes moves nothing; and each names the event that last gave the lot its terms.
WITH summed AS (
    SELECT
        position, type, lot, amount, terms_version, lot_granted, lot_used, lot_balance,
        type IN ('ledger.grant-updated', 'ledger.grant-payment-recorded') AS changes,
        sum(amount) OVER so_far AS balance,
        coalesce(sum(amount) FILTER (WHERE type = 'ledger.granted') OVER so_far, 0) AS granted,
        coalesce(-sum(amount) FILTER (WHERE type IN ('ledger.debited', 'ledger.refunded')) OVER so_far, 0) AS used,
        max(version) FILTER (
            WHERE type IN ('ledger.granted', 'ledger.grant-updated', 'ledger.grant-payment-recorded')
        ) OVER so_far AS terms_given
    FROM movements
    WHERE num_nonnulls(lot, amount, lot_balance) > 0
    WINDOW so_far AS (PARTITION BY lot ORDER BY position ROWS UNBOUNDED PRECEDING)
),
judged AS (
    SELECT
        position,
        CASE
            WHEN changes AND amount IS NOT NULL
                THEN concat('at position ', position, ' lot ', lot, ' moves by ', amount, ', which no ', type, ' does')
            WHEN (granted, used, balance) IS DISTINCT FROM (lot_granted, lot_used, lot_balance)
                THEN concat(
                    'at position ', position, ' lot ', lot, ' has granted ', granted, ', used ', used, ', balance ',
                    balance, ', but the event says ', lot_granted, ', ', lot_used, ', ', lot_balance
                )
            WHEN balance < 0 THEN concat('at position ', position, ' lot ', lot, ' has the balance ', balance)
            WHEN terms_version IS DISTINCT FROM terms_given
                THEN concat(
                    'at position ', position, ' lot ', lot, ' has the terms of version ', terms_given,
                    ', but the event says ', terms_version
                )
        END AS fault
    FROM summed
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY position LIMIT 1) AS first_fault
FROM judged
