-- The roles, and what the three that serve must not be or have. Privileges count whichever way they came: by grant, by
-- membership, by ownership.
WITH wanted (place, name) AS (
    VALUES (1, %(owner)s::text), (2, %(writer)s::text), (3, %(projector)s::text), (4, %(reader)s::text)
),
role AS (
    SELECT wanted.place, wanted.name, known.oid, known.rolsuper
    FROM wanted LEFT JOIN pg_roles AS known ON known.rolname = wanted.name
),
schema AS (
    SELECT oid, nspowner FROM pg_namespace WHERE nspname = %(schema)s::text
),
guarded AS (
    SELECT relation.oid, relation.relname FROM pg_class AS relation JOIN schema ON schema.oid = relation.relnamespace
    WHERE relation.relname IN ('events', 'idempotency')
),
judged AS (
    SELECT
        role.place,
        1 AS step,
        role.name AS about,
        CASE
            WHEN role.oid IS NULL THEN 'role ' || role.name || ' does not exist'
            WHEN role.place = 1 THEN NULL
            WHEN role.rolsuper THEN 'role ' || role.name || ' is a superuser'
            WHEN role.oid = schema.nspowner THEN 'role ' || role.name || ' owns the schema'
            WHEN pg_has_role(role.oid, owner.oid, 'MEMBER')
                THEN 'role ' || role.name || ' is a member of ' || owner.name
        END AS fault
    FROM role
    JOIN role AS owner ON owner.place = 1
    LEFT JOIN schema ON true
    UNION ALL
    SELECT
        role.place,
        2,
        guarded.relname || privilege.name,
        CASE
            WHEN CASE
                WHEN privilege.name IN ('INSERT', 'UPDATE')
                    THEN has_any_column_privilege(role.oid, guarded.oid, privilege.name)
                ELSE has_table_privilege(role.oid, guarded.oid, privilege.name)
            END
                THEN 'role ' || role.name || ' has the privilege ' || privilege.name || ' on ' || guarded.relname
        END
    FROM role
    CROSS JOIN guarded
    CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS privilege (name)
    WHERE role.oid IS NOT NULL AND role.place > 1 AND NOT (role.place = 2 AND privilege.name = 'INSERT')
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY step, place, about LIMIT 1) AS first_fault
FROM judged
