SELECT attname AS name, format_type(atttypid, atttypmod) AS type
FROM pg_attribute WHERE attrelid = to_regclass(%(build_table)s) AND attnum > 0 AND NOT attisdropped
ORDER BY attname
