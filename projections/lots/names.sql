-- The readable ids of grants, which never change, read from the log.
SELECT stream_id, readable_id FROM movements WHERE stream_id = ANY (%(streams)s::uuid[]) AND version = 1
