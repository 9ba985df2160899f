-- Every allocation rule is defined once, first; nothing but a recorded threshold follows its removal, and at no position
-- two rules that there are have one name. A threshold is recorded once for a rule and month; it tells the rule as it was
-- last told, and was reached at an earlier position: by a debit that counts for the rule as it was there, or by that.
WITH told AS MATERIALIZED (
    SELECT
        position, stream_id AS rule_id, type, recorded_at, definition -> 'rule' AS rule,
        definition ->> 'month' AS month,
        (definition ->> 'used')::numeric AS used,
        definition -> 'allocated' AS allocated,
        definition -> 'alarm_threshold' AS alarm_threshold,
        (definition ->> 'reached_position')::bigint AS reached_position,
        (definition ->> 'reached_at')::timestamptz AS reached_at
    FROM movements
    WHERE type IN (
        'ledger.allocation-rule-defined', 'ledger.allocation-rule-changed', 'ledger.allocation-rule-removed',
        'ledger.threshold-reached'
    )
),
placed AS (
    SELECT
        *,
        row_number() OVER earlier AS place,
        lag(rule) OVER earlier AS rule_before,
        count(*) FILTER (WHERE type = 'ledger.allocation-rule-removed') OVER before AS removals,
        row_number() OVER (PARTITION BY rule_id, type, month ORDER BY position) AS time_of_month
    FROM told
    WINDOW
        earlier AS (PARTITION BY rule_id ORDER BY position),
        before AS (PARTITION BY rule_id ORDER BY position ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW)
),
versions AS (
    SELECT
        position, rule_id, type, rule, recorded_at,
        coalesce(lead(position) OVER (PARTITION BY rule_id ORDER BY position), 9223372036854775807) AS until_position
    FROM told WHERE type <> 'ledger.threshold-reached'
),
named AS (
    SELECT
        position,
        max(until_position) OVER (
            PARTITION BY rule ->> 'name' ORDER BY position ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW
        ) > position AS name_is_taken
    FROM versions WHERE type <> 'ledger.allocation-rule-removed'
),
reached AS (
    SELECT told.position, cause.type, cause.recorded_at, version.rule, version.position = cause.position AS by_rule,
        cause.type = 'ledger.debited'
        AND to_char(cause.use_at AT TIME ZONE 'UTC', 'YYYY-MM') = told.month
        AND cause.currency = coalesce(version.rule ->> 'currency', cause.currency)
        AND version.rule -> 'account_groups' ?| cause.account_groups AS by_debit
    FROM told
    JOIN movements AS cause ON cause.position = told.reached_position
    LEFT JOIN versions AS version
        ON version.rule_id = told.rule_id
        AND version.position <= told.reached_position AND version.until_position > told.reached_position
        AND version.type <> 'ledger.allocation-rule-removed'
),
judged AS (
    SELECT
        position,
        concat('at position ', position, ' allocation rule ', rule_id) || CASE
            WHEN place = 1 AND placed.type <> 'ledger.allocation-rule-defined' THEN ' was not defined before'
            WHEN place > 1 AND placed.type = 'ledger.allocation-rule-defined' THEN ' is defined once more'
            WHEN removals > 0 AND placed.type <> 'ledger.threshold-reached' THEN ' goes on, though it was removed'
            WHEN placed.type <> 'ledger.threshold-reached'
                AND (placed.type = 'ledger.allocation-rule-removed') = (placed.rule ->> 'removed_at' IS NULL)
                THEN concat(' says it was removed at ', coalesce(placed.rule ->> 'removed_at', 'no time'))
            WHEN name_is_taken THEN concat(' is called ', placed.rule ->> 'name', ', as another one is')
            WHEN placed.type <> 'ledger.threshold-reached' THEN NULL
            WHEN placed.rule IS DISTINCT FROM rule_before
                THEN ' records a threshold of another rule than was told before'
            WHEN (month ~ '^[0-9]{4}-(0[1-9]|1[0-2])$') IS NOT TRUE
                THEN concat(' records a threshold in ', coalesce(month, 'no month'))
            WHEN time_of_month > 1 THEN concat(' records the threshold of ', month, ' once more')
            WHEN (reached_position < position) IS NOT TRUE
                THEN concat(
                    ' records that the threshold of ', month, ' was reached at position ', reached_position,
                    ', which is not before'
                )
            WHEN (by_rule OR by_debit) IS NOT TRUE
                THEN concat(
                    ' records that the threshold of ', month, ' was reached at position ', reached_position,
                    ', which is neither a debit that counts for it nor a change of it'
                )
            WHEN (allocated, alarm_threshold, reached_at)
                IS DISTINCT FROM (reached.rule -> 'allocated', reached.rule -> 'alarm_threshold', reached.recorded_at)
                THEN concat(
                    ' records for ', month, ' ', alarm_threshold, ' % of ', allocated, ' at ', reached_at,
                    ', but at position ', reached_position, ' it had ', reached.rule -> 'alarm_threshold', ' % of ',
                    reached.rule -> 'allocated', ' at ', reached.recorded_at
                )
            WHEN (used > 0 AND used * 100 >= alarm_threshold::numeric * allocated::numeric) IS NOT TRUE
                THEN concat(' records ', used, ' used in ', month, ', which is not its threshold')
        END AS fault
    FROM placed
    LEFT JOIN named USING (position)
    LEFT JOIN reached USING (position)
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY position, fault LIMIT 1) AS first_fault
FROM judged
