-- Where some builds stand that stand together; none: at the head.
SELECT coalesce(
    (
        SELECT min(position) FROM projections
        JOIN unnest(%(names)s::text[], %(versions)s::text[]) AS wanted (name, version) USING (name, version)
    ),
    (SELECT position FROM movements ORDER BY position DESC LIMIT 1),
    0
) AS position
