-- Rows as an object a line. JSON holds no control characters, so nothing is quoted or escaped a second time.
COPY (SELECT row_to_json(told) FROM ({rows}) AS told ORDER BY told.position)
TO STDOUT (FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01')
