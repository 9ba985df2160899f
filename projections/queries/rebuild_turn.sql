-- Whoever rebuilds a read model holds this as long as its session lives.
SELECT pg_try_advisory_lock(hashtextextended(current_schema() || '.' || %(name)s, 3)) AS ours
