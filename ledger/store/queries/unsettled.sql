-- Whether something that is due for a holder by an instant is not written, or was written after a position of the log.
SELECT
    EXISTS (
        SELECT FROM due WHERE holder = %(holder)s AND kind = %(kind)s AND due_at <= %(now)s
    ) AS due,
    EXISTS (
        SELECT FROM events
        WHERE position > %(position)s AND holder = %(holder)s AND kind = %(kind)s
            AND cause IN ('LAPSED', 'ROLLED_OVER', 'SCHEDULED', 'RENEWED')
    ) AS written,
    coalesce((SELECT max(position) FROM events), 0) AS head
