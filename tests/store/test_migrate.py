"""Migrations: idempotent, forward only, never edited, by several processes at once."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

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


def test_two_ledgers_share_a_server_and_nothing_else(server_dsn: str, database: Database) -> None:
    other = Database(server_dsn, f"t_{secrets.token_hex(6)}")
    migrate(other)
    with database.connect(Role.WRITER) as one, other.connect(Role.WRITER) as two:
        ids = [connection.execute("SELECT ledger_id FROM log_meta").fetchone() for connection in (one, two)]
    drop(other)
    assert ids[0] != ids[1]
