SELECT position, recorded_at FROM movements ORDER BY position DESC LIMIT 1
