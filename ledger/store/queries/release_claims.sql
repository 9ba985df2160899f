DELETE FROM claims
WHERE kind = %(kind)s AND value = ANY(%(values)s::text[]) AND stream_id = ANY(%(streams)s::uuid[])
