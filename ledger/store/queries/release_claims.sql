DELETE FROM claims WHERE stream_id = ANY(%(streams)s::uuid[]) AND kind = %(kind)s
