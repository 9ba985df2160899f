-- Take the turns of some builds, as far as they are free, and tell where these stand and where the log ends. They may
-- have been overtaken by the time the turns are taken; then what follows moves nothing.
SELECT
    count(*) AS known,
    bool_and(pg_try_advisory_xact_lock(hashtextextended(current_schema() || wanted.build_table, 2))) AS ours,
    bool_and(known.stage = 'serving' AND known.error IS NULL AND paused.name IS NULL) AS followed,
    min(known.position) AS first, max(known.position) AS last,
    coalesce(bool_or(skipped.position > known.position), false) AS skips,
    coalesce((SELECT transaction_last FROM movements ORDER BY position DESC LIMIT 1), 0) AS head
FROM unnest(%(names)s::text[], %(versions)s::text[], %(tables)s::text[]) AS wanted (name, version, build_table)
JOIN projections AS known USING (name, version)
LEFT JOIN projection_pauses AS paused USING (name)
LEFT JOIN (SELECT name, max(position) AS position FROM projection_skips GROUP BY name) AS skipped USING (name)
