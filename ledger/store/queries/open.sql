INSERT INTO open_lots (stream_id, lot, kind, holder, currency, resource, definition_version)
SELECT * FROM unnest(
    %(streams)s::uuid[], %(lots)s::uuid[], %(kinds)s::text[], %(holders)s::text[], %(currencies)s::text[],
    %(resources)s::text[], %(definitions)s::integer[]
)
ON CONFLICT (stream_id) DO UPDATE SET
    lot = excluded.lot,
    definition_version = coalesce(excluded.definition_version, open_lots.definition_version)
