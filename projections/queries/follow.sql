-- A session that follows the log holds this as long as it lives, so that others can tell whether anybody does.
SELECT pg_advisory_lock_shared(hashtextextended(current_schema(), 4))
