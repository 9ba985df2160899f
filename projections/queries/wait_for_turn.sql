SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || %(build_table)s, 2))
