-- What may pay in some pools, and the schedules that grant to them: these have no lot, but an instant.
SELECT
    o.stream_id, o.lot, o.definition_version,
    o.kind, o.holder, o.currency, o.resource, NULL::timestamptz AS next_at
FROM unnest(%(kinds)s::text[], %(holders)s::text[], %(currencies)s::text[], %(resources)s::text[])
    AS wanted (kind, holder, currency, resource)
JOIN open_lots AS o
    ON o.holder = wanted.holder AND o.currency = wanted.currency AND o.kind = wanted.kind
    AND o.resource IS NOT DISTINCT FROM wanted.resource
UNION ALL
SELECT d.stream_id, NULL, NULL, d.kind, d.holder, d.currency, d.resource, d.due_at
FROM unnest(%(kinds)s::text[], %(holders)s::text[], %(currencies)s::text[], %(resources)s::text[])
    AS wanted (kind, holder, currency, resource)
JOIN due AS d
    ON d.act = 'SCHEDULE' AND d.holder = wanted.holder AND d.currency = wanted.currency AND d.kind = wanted.kind
    AND d.resource IS NOT DISTINCT FROM wanted.resource
