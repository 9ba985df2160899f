SELECT clock_timestamp() AS instant
