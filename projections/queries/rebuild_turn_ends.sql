SELECT pg_advisory_unlock(hashtextextended(current_schema() || '.' || %(name)s, 3))
