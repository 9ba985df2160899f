-- Each event about a rule ends the version before it; all but a removal begin one. That a threshold was reached changes
-- nothing about the rule. The versions that the window ends are found by a LEFT JOIN and upserted: an UPDATE that joins
-- may read the window once for each rule there is, where the planner takes the table for empty.
WITH told AS MATERIALIZED (
    SELECT
        stream_id AS rule, type, definition -> 'rule' AS details, position AS from_position,
        lead(position) OVER (PARTITION BY stream_id ORDER BY position) AS until_position
    FROM movements
    WHERE position > %(after)s AND position <= %(until)s
        AND type IN (
            'ledger.allocation-rule-defined', 'ledger.allocation-rule-changed', 'ledger.allocation-rule-removed'
        )
),
ended AS MATERIALIZED (
    SELECT before.*, next.position AS ended_by
    FROM (SELECT rule, min(from_position) AS position FROM told GROUP BY rule) AS next
    LEFT JOIN {table} AS before ON before.rule = next.rule AND before.until_position IS NULL
)
INSERT INTO {table} (
    rule, from_position, until_position, name, account_groups, allocated, alarm_threshold, currency, created_at
)
SELECT rule, from_position, ended_by, name, account_groups, allocated, alarm_threshold, currency, created_at
FROM ended WHERE rule IS NOT NULL
UNION ALL
SELECT
    rule, from_position, until_position, details ->> 'name',
    ARRAY(
        SELECT named.id
        FROM jsonb_array_elements_text(details -> 'account_groups') WITH ORDINALITY AS named (id, place)
        ORDER BY named.place
    ),
    (details ->> 'allocated')::integer, (details ->> 'alarm_threshold')::integer, details ->> 'currency',
    (details ->> 'created_at')::timestamptz
FROM told WHERE type <> 'ledger.allocation-rule-removed'
ON CONFLICT (rule, from_position) DO UPDATE SET until_position = excluded.until_position
