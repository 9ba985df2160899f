-- Whether no batch is on its way: whoever writes holds this lock from before it reads the clock until it has committed.
SELECT pg_try_advisory_xact_lock_shared(%(key)s) AS nobody
