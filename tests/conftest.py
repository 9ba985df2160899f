"""A real PostgreSQL for every test that needs one, and a fresh ledger on it."""

import gc
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.instants import Instant
from ledger.store.clock import Clock, set_test_clock, settable_clock
from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from service.embedded_postgres import EmbeddedPostgres

settings.register_profile("ledger", deadline=None, derandomize=True, database=None, max_examples=100)
settings.load_profile("ledger")

START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
"""Where the test clock stands when a test begins."""
LONG_FILES = {
    "test_users_cases.py", "test_processes.py", "test_graphql_recharge.py", "test_graphql_schedules.py",
    "test_graphql_rollovers.py", "test_killed_service.py", "test_read_your_writes.py", "test_command_line.py",
    "test_execution_credits_two_years.py", "test_doctor_tables.py", "test_readme.py", "test_trace.py",
    "test_replay_planted.py", "test_two_clocks.py",
}  # fmt: skip
"""They begin first: a worker that began one of them when all else is done would have the others wait for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG_FILES)


def pytest_collection_finish() -> None:
    """What was collected stays: whoever collects garbage need not look through it again and again."""
    gc.freeze()


@pytest.fixture(scope="session")
def server_dsn() -> Iterator[str]:
    """The server that LEDGER_TEST_DATABASE_URL names, else an embedded one for this run."""
    given = os.environ.get("LEDGER_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="ledger-tests-") as folder, EmbeddedPostgres(Path(folder)) as server:
        yield server.dsn()


@pytest.fixture
def database(server_dsn: str) -> Iterator[Database]:
    """A migrated, empty ledger in a schema of its own, dropped after the test."""
    with migrated(server_dsn) as database:
        yield database


@pytest.fixture(scope="module")
def schema(server_dsn: str) -> Iterator[Database]:
    """A ledger that all tests of a module share; none may rely on what another left there."""
    with migrated(server_dsn) as database:
        yield database


@contextmanager
def migrated(server_dsn: str) -> Iterator[Database]:
    database = Database(server_dsn, f"t_{secrets.token_hex(6)}")
    migrate(database)
    yield database
    drop(database)


def drop(database: Database) -> None:
    """Remove a test's schema and roles."""
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks "
            "WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND pid <> pg_backend_pid()"
        )
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(database.schema)))
        for role in reversed(Role):
            name = sql.Identifier(database.role_name(role))
            connection.execute(sql.SQL("DROP OWNED BY {}").format(name))
            connection.execute(sql.SQL("DROP ROLE {}").format(name))


class Hands:
    """The hands of the test clock, which all processes of one ledger share."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.now = START
        self.set(START)

    def set(self, instant: Instant) -> None:
        with self._database.connect(Role.WRITER) as connection:
            set_test_clock(connection, instant)
        self.now = instant


@pytest.fixture
def hands(database: Database) -> Hands:
    return Hands(database)


@pytest.fixture
def clock() -> Clock:
    return settable_clock()


@pytest.fixture
def ledger(database: Database, clock: Clock, hands: Hands) -> Iterator[CreditLedger]:
    """A running ledger on the test clock, which stands at START."""
    with CreditLedger(database, clock=clock) as ledger:
        yield ledger


@pytest.fixture
def books(ledger: CreditLedger) -> BlockingLedger:
    """The same ledger for tests that wait."""
    return BlockingLedger(ledger)
