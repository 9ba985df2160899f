SELECT
    o.stream_id, o.lot, o.definition_version,
    o.kind, o.holder, o.currency, o.resource
FROM unnest(%(kinds)s::text[], %(holders)s::text[], %(currencies)s::text[], %(resources)s::text[])
    AS wanted (kind, holder, currency, resource)
JOIN open_lots AS o
    ON o.holder = wanted.holder AND o.currency = wanted.currency AND o.kind = wanted.kind
    AND o.resource IS NOT DISTINCT FROM wanted.resource
ORDER BY o.stream_id
