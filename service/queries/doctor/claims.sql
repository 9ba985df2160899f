-- What the table claims holds, beside what the log says: the readable id of every grant there ever was, and for each
-- living execution credit its company, type and whether it renews. A value that is not such JSON is nobody's.
WITH definition AS (
    SELECT DISTINCT ON (stream_id) stream_id, holder, credit_type, rollup_type, deleted_at
    FROM movements WHERE type = 'ledger.execution-credit-defined'
    ORDER BY stream_id, position DESC
),
told AS (
    SELECT 'GRANT_READABLE_ID' AS kind, to_jsonb(readable_id) AS value, stream_id
    FROM movements WHERE type = 'ledger.granted' AND kind = 'CREDIT_GRANT' AND version = 1
    UNION ALL
    SELECT
        'LIVE_EXECUTION_CREDIT',
        jsonb_build_array(holder, credit_type, CASE rollup_type WHEN 'ADDON' THEN 'ADDON' ELSE 'RENEWING' END),
        stream_id
    FROM definition WHERE deleted_at IS NULL
),
kept AS (
    SELECT
        kind,
        CASE
            WHEN kind = 'GRANT_READABLE_ID' THEN to_jsonb(value)
            WHEN value ~ '^\["([^"\\]|\\(["\\/bfnrt]|u[0-9a-f]{4}))*", "[A-Z_]+", "[A-Z_]+"\]$' THEN value::jsonb
        END AS value,
        value AS text,
        stream_id
    FROM claims WHERE kind IN ('GRANT_READABLE_ID', 'LIVE_EXECUTION_CREDIT')
),
judged AS (
    SELECT
        kind,
        stream_id,
        CASE
            WHEN kept.text IS NULL
                THEN 'claims lacks the ' || kind || ' ' || told.value || ' of stream ' || stream_id
            WHEN told.kind IS NULL
                THEN 'claims has the ' || kind || ' ' || kept.text || ' for stream ' || stream_id
                    || ', which by the log does not hold it'
            WHEN kept.value IS DISTINCT FROM told.value
                THEN 'claims has the ' || kind || ' ' || kept.text || ' for stream ' || stream_id
                    || ', which by the log holds ' || told.value
        END AS fault
    FROM told
    FULL JOIN kept USING (kind, stream_id)
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY kind, stream_id, fault LIMIT 1) AS first_fault
FROM judged
