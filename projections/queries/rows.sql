-- All rows, or those of one part.
SELECT {columns} FROM {table}
WHERE %(parts)s = 1 OR ({part} & 9223372036854775807) %% %(parts)s = %(number)s
