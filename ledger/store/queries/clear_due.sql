DELETE FROM due WHERE stream_id = ANY(%(streams)s::uuid[])
