-- Every automatic recharge counts the PAID grants that it makes from 1 without a gap, each by a definition in the same
-- transaction, which keeps the settings and adds the cost to what the recharges of the UTC month have cost so far. A
-- cost is the unit price times the credits, rounded half to even at 9 places; a definition without a grant counts none.
WITH told AS MATERIALIZED (
    SELECT
        position, type, stream_id, transaction_id, recorded_at, kind, holder, currency, resource,
        cause, grant_type, amount, cost_amount, cost_currency, definition,
        (grant_details #>> '{recharge,configuration_id}')::uuid AS configuration_id,
        (grant_details #>> '{recharge,number}')::integer AS number
    FROM movements
    WHERE type = 'ledger.auto-recharge-defined'
        OR (type = 'ledger.granted' AND (cause = 'RECHARGED' OR grant_details -> 'recharge' IS NOT NULL))
),
dated AS (
    SELECT *, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month
    FROM told WHERE type = 'ledger.granted'
),
made AS (
    SELECT
        *,
        count(*) OVER (PARTITION BY configuration_id ORDER BY position) AS place,
        sum(cost_amount) OVER (PARTITION BY configuration_id, month ORDER BY position) AS spent
    FROM dated
),
defined AS (
    SELECT
        *,
        (definition #>> '{done,grants}')::integer AS grants,
        definition -> 'done' AS done,
        definition - 'done' AS saved,
        coalesce(lag(definition -> 'done') OVER earlier, '{"grants": 0, "spend": null}') AS done_before,
        lag(definition - 'done') OVER earlier AS saved_before,
        first_value((kind, holder, currency, resource)) OVER earlier AS pool
    FROM told
    WHERE type = 'ledger.auto-recharge-defined'
    WINDOW earlier AS (PARTITION BY stream_id ORDER BY position)
),
paired AS (
    SELECT
        coalesce(defined.position, made.position) AS position,
        defined.stream_id AS recharge_id, defined.pool, defined.saved, defined.saved_before,
        (defined.kind, defined.holder, defined.currency, defined.resource) AS defined_pool,
        defined.done, defined.done_before,
        defined.done #>> '{spend,month}' AS told_month,
        (defined.done #>> '{spend,amount}')::numeric AS told_spend,
        defined.done #>> '{spend,currency}' AS told_currency,
        (defined.saved #>> '{settings,enabled}')::boolean AS enabled,
        (defined.saved #>> '{settings,target}')::numeric AS target,
        (defined.saved #>> '{settings,max_spend}')::numeric AS max_spend,
        (defined.saved #>> '{settings,unit_price,amount}')::numeric * made.amount * 1000000000 AS exact_cost,
        defined.saved #>> '{settings,unit_price,currency}' AS price_currency,
        greatest(made.place, (defined.done_before ->> 'grants')::integer + 1) AS next_number,
        made.stream_id AS grant_id, made.configuration_id, made.number, made.month, made.spent,
        (made.kind, made.holder, made.currency, made.resource) AS grant_pool,
        made.cause, made.grant_type, made.amount, made.cost_amount, made.cost_currency
    FROM defined
    FULL JOIN made
        ON made.configuration_id = defined.stream_id
        AND made.transaction_id = defined.transaction_id
        AND made.number = defined.grants
),
priced AS (
    SELECT
        *,
        (
            trunc(exact_cost) + CASE
                WHEN exact_cost % 1 > 0.5 OR (exact_cost % 1 = 0.5 AND trunc(exact_cost) % 2 = 1) THEN 1 ELSE 0
            END
        ) * 0.000000001 AS due_cost
    FROM paired
),
judged AS (
    SELECT
        position,
        CASE
            WHEN recharge_id IS NULL
                THEN concat(
                    'at position ', position, ' grant ', grant_id, ' is ',
                    coalesce('recharge ' || number || ' of ' || configuration_id, 'a recharge of nothing'),
                    ', which its transaction does not count'
                )
            ELSE concat('at position ', position, ' automatic recharge ', recharge_id) || CASE
                WHEN defined_pool IS DISTINCT FROM pool THEN ' has another pool than at first'
                WHEN grant_id IS NULL AND done IS DISTINCT FROM done_before
                    THEN concat(' has done ', done, ' without making a grant, where it had done ', done_before)
                WHEN grant_id IS NULL THEN NULL
                WHEN number <> next_number
                    THEN concat(
                        ' counts grant ', grant_id, ' as recharge ', number, ', where recharge ', next_number,
                        ' should be'
                    )
                WHEN saved IS DISTINCT FROM saved_before
                    THEN ' makes grant ' || grant_id || ' under other settings than were saved before'
                WHEN grant_pool IS DISTINCT FROM pool THEN ' makes grant ' || grant_id || ' in another pool'
                WHEN (cause, grant_type) IS DISTINCT FROM ('RECHARGED', 'PAID')
                    THEN concat(' makes grant ', grant_id, ' as ', cause, ', ', grant_type)
                WHEN enabled IS NOT TRUE THEN ' makes grant ' || grant_id || ', though it is not enabled'
                WHEN (amount > 0 AND amount <= target) IS NOT TRUE
                    THEN concat(' makes grant ', grant_id, ' of ', amount, ' with the target ', target)
                WHEN (cost_amount, cost_currency) IS DISTINCT FROM (due_cost, price_currency)
                    THEN concat(
                        ' makes grant ', grant_id, ' at a cost of ', cost_amount, ' ', cost_currency, ', which is ',
                        due_cost, ' ', price_currency
                    )
                WHEN (told_month, told_spend, told_currency) IS DISTINCT FROM (month, spent, price_currency)
                    THEN concat(
                        ' has spent ',
                        coalesce(told_spend || concat(' ', told_currency, ' in ', told_month), 'nothing'),
                        ', but its recharges in ', month, ' cost ', spent, ' ', price_currency
                    )
                WHEN spent > max_spend THEN concat(' has spent ', spent, ' in ', month, ', more than ', max_spend)
            END
        END AS fault
    FROM priced
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY position, fault LIMIT 1) AS first_fault
FROM judged
