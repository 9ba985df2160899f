INSERT INTO test_clock (instant) VALUES (%(instant)s) ON CONFLICT (only_row) DO UPDATE SET instant = excluded.instant
