-- The transactions that are open in this database, other than this one: they may have looked at the registry before.
-- Autovacuum, which has no user and may take hours, has not.
SELECT lock.virtualtransaction AS transaction, lock.pid
FROM pg_locks AS lock JOIN pg_stat_activity AS session USING (pid)
WHERE lock.locktype = 'virtualxid' AND lock.mode = 'ExclusiveLock' AND lock.pid <> pg_backend_pid()
    AND session.datname = current_database() AND session.usesysid IS NOT NULL
