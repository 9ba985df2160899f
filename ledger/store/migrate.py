"""Bring a database to the present schema: idempotent, forward only, one process at a time."""

import hashlib
from contextlib import suppress
from importlib.resources import files

import psycopg
from psycopg import sql
from psycopg.rows import DictRow

from ledger.store.database import Database, Role, UnusableDatabase
from ledger.store.sql import statement

PACKAGE = "ledger.store"


def migrate(database: Database) -> list[str]:
    """Apply every migration that is missing, each in its own transaction; return the names of those applied.

    Raises UnusableDatabase if a migration that was applied has another text now, or if the database is newer than
    this code. Several processes may call it at once.
    """
    with database.connect(None) as connection:
        lock = sql.SQL("SELECT pg_advisory_lock(hashtextextended(%s, 0))")
        connection.execute(lock, [f"migrate {database.schema}"])
        _make_roles(connection, database)
        _make_schema(connection, database)
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(database.role_name(Role.OWNER))))
        applied = _apply_missing(connection, database)
        with connection.transaction():
            connection.execute(_granting(database))
        return applied


def check_migrated(database: Database) -> None:
    """Raises UnusableDatabase unless the schema is there and has every migration of this version. Changes nothing."""
    with database.connect(None) as connection:
        place = sql.Identifier(database.schema, "migrations").as_string(connection)
        found = connection.execute("SELECT to_regclass(%s) AS place", [place]).fetchone()
    if found is None or found["place"] is None:
        raise UnusableDatabase(f"there is no ledger in schema {database.schema}: run credit-ledger migrate")
    applied: set[str] = set()
    with database.connect(Role.READER) as connection, suppress(psycopg.errors.InsufficientPrivilege):
        applied = {row["name"] for row in connection.execute("SELECT name FROM migrations")}  # it may, from 0004 on
    missing = [name for name, _ in migrations() if name not in applied]
    if missing:
        raise UnusableDatabase(f"schema {database.schema} lacks {', '.join(missing)}: run credit-ledger migrate")


def migrations() -> list[tuple[str, str]]:
    """Name and text of each migration, in order."""
    folder = files(PACKAGE).joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(name, statement(PACKAGE, f"migrations/{name}")) for name in names]


def _make_roles(connection: "psycopg.Connection[DictRow]", database: Database) -> None:
    for role in Role:
        name = database.role_name(role)
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
        if known is None:
            try:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
            except psycopg.errors.DuplicateObject:
                pass  # another ledger of this name, in another database, was faster
            except psycopg.errors.InsufficientPrivilege:
                raise UnusableDatabase(
                    f"role {name} is missing and this account may not create it: "
                    f"run the migration once as an account with CREATEROLE"
                ) from None
        _be_able_to_take(connection, name)
    owner, projector = database.role_name(Role.OWNER), database.role_name(Role.PROJECTOR)
    granted = connection.execute("SELECT pg_has_role(%s, %s, 'MEMBER') AS yes", [owner, projector]).fetchone()
    if granted is None or not granted["yes"]:
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(projector), sql.Identifier(owner)))


def _be_able_to_take(connection: "psycopg.Connection[DictRow]", role: str) -> None:
    """From PostgreSQL 16 on, whoever made a role may grant it, to himself too, but may not take it before he has."""
    name = sql.Identifier(role)
    try:
        connection.execute(sql.SQL("SET ROLE {}").format(name))
        connection.execute("RESET ROLE")
    except psycopg.errors.InsufficientPrivilege:
        try:
            connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(name))
        except psycopg.errors.InsufficientPrivilege:
            raise UnusableDatabase(
                f"this account may not take the role {role}: as the account that made it, GRANT {role} to this one"
            ) from None


def _make_schema(connection: "psycopg.Connection[DictRow]", database: Database) -> None:
    known = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [database.schema]).fetchone()
    if known is None:
        connection.execute(
            sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(
                sql.Identifier(database.schema), sql.Identifier(database.role_name(Role.OWNER))
            )
        )


def _apply_missing(connection: "psycopg.Connection[DictRow]", database: Database) -> list[str]:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, sha256 text NOT NULL, at timestamptz NOT NULL)"
    )
    recorded = {row["name"]: row["sha256"] for row in connection.execute("SELECT name, sha256 FROM migrations")}
    known = dict(migrations())
    unknown = sorted(set(recorded) - set(known))
    if unknown:
        raise UnusableDatabase(f"schema {database.schema} has migrations this version does not know: {unknown}")
    applied = []
    for name, text in known.items():
        digest = hashlib.sha256(text.encode()).hexdigest()
        if name not in recorded:
            with connection.transaction():
                connection.execute(text.encode())
                connection.execute(
                    "INSERT INTO migrations (name, sha256, at) VALUES (%s, %s, clock_timestamp())", [name, digest]
                )
            applied.append(name)
        elif recorded[name] != digest:
            raise UnusableDatabase(f"migration {name} was applied with another text: migrations are never edited")
    return applied


def _granting(database: Database) -> sql.Composed:
    names = {role.value: sql.Identifier(database.role_name(role)) for role in Role}
    return sql.SQL(statement(PACKAGE, "roles.sql")).format(schema=sql.Identifier(database.schema), **names)
