-- The settings without which a commit that was answered may be gone after a crash, as the service's sessions have them.
WITH judged AS (
    SELECT
        name,
        CASE WHEN setting NOT IN ('on', 'remote_write', 'remote_apply') THEN name || ' is ' || setting END AS fault
    FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY name LIMIT 1) AS first_fault
FROM judged
