-- The same in order of position.
SELECT {columns} FROM {table}
WHERE %(parts)s = 1 OR ({part} & 9223372036854775807) %% %(parts)s = %(number)s
ORDER BY position
