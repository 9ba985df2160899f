-- The definition in force of execution credits: at the version that is known, else the last one of the stream.
SELECT definition.*
FROM unnest(%(streams)s::uuid[], %(versions)s::integer[]) AS wanted (stream_id, version)
CROSS JOIN LATERAL (
    SELECT * FROM events
    WHERE stream_id = wanted.stream_id
        AND version BETWEEN coalesce(wanted.version, 1) AND coalesce(wanted.version, 2147483647)
        AND kind = 'EXECUTION_CREDIT' AND type = 'ledger.execution-credit-defined'
    ORDER BY version DESC LIMIT 1
) AS definition
