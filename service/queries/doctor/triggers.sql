-- The triggers that refuse every change of the log, for whoever has more privileges than he should. In `tgtype` 2 is
-- BEFORE, 8 DELETE, 16 UPDATE, 32 TRUNCATE; a session in the role of a replica fires no ordinary trigger.
WITH wanted (place, relation, name) AS (
    VALUES (1, 'events', 'events_are_never_changed'), (2, 'idempotency', 'keys_are_never_changed')
),
judged AS (
    SELECT
        wanted.place,
        CASE
            WHEN made.oid IS NULL THEN 'trigger ' || wanted.name || ' on ' || wanted.relation || ' is missing'
            WHEN made.tgenabled NOT IN ('O', 'A')
                THEN 'trigger ' || wanted.name || ' on ' || wanted.relation || ' is disabled'
            WHEN made.tgtype & 58 <> 58 OR made.tgqual IS NOT NULL OR made.tgattr::text <> ''
                OR made.tgfoid <> to_regproc('refuse_change')
                THEN 'trigger ' || wanted.name || ' on ' || wanted.relation || ' does not refuse every change'
            WHEN made.tgenabled = 'O' AND current_setting('session_replication_role') = 'replica'
                THEN 'trigger ' || wanted.name || ' does not fire, because session_replication_role is replica'
        END AS fault
    FROM wanted
    LEFT JOIN pg_trigger AS made ON made.tgrelid = to_regclass(wanted.relation) AND made.tgname = wanted.name
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY place LIMIT 1) AS first_fault
FROM judged
