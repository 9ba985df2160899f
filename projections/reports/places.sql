-- Where the log has the events of a holder, of a topic or of all: the first few in a stretch of it, or the last few.
-- Each resource, currency and type is a list of its own in the index; they are merged from the ends of those asked for.
WITH RECURSIVE every_list (resource, currency, type) AS (
    (SELECT resource, currency, type FROM {table}
     WHERE holder = %(holder)s AND kind = %(kind)s
     ORDER BY resource, currency, type LIMIT 1)
    UNION ALL
    SELECT next.resource, next.currency, next.type FROM every_list AS this CROSS JOIN LATERAL (
        SELECT resource, currency, type FROM {table}
        WHERE holder = %(holder)s AND kind = %(kind)s
            AND (resource, currency, type) > (this.resource, this.currency, this.type)
        ORDER BY resource, currency, type LIMIT 1
    ) AS next
),
list AS (
    SELECT resource, currency, type FROM every_list
    WHERE (%(currency)s::text IS NULL OR currency = %(currency)s)
        AND (%(topic)s::text IS NULL OR type = %(topic)s)
),
found AS (
    SELECT one.position FROM list CROSS JOIN LATERAL (
        (SELECT position FROM {table}
         WHERE NOT %(newest_first)s AND holder = %(holder)s AND kind = %(kind)s AND resource = list.resource
             AND currency = list.currency AND type = list.type AND position > %(after)s AND position <= %(until)s
         ORDER BY position LIMIT %(limit)s)
        UNION ALL
        (SELECT position FROM {table}
         WHERE %(newest_first)s AND holder = %(holder)s AND kind = %(kind)s AND resource = list.resource
             AND currency = list.currency AND type = list.type AND position > %(after)s AND position <= %(until)s
         ORDER BY position DESC LIMIT %(limit)s)
    ) AS one
    UNION
    SELECT position FROM projection_skips
    WHERE name = 'entries' AND position > %(after)s AND position <= %(until)s
)
SELECT array_agg(position) AS positions FROM (
    SELECT position FROM found
    ORDER BY CASE WHEN %(newest_first)s THEN -position ELSE position END LIMIT %(limit)s
) AS ordered
