-- All writers of all processes in turn. Its own statement: the next one then sees what the last holder committed.
SELECT pg_advisory_xact_lock(%(key)s)
