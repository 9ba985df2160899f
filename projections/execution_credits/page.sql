-- One page of the living credits, oldest first, with how many there are in all. A rollup type that begins at a renewal
-- is in force from that instant, recorded or not.
WITH wanted AS NOT MATERIALIZED (
    SELECT * FROM {table}
    WHERE deleted_at IS NULL
        AND (%(companies)s::text[] IS NULL OR company = ANY (%(companies)s::text[]))
        AND (%(credit_type)s::text IS NULL OR credit_type = %(credit_type)s)
        AND (%(rollup_type)s::text IS NULL OR %(rollup_type)s = CASE
            WHEN next_rollup_type IS NOT NULL AND ends_at <= %(now)s THEN next_rollup_type
            ELSE rollup_type
        END)
)
SELECT
    (SELECT count(*) FROM wanted) AS total,
    credit, company, credit_type, rollup_type, next_rollup_type, credits, anchor_at, first_month,
    created_at, updated_at, deleted_at, document_id, ends_at, used, version
FROM (VALUES (1)) AS always (one)
LEFT JOIN LATERAL (
    SELECT * FROM wanted ORDER BY created_at, credit LIMIT %(limit)s OFFSET %(offset)s
) AS page ON true
