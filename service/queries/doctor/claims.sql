-- What the table claims holds, beside what the log says: for every grant there ever was its readable id, and whichever
-- part of a schedule, remainder of a grant or recharge it is; for each living execution credit its company, type and
-- whether it renews; for each automatic recharge its pool; for each allocation rule that there is its name, and for
-- every one there ever was the months in which its threshold was reached. What is not written as these are is nobody's.
WITH definition AS (
    SELECT DISTINCT ON (stream_id)
        stream_id, type, holder, currency, credit_type, rollup_type, deleted_at, definition -> 'rule' AS rule
    FROM movements
    WHERE type IN (
        'ledger.execution-credit-defined', 'ledger.auto-recharge-defined', 'ledger.allocation-rule-defined',
        'ledger.allocation-rule-changed', 'ledger.allocation-rule-removed'
    )
    ORDER BY stream_id, position DESC
),
told AS (
    SELECT claim.kind, claim.value, issued.stream_id
    FROM movements AS issued
    CROSS JOIN LATERAL (
        VALUES
        ('GRANT_READABLE_ID', to_jsonb(readable_id)),
        (
            'SCHEDULED_PART',
            jsonb_build_array(grant_details #> '{scheduled,schedule_id}', grant_details #> '{scheduled,part}')
        ),
        ('ROLLED_OVER', grant_details #> '{rolled_over_from,grant_id}'),
        (
            'RECHARGE',
            jsonb_build_array(grant_details #> '{recharge,configuration_id}', grant_details #> '{recharge,number}')
        )
    ) AS claim (kind, value)
    WHERE issued.type = 'ledger.granted' AND issued.kind = 'CREDIT_GRANT' AND issued.version = 1
        AND claim.value <> '[null, null]'
    UNION ALL
    SELECT
        'LIVE_EXECUTION_CREDIT',
        jsonb_build_array(holder, credit_type, CASE rollup_type WHEN 'ADDON' THEN 'ADDON' ELSE 'RENEWING' END),
        stream_id
    FROM definition WHERE type = 'ledger.execution-credit-defined' AND deleted_at IS NULL
    UNION ALL
    SELECT 'AUTO_RECHARGE', jsonb_build_array(holder, currency), stream_id
    FROM definition WHERE type = 'ledger.auto-recharge-defined'
    UNION ALL
    SELECT 'RULE_NAME', rule -> 'name', stream_id
    FROM definition WHERE type IN ('ledger.allocation-rule-defined', 'ledger.allocation-rule-changed')
    UNION ALL
    SELECT 'THRESHOLD', jsonb_build_array(stream_id, definition -> 'month'), stream_id
    FROM movements WHERE type = 'ledger.threshold-reached'
),
-- Lists as the ledger writes them: texts in ASCII, whose escapes PostgreSQL can read, and whole numbers.
spelling AS (
    SELECT '^\[' || element || '(, ' || element || ')*\]$' AS list
    FROM (
        VALUES (
            '("([ !#-\[\]-~]|\\["\\bfnrt]|\\u(?!0000|d[89a-f])[0-9a-f]{4}|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})*"'
            || '|0|[1-9][0-9]{0,17})'
        )
    ) AS one (element)
),
kept AS (
    SELECT
        kind,
        CASE
            WHEN kind IN ('GRANT_READABLE_ID', 'ROLLED_OVER', 'RULE_NAME') THEN to_jsonb(value)
            WHEN value ~ list THEN value::jsonb
        END AS value,
        value AS text,
        stream_id
    FROM claims CROSS JOIN spelling
),
-- A stream holds one claim of a kind, but of months any number.
judged AS (
    SELECT
        kind,
        stream_id,
        CASE
            WHEN kept.text IS NULL
                THEN 'claims lacks the ' || kind || ' of stream ' || stream_id || ', ' || told.value
            WHEN told.kind IS NULL
                THEN 'claims has the ' || kind || ' of stream ' || stream_id || ', ' || kept.text
                    || ', which by the log it does not hold'
            WHEN kept.value IS DISTINCT FROM told.value
                THEN 'claims has the ' || kind || ' of stream ' || stream_id || ', ' || kept.text
                    || ', which by the log is ' || told.value
        END AS fault
    FROM (SELECT *, CASE kind WHEN 'THRESHOLD' THEN value::text ELSE '' END AS which FROM told) AS told
    FULL JOIN (SELECT *, CASE kind WHEN 'THRESHOLD' THEN coalesce(value::text, text) ELSE '' END AS which FROM kept)
        AS kept USING (kind, stream_id, which)
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY kind, stream_id, fault LIMIT 1) AS first_fault
FROM judged
