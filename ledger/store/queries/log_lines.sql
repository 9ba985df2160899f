-- The log up to a position, in order, as lines of COPY's text format.
COPY (SELECT {columns} FROM events WHERE position <= %(until)s ORDER BY position) TO STDOUT
