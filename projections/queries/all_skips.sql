SELECT name, position, reason, skipped_at, skipped_by FROM projection_skips ORDER BY name, position
