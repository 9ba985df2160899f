SELECT coalesce((SELECT instant FROM test_clock), clock_timestamp()) AS instant
