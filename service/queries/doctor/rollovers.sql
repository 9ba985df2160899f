-- What rolls over out of a grant comes, in the same transaction and as of the same instant, into exactly one ROLLOVER
-- grant that names its origin; no grant rolls over twice, and none that came of a rollover rolls over again. It carries
-- its share of the origin's cost: what all that had gone by then costs, less what all that had gone before it costs,
-- each rounded half to even at 9 places.
WITH told AS MATERIALIZED (
    SELECT
        position, stream_id, version, type, transaction_id, kind, holder, currency, resource, cause, grant_type,
        effective_at, amount, terms_version, lot_granted, lot_balance, cost_amount, cost_currency, rolled_over_to,
        (grant_details #>> '{rolled_over_from,grant_id}')::uuid AS rolled_over_from
    FROM movements
    WHERE (type = 'ledger.expired' AND (cause = 'ROLLED_OVER' OR rolled_over_to IS NOT NULL))
        OR (type = 'ledger.granted' AND cause = 'ROLLED_OVER')
        OR (
            type IN ('ledger.granted', 'ledger.grant-updated', 'ledger.grant-payment-recorded')
            AND grant_details IS NOT NULL
        )
),
gone AS (
    SELECT
        told.*,
        count(*) OVER (PARTITION BY told.stream_id ORDER BY told.position) AS times,
        origin.cost_amount * 1000000000 AS whole_cost,
        origin.cost_currency AS whole_currency
    FROM told
    LEFT JOIN told AS origin ON origin.stream_id = told.stream_id AND origin.version = told.terms_version
    WHERE told.type = 'ledger.expired'
),
shared AS (
    SELECT gone.*, share.due_cost
    FROM gone
    CROSS JOIN LATERAL (
        SELECT
            sum(sign * CASE
                WHEN 2 * rest > lot_granted OR (2 * rest = lot_granted AND whole % 2 = 1) THEN whole + 1 ELSE whole
            END) * 0.000000001 AS due_cost
        FROM (
            SELECT
                sign,
                div(whole_cost * credits, nullif(lot_granted, 0)) AS whole,
                whole_cost * credits % nullif(lot_granted, 0) AS rest
            FROM (
                VALUES (1, lot_granted - lot_balance), (-1, lot_granted - (lot_balance - amount))
            ) AS gone_by (sign, credits)
        ) AS divided
    ) AS share
),
come AS (
    SELECT * FROM told WHERE type = 'ledger.granted' AND (cause = 'ROLLED_OVER' OR rolled_over_from IS NOT NULL)
),
judged AS (
    SELECT
        coalesce(gone.position, come.position) AS position,
        CASE
            WHEN come.position IS NULL
                THEN concat(
                    'at position ', gone.position, ' grant ', gone.stream_id, ' rolls over to ',
                    coalesce('grant ' || gone.rolled_over_to, 'none'), ', which came of no rollover'
                )
            WHEN gone.position IS NULL
                THEN concat(
                    'at position ', come.position, ' grant ', come.stream_id, ' carries on ',
                    coalesce('grant ' || come.rolled_over_from, 'none'), ', of which nothing rolled over to it'
                )
            WHEN gone.times > 1
                THEN 'at position ' || gone.position || ' grant ' || gone.stream_id || ' rolls over once more'
            WHEN come.rolled_over_from IS DISTINCT FROM gone.stream_id
                THEN concat(
                    'at position ', come.position, ' grant ', come.stream_id, ' carries on ',
                    coalesce('grant ' || come.rolled_over_from, 'none'), ', but it was grant ', gone.stream_id,
                    ' that rolled over to it'
                )
            WHEN (come.amount, come.effective_at, come.transaction_id)
                IS DISTINCT FROM (-gone.amount, gone.effective_at, gone.transaction_id)
                THEN concat(
                    'at position ', gone.position, ' grant ', gone.stream_id, ' rolls over ', -gone.amount, ' at ',
                    gone.effective_at, ', but ', come.amount, ' come at ', come.effective_at, ' at position ',
                    come.position,
                    CASE WHEN come.transaction_id <> gone.transaction_id THEN ', in another transaction' END
                )
            WHEN (come.kind, come.holder, come.currency, come.resource)
                IS DISTINCT FROM (gone.kind, gone.holder, gone.currency, gone.resource)
                THEN 'at position ' || gone.position || ' grant ' || gone.stream_id || ' rolls over into another pool'
            WHEN (gone.cause, gone.grant_type, come.cause, come.grant_type)
                IS DISTINCT FROM ('ROLLED_OVER', 'SUBSCRIPTION', 'ROLLED_OVER', 'ROLLOVER')
                THEN concat(
                    'at position ', gone.position, ' grant ', gone.stream_id, ' rolls over as ', gone.cause, ', ',
                    gone.grant_type, ', to ', come.cause, ', ', come.grant_type
                )
            WHEN (come.cost_amount, come.cost_currency) IS DISTINCT FROM (gone.due_cost, gone.whole_currency)
                THEN concat(
                    'at position ', come.position, ' grant ', come.stream_id, ' carries on a cost of ',
                    concat_ws(' ', come.cost_amount, come.cost_currency), ', but its share of that of grant ',
                    gone.stream_id, ' is ', coalesce(gone.due_cost || ' ' || gone.whole_currency, 'unknown')
                )
        END AS fault
    FROM shared AS gone
    FULL JOIN come ON come.stream_id = gone.rolled_over_to
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY position LIMIT 1) AS first_fault
FROM judged
