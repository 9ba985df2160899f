"""Migrations: idempotent, forward only, never edited, by several processes at once."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.application import BlockingLedger, CreditLedger
from ledger.store import migrate as migrating
from ledger.store.database import Database, Role, UnusableDatabase
from ledger.store.migrate import migrate, migrations
from tests.conftest import drop


def test_a_second_migration_does_nothing(database: Database) -> None:
    assert migrate(database) == []


def test_several_processes_migrate_one_ledger_at_once(server_dsn: str) -> None:
    database = Database(server_dsn, f"t_{secrets.token_hex(6)}")
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(lambda _: migrate(database), range(4)))
    drop(database)
    assert sorted(applied, key=len) == [[], [], [], [name for name, _ in migrations()]]


def test_an_edited_migration_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    edited = [(name, text + "-- edited") for name, text in migrations()]
    monkeypatch.setattr(migrating, "migrations", lambda: edited)
    with pytest.raises(UnusableDatabase, match="never edited"):
        migrate(database)


def test_a_database_that_is_newer_than_the_code_is_refused(database: Database) -> None:
    with database.connect(Role.OWNER) as connection:
        connection.execute("INSERT INTO migrations VALUES ('9999_later.sql', '', clock_timestamp())")
    with pytest.raises(UnusableDatabase, match=r"9999_later\.sql"):
        migrate(database)


@pytest.mark.parametrize("name", ["", "Ledger", "pg_ledger", "a-b", "x" * 41, 'a"; DROP SCHEMA public; --'])
def test_a_schema_has_a_plain_name(name: str) -> None:
    with pytest.raises(UnusableDatabase):
        Database("dbname=postgres", name)


def test_an_account_that_has_only_the_roles_can_open_the_ledger(database: Database) -> None:
    password = str(conninfo_to_dict(database.dsn).get("password") or secrets.token_hex(8))
    account = f"{database.schema}_service"
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        made = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(account), sql.Literal(password))
        connection.execute(made)
        for role in Role:
            granted = sql.SQL("GRANT {} TO {}").format(
                sql.Identifier(database.role_name(role)), sql.Identifier(account)
            )
            connection.execute(granted)
    service = Database(make_conninfo(database.dsn, user=account, password=password), database.schema)
    try:
        assert migrate(service) == []
        with CreditLedger(service) as ledger:
            BlockingLedger(ledger).issue_grant(
                holder="acme", currency="c", amount=1, display_name="g", grant_type="PAID"
            )
    finally:
        with psycopg.connect(database.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(account)))


def test_two_ledgers_share_a_server_and_nothing_else(server_dsn: str, database: Database) -> None:
    other = Database(server_dsn, f"t_{secrets.token_hex(6)}")
    migrate(other)
    with database.connect(Role.WRITER) as one, other.connect(Role.WRITER) as two:
        ids = [connection.execute("SELECT ledger_id FROM log_meta").fetchone() for connection in (one, two)]
    drop(other)
    assert ids[0] != ids[1]
