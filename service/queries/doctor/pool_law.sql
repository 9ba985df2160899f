-- Law 1, for every pool at every position: what its events add up to is the pool's balance on each of them.
WITH summed AS (
    SELECT
        position, kind, holder, currency, resource, pool_balance,
        sum(amount) OVER (
            PARTITION BY kind, holder, currency, resource ORDER BY position ROWS UNBOUNDED PRECEDING
        ) AS balance
    FROM movements
    WHERE num_nonnulls(lot, amount, pool_balance) > 0
),
judged AS (
    SELECT
        position,
        CASE
            WHEN balance IS DISTINCT FROM pool_balance
                THEN concat(
                    'at position ', position, ' pool (', concat_ws(', ', kind, holder, currency, resource),
                    ') has the balance ', balance, ', but the event says ', pool_balance
                )
        END AS fault
    FROM summed
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY position LIMIT 1) AS first_fault
FROM judged
