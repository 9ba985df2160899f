-- Whether a build has any of the rows that differ between two others, whatever is in it.
SELECT FROM {table} JOIN {differences} ON key = jsonb_build_array({key}) LIMIT 1
