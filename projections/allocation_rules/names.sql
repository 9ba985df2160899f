SELECT name FROM {table} WHERE until_position IS NULL ORDER BY name
