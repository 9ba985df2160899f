INSERT INTO projection_pauses (name, paused_at, paused_by) VALUES (%(name)s, %(at)s, %(by)s) ON CONFLICT DO NOTHING
