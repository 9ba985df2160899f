WITH closed AS (DELETE FROM open_lots WHERE stream_id = ANY(%(streams)s::uuid[]))
DELETE FROM due WHERE stream_id = ANY(%(streams)s::uuid[])
