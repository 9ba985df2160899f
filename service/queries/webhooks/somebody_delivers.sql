-- Whether some session holds what the one that delivers holds as long as it lives.
SELECT FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32 | objid::bigint) = hashtextextended(current_schema(), 5)
LIMIT 1
