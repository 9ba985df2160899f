-- Every document that the log names is there with the hash that was recorded, and no other is.
WITH named AS (
    SELECT document_id AS id, min(position) AS position, min(document_sha256) AS sha256, max(document_sha256) AS other
    FROM movements WHERE document_id IS NOT NULL
    GROUP BY document_id
),
judged AS (
    SELECT
        named.position,
        id,
        CASE
            WHEN kept.sha256 IS NULL THEN 'document ' || id || ' of position ' || named.position || ' is missing'
            WHEN named.position IS NULL
                THEN 'document ' || id || ' is named by no event of the log'
            WHEN (named.sha256, named.other) IS DISTINCT FROM (kept.sha256, kept.sha256)
                THEN 'document ' || id || ' has another hash than position ' || named.position || ' recorded'
            WHEN encode(sha256(convert_to(kept.body, 'UTF8')), 'hex') <> kept.sha256
                THEN 'document ' || id || ' of position ' || named.position || ' has another text than its hash says'
        END AS fault
    FROM named
    FULL JOIN documents AS kept USING (id)
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY position, id LIMIT 1) AS first_fault
FROM judged
