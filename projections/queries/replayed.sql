-- The log up to a position, event by event: all of it, or one of some parts.
SELECT {columns} FROM movements
WHERE position <= %(until)s AND (%(parts)s = 1 OR ({part} & 9223372036854775807) %% %(parts)s = %(number)s)
ORDER BY position
