-- The state of lots: the last row about each, the event with its terms in force, and where its stream is now.
SELECT
    wanted.stream_id,
    wanted.lot,
    stream.version AS stream_version,
    state.kind, state.holder, state.currency, state.resource,
    state.grant_type,
    state.type,
    state.cause,
    state.terms_version,
    state.lot_granted, state.lot_used, state.lot_balance,
    terms.type AS terms_type,
    terms.data ->> 'terms' AS terms,
    terms.data ->> 'grant' AS details,
    terms.data #>> '{document,document_id}' AS document_id,
    terms.data #>> '{document,sha256}' AS document_sha256
FROM unnest(%(streams)s::uuid[], %(lots)s::uuid[]) AS wanted (stream_id, lot)
CROSS JOIN LATERAL (
    SELECT version, kind FROM events WHERE stream_id = wanted.stream_id ORDER BY version DESC LIMIT 1
) AS stream
CROSS JOIN LATERAL (
    (
        SELECT * FROM events
        WHERE stream.kind = 'CREDIT_GRANT' AND stream_id = wanted.stream_id AND lot = wanted.lot
        ORDER BY version DESC LIMIT 1
    )
    UNION ALL
    (
        SELECT * FROM events
        WHERE stream.kind = 'EXECUTION_CREDIT' AND kind = 'EXECUTION_CREDIT' AND lot = wanted.lot
        ORDER BY version DESC LIMIT 1
    )
) AS state
JOIN events AS terms ON terms.stream_id = wanted.stream_id AND terms.version = state.terms_version
