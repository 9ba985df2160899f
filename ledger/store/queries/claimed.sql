SELECT value, stream_id FROM claims WHERE kind = %(kind)s AND value = ANY(%(values)s::text[])
