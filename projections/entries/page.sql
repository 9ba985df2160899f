-- One page of a ledger, newest first; %(backward)s reads from the old end of the window, oldest first.
-- Each currency and type is a list of its own in the index; the page is merged from the ends of those asked for.
WITH RECURSIVE every_list (currency, type) AS (
    (SELECT currency, type FROM {table}
     WHERE holder = %(holder)s AND kind = %(kind)s AND resource = %(resource)s
     ORDER BY currency, type LIMIT 1)
    UNION ALL
    SELECT next.currency, next.type FROM every_list AS this CROSS JOIN LATERAL (
        SELECT currency, type FROM {table}
        WHERE holder = %(holder)s AND kind = %(kind)s AND resource = %(resource)s
            AND (currency, type) > (this.currency, this.type)
        ORDER BY currency, type LIMIT 1
    ) AS next
),
list AS (
    SELECT currency, type FROM every_list
    WHERE (%(currency)s::text IS NULL OR currency = %(currency)s)
        AND (%(types)s::text[] IS NULL OR type = ANY (%(types)s))
),
found AS (
    SELECT one.position, list.type FROM list CROSS JOIN LATERAL (
        (SELECT position FROM {table}
         WHERE NOT %(backward)s AND holder = %(holder)s AND kind = %(kind)s AND resource = %(resource)s
             AND currency = list.currency AND type = list.type AND position > %(above)s AND position < %(below)s
         ORDER BY position DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT position FROM {table}
         WHERE %(backward)s AND holder = %(holder)s AND kind = %(kind)s AND resource = %(resource)s
             AND currency = list.currency AND type = list.type AND position > %(above)s AND position < %(below)s
         ORDER BY position LIMIT %(limit)s)
    ) AS one
    ORDER BY CASE WHEN %(backward)s THEN one.position ELSE -one.position END LIMIT %(limit)s
)
-- Each found one is looked up by its position, whatever the planner believes of a young log.
SELECT
    e.position, found.type, e.cause, e.recorded_at, e.effective_at, e.transaction_id, e.lot, e.holder, e.currency,
    e.resource, coalesce(e.amount, 0)::numeric(38, 9) AS amount,
    e.lot_balance, e.pool_balance, e.actor_kind, e.actor_key, e.document_id
FROM found
CROSS JOIN LATERAL (SELECT * FROM movements WHERE position = found.position LIMIT 1) AS e
ORDER BY CASE WHEN %(backward)s THEN e.position ELSE -e.position END
