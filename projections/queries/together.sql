-- Take the turns of some read models, as far as they are free, and tell where these stand and where the log ends. They
-- may have been overtaken by the time the turns are taken; then what follows moves nothing.
SELECT
    bool_and(pg_try_advisory_xact_lock(hashtextextended(current_schema() || wanted.model_table, 2))) AS ours,
    min(known.position) AS first, max(known.position) AS last,
    coalesce((SELECT transaction_last FROM movements ORDER BY position DESC LIMIT 1), 0) AS head
FROM unnest(%(names)s::text[], %(versions)s::text[], %(tables)s::text[]) AS wanted (name, version, model_table)
JOIN projections AS known USING (name, version)
