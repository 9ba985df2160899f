-- What was applied, beside what this version of the code would apply.
WITH judged AS (
    SELECT
        name,
        CASE
            WHEN applied.name IS NULL THEN name || ' has not been applied'
            WHEN known.name IS NULL THEN name || ' was applied, and this version does not know it'
            WHEN applied.sha256 <> known.sha256 THEN name || ' was applied with another text'
        END AS fault
    FROM unnest(%(names)s::text[], %(hashes)s::text[]) AS known (name, sha256)
    FULL JOIN migrations AS applied USING (name)
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY name LIMIT 1) AS first_fault
FROM judged
