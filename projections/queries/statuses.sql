-- Every build of these read models, beside the head of the log and the first event that it has not folded.
SELECT
    name, model.version, model.stage, model.position,
    CASE
        WHEN to_regclass(quote_ident(name || '_' || model.version)) IS NULL THEN 'its table is missing'
        ELSE model.error
    END AS error,
    model.error_position, model.events_per_second,
    paused.name IS NOT NULL AS paused,
    coalesce(log.position, 0) AS head,
    (SELECT recorded_at FROM movements WHERE movements.position = model.position + 1) AS behind_since
FROM unnest(%(names)s::text[], %(versions)s::text[]) WITH ORDINALITY AS present (name, version, place)
JOIN projections AS model USING (name)
LEFT JOIN projection_pauses AS paused USING (name)
LEFT JOIN LATERAL (SELECT position FROM movements ORDER BY position DESC LIMIT 1) AS log ON true
ORDER BY present.place, model.stage <> 'serving', split_part(model.version, '_', 1) <> present.version, model.number, model.version
