-- Credits as an event of theirs left them, read from the log, which no read model has to follow first.
SELECT
    wanted.stream_id AS credit, opened.holder AS company,
    defined.credit_type, defined.rollup_type, defined.definition ->> 'next_rollup_type' AS next_rollup_type,
    defined.allotment AS credits, defined.anchor_at,
    coalesce((defined.definition ->> 'first_month')::integer, 0) AS first_month,
    (defined.definition ->> 'created_at')::timestamptz AS created_at, last.recorded_at AS updated_at,
    defined.deleted_at, opened.document_id, present.lot_expires_at AS ends_at, state.lot_used AS used, wanted.version
FROM unnest(%(credits)s::uuid[], %(versions)s::integer[]) AS wanted (stream_id, version)
JOIN movements AS last ON last.stream_id = wanted.stream_id AND last.version = wanted.version
JOIN movements AS opened ON opened.stream_id = wanted.stream_id AND opened.version = 1
CROSS JOIN LATERAL (
    SELECT * FROM movements
    WHERE stream_id = wanted.stream_id AND version <= wanted.version
        AND kind = 'EXECUTION_CREDIT' AND type = 'ledger.execution-credit-defined'
    ORDER BY version DESC LIMIT 1
) AS defined
CROSS JOIN LATERAL (
    SELECT lot, lot_expires_at FROM movements
    WHERE stream_id = wanted.stream_id AND version <= wanted.version
        AND kind = 'EXECUTION_CREDIT' AND type = 'ledger.granted'
    ORDER BY version DESC LIMIT 1
) AS present
CROSS JOIN LATERAL (
    SELECT lot_used FROM movements
    WHERE kind = 'EXECUTION_CREDIT' AND lot = present.lot AND version <= wanted.version
    ORDER BY version DESC LIMIT 1
) AS state
