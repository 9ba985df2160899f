-- Every document that the log names is there with the hash that was recorded, and no other is. Many transactions may
-- share one; a grant's texts and its invoice's name one that the same or an earlier transaction brought.
WITH named AS (
    SELECT
        reference.id,
        min(event.position) AS position,
        min(event.position) FILTER (WHERE reference.brings) AS brought,
        min(reference.sha256) AS sha256,
        max(reference.sha256) AS other
    FROM movements AS event
    CROSS JOIN LATERAL (
        VALUES
        (true, document_id, document_sha256),
        (false, (grant_details #>> '{texts,0}')::uuid, grant_details #>> '{texts,1}'),
        (
            false,
            (grant_details #>> '{payment,invoice,texts,0}')::uuid,
            grant_details #>> '{payment,invoice,texts,1}'
        )
    ) AS reference (brings, id, sha256)
    WHERE reference.id IS NOT NULL
    GROUP BY reference.id
),
judged AS (
    SELECT
        named.position,
        id,
        CASE
            WHEN kept.sha256 IS NULL THEN 'document ' || id || ' of position ' || named.position || ' is missing'
            WHEN named.position IS NULL
                THEN 'document ' || id || ' is named by no event of the log'
            WHEN named.brought IS DISTINCT FROM named.position
                THEN 'document ' || id || ' is named by position ' || named.position
                    || ', which no transaction up to there brought'
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
