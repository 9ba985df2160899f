INSERT INTO due (stream_id, act, due_at, kind, holder, currency, resource)
SELECT * FROM unnest(
    %(streams)s::uuid[], %(acts)s::text[], %(instants)s::timestamptz[], %(kinds)s::text[], %(holders)s::text[],
    %(currencies)s::text[], %(resources)s::text[]
)
ON CONFLICT (stream_id, act) DO UPDATE SET due_at = excluded.due_at
