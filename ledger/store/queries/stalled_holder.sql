-- End the session that holds the writers' lock while it waits for its own client: a stopped process in the middle of a
-- COPY, which no timeout of the server covers.
SELECT pg_terminate_backend(holder.pid)
FROM pg_locks AS held
JOIN pg_stat_activity AS holder USING (pid)
WHERE held.locktype = 'advisory' AND held.granted
    AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND held.classid::bigint = (%(key)s::bigint >> 32) AND held.objid::bigint = (%(key)s::bigint & 4294967295)
    AND held.pid <> pg_backend_pid()
    AND holder.wait_event_type = 'Client'
    AND clock_timestamp() - holder.state_change > %(stalled)s::interval
