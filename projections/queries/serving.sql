-- The build that serves for each of these versions.
SELECT
    known.name, known.version AS build, known.position,
    known.error IS NOT NULL AS failed, paused.name IS NOT NULL AS paused
FROM unnest(%(names)s::text[], %(versions)s::text[]) WITH ORDINALITY AS wanted (name, version, place)
JOIN projections AS known
    ON known.name = wanted.name AND split_part(known.version, '_', 1) = wanted.version AND known.stage = 'serving'
LEFT JOIN projection_pauses AS paused ON paused.name = known.name
ORDER BY wanted.place
