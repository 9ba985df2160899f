-- How far the serving build of each of these versions has come, beside the head of the log; a version that has not been
-- started is at 0.
-- `live`: no other version of the read model is ahead of this one, as the former is while this one is being made. Two
-- that are followed side by side are ahead of each other in turns, by less than %(together)s events.
SELECT
    wanted.name, coalesce(model.version, wanted.version) AS build, coalesce(model.position, 0) AS position,
    model.error, model.error_position, paused.name IS NOT NULL AS paused, log.head, log.recorded_at,
    NOT EXISTS (
        SELECT FROM projections AS other
        WHERE other.name = wanted.name AND other.stage = 'serving'
            AND other.position > CASE WHEN model.position > 0 THEN model.position + %(together)s ELSE 0 END
    ) AS live
FROM unnest(%(names)s::text[], %(versions)s::text[]) AS wanted (name, version)
LEFT JOIN projections AS model
    ON model.name = wanted.name AND split_part(model.version, '_', 1) = wanted.version AND model.stage = 'serving'
LEFT JOIN projection_pauses AS paused ON paused.name = wanted.name
LEFT JOIN LATERAL (
    SELECT position AS head, recorded_at FROM movements ORDER BY position DESC LIMIT 1
) AS log ON true
