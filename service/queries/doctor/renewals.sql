-- Every execution credit is defined before anything else and stays what it is, but for its allotment and, from a
-- renewal on that was told of it, its rollup type; each billing period is granted once, as long as its cycle says, with
-- the allotment in force, and begins where the one before it ended, of which nothing is left. Periods are counted from
-- the anchor by calendar months in UTC. After a definition and its movement, what is not used of its allotment is left,
-- or nothing, if it deletes the credit.
WITH told AS MATERIALIZED (
    SELECT
        position, transaction_last, stream_id, version, cause, recorded_at, kind, holder, currency, resource,
        lot, amount, effective_at, lot_effective_at, lot_expires_at,
        definition, rollup_type, allotment, anchor_at, deleted_at,
        (definition ->> 'created_at')::timestamptz AS created_at,
        definition ->> 'next_rollup_type' AS next_rollup_type,
        coalesce((definition ->> 'first_month')::integer, 0) AS first_month
    FROM movements
    WHERE kind = 'EXECUTION_CREDIT'
        AND (type = 'ledger.execution-credit-defined' OR (type = 'ledger.granted' AND cause IN ('ISSUED', 'RENEWED')))
),
numbered AS (
    SELECT
        *,
        first_value((kind, holder, currency, resource)) OVER whole AS pool,
        first_value(definition) OVER whole AS first_definition,
        lag(cause) OVER whole AS cause_before,
        lag(lot_effective_at) OVER whole AS begun_before,
        lead(coalesce(cause, 'DEFINED')) OVER whole AS next_told,
        count(definition) OVER before AS definitions,
        count(lot) OVER before AS periods,
        count(deleted_at) OVER before AS deletions
    FROM told
    WINDOW
        whole AS (PARTITION BY stream_id ORDER BY version),
        before AS (PARTITION BY stream_id ORDER BY version ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW)
),
-- Beside each, the definition in force and the period before it: the last ones of so many. With a renewal what was
-- coming takes its place, in the definition that follows too.
in_force AS (
    SELECT
        one.*,
        defined.allotment AS due_allotment,
        defined.anchor_at AT TIME ZONE 'UTC' AS anchor,
        defined.created_at AS due_created_at,
        defined.first_month AS due_first_month,
        defined.next_rollup_type AS coming,
        CASE
            WHEN 'RENEWED' IN (one.cause, one.cause_before) THEN coalesce(defined.next_rollup_type, defined.rollup_type)
            ELSE defined.rollup_type
        END AS cycle,
        former.lot AS former_lot,
        former.lot_expires_at AS former_end
    FROM numbered AS one
    LEFT JOIN numbered AS defined
        ON defined.stream_id = one.stream_id AND defined.definition IS NOT NULL
        AND defined.definitions = one.definitions - 1
    LEFT JOIN numbered AS former
        ON former.stream_id = one.stream_id AND former.lot IS NOT NULL AND former.periods = one.periods - 1
),
stepped AS (
    SELECT
        *,
        CASE cycle
            WHEN 'MONTHLY' THEN 1 WHEN 'QUARTERLY' THEN 3 WHEN 'SEMIANNUAL' THEN 6 WHEN 'YEARLY' THEN 12
        END AS months,
        (extract(year FROM begun) - extract(year FROM anchor)) * 12
            + extract(month FROM begun) - extract(month FROM anchor) AS month
    FROM in_force
    CROSS JOIN LATERAL (SELECT coalesce(lot_effective_at, begun_before) AT TIME ZONE 'UTC' AS begun) AS beginning
),
-- A renewed period lasts its months from its own beginning; the first one ends where the anchored period does.
begun AS (
    SELECT
        *,
        CASE
            WHEN cause = 'RENEWED' THEN month
            ELSE floor((month - CASE
                WHEN anchor + make_interval(months => month::integer) > begun THEN 1 ELSE 0
            END) / months) * months
        END AS begins_month
    FROM stepped
),
-- A definition's movement came after it in older logs; the next renewal of its transaction has lapsed what it left.
dated AS (
    SELECT
        begun.*,
        (anchor + make_interval(months => begins_month::integer)) AT TIME ZONE 'UTC' AS begins_at,
        (anchor + make_interval(months => (begins_month + months)::integer)) AT TIME ZONE 'UTC' AS ends_at,
        CASE WHEN cause_before = 'RENEWED' AND coming IS NOT NULL THEN month ELSE due_first_month END AS due_month,
        CASE WHEN deleted_at IS NULL THEN allotment - former.lot_used ELSE 0 END AS due_left,
        former.lot_balance AS former_left
    FROM begun
    LEFT JOIN LATERAL (
        SELECT lot_used, lot_balance FROM movements AS moved
        WHERE moved.stream_id = begun.stream_id AND moved.lot = begun.former_lot
            AND moved.version <= begun.version + CASE WHEN begun.lot IS NULL THEN 1 ELSE -1 END
            AND moved.position <= begun.transaction_last
            AND (begun.lot IS NOT NULL OR moved.cause <> 'LAPSED')
        ORDER BY moved.version DESC LIMIT 1
    ) AS former ON true
),
judged AS (
    SELECT
        position,
        concat('at position ', position, ' execution credit ', stream_id) || CASE
            WHEN definition IS NULL AND definitions = 0 THEN ' is granted something before it was defined'
            WHEN (kind, holder, currency, resource) IS DISTINCT FROM pool THEN ' has another pool than at first'
            WHEN deletions > 0 THEN ' goes on, though it is deleted'
            WHEN definition IS NOT NULL AND (definition -> 'credit_type', anchor_at, created_at) IS DISTINCT FROM
                (to_jsonb(currency), (first_definition ->> 'anchor_at')::timestamptz,
                    (first_definition ->> 'created_at')::timestamptz)
                THEN ' has another type, anchor or creation than at first'
            WHEN definitions = 0 AND anchor_at > created_at
                THEN concat(' is anchored at ', anchor_at, ', but it was created at ', created_at)
            WHEN definitions = 0 AND next_told IS DISTINCT FROM 'ISSUED' THEN ' is defined, but not issued'
            WHEN definition IS NOT NULL AND (rollup_type, first_month)
                IS DISTINCT FROM (coalesce(cycle, rollup_type), coalesce(due_month, 0))
                THEN concat(
                    ' is ', rollup_type, ' from month ', first_month, ' on, which should be ',
                    coalesce(cycle, rollup_type), ' from month ', coalesce(due_month, 0)
                )
            WHEN next_rollup_type IS NOT NULL
                AND (next_rollup_type = rollup_type OR 'ADDON' IN (next_rollup_type, rollup_type))
                THEN concat(' is to turn from ', rollup_type, ' to ', next_rollup_type)
            WHEN definition IS NOT NULL AND definitions > 0 AND former_left IS DISTINCT FROM due_left
                THEN concat(' has ', former_left, ' left of its period, of which ', due_left, ' should be')
            WHEN cause = 'ISSUED' AND periods > 0 THEN ' is issued twice'
            WHEN lot IS NOT NULL AND amount IS DISTINCT FROM due_allotment
                THEN concat(' is granted ', amount, ' for a period, which has ', due_allotment)
            WHEN cause = 'ISSUED' AND (effective_at, lot_effective_at) IS DISTINCT FROM (due_created_at, due_created_at)
                THEN concat(' begins at ', lot_effective_at, ', but it was created at ', due_created_at)
            WHEN cause = 'RENEWED' AND (effective_at, lot_effective_at, begins_at)
                IS DISTINCT FROM (former_end, former_end, former_end)
                THEN concat(
                    ' is renewed at ', effective_at, ' from ', lot_effective_at, ', but its period before ended at ',
                    coalesce(former_end::text, 'no instant')
                )
            WHEN cause = 'RENEWED' AND former_left <> 0
                THEN concat(' is renewed, though ', former_left, ' are left of its period before')
            WHEN lot IS NOT NULL AND recorded_at < lot_effective_at
                THEN ' has a period that begins only at ' || lot_effective_at
            WHEN lot IS NOT NULL AND lot_expires_at IS DISTINCT FROM ends_at AND lot_expires_at IS NOT NULL
                THEN concat(
                    ' has a period from ', lot_effective_at, ' to ', lot_expires_at, ', which should last to ',
                    coalesce(ends_at::text, 'no instant')
                )
            WHEN lot IS NOT NULL AND lot_expires_at IS NULL AND extract(year FROM ends_at) <= 9999
                THEN concat(' has a period from ', lot_effective_at, ' without an end, which should last to ', ends_at)
            WHEN cause = 'RENEWED' AND coming IS NOT NULL AND next_told IS DISTINCT FROM 'DEFINED'
                THEN concat(' is renewed as ', cycle, ', but not defined so')
        END AS fault
    FROM dated
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY position LIMIT 1) AS first_fault
FROM judged
