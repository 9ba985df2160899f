-- The definition in force of execution credits: at the version that is known, else the last one of the stream.
SELECT definition.*
FROM unnest(%(streams)s::uuid[], %(versions)s::integer[]) AS wanted (stream_id, version)
CROSS JOIN LATERAL (
    SELECT * FROM events
    WHERE stream_id = wanted.stream_id
        AND (wanted.version IS NULL OR version = wanted.version)
        AND type = 'ledger.execution-credit-defined'
    ORDER BY version DESC LIMIT 1
) AS definition
