-- How far each of these versions has come, beside the head of the log; a version that has not been started is at 0.
-- `live`: no other version of the read model is ahead of this one, as the former is while this one is being made.
SELECT
    wanted.name, coalesce(model.position, 0) AS position, model.error, log.head, log.recorded_at,
    NOT EXISTS (
        SELECT FROM projections AS other
        WHERE other.name = wanted.name AND other.position > coalesce(model.position, 0)
    ) AS live
FROM unnest(%(names)s::text[], %(versions)s::text[]) AS wanted (name, version)
LEFT JOIN projections AS model USING (name, version)
LEFT JOIN LATERAL (
    SELECT position AS head, recorded_at FROM movements ORDER BY position DESC LIMIT 1
) AS log ON true
