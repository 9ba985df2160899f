"""The ledger's one clock: the database's time, or in test mode one row that all processes share."""

from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.instants import Instant, instant_of
from ledger.domain.refusals import ClockWouldGoBack
from ledger.store.recorder import lock_key
from ledger.store.sql import query


@dataclass(frozen=True)
class Clock:
    """How to ask for the instant; the writer asks under the lock, in its own transaction."""

    query: LiteralString

    def beside_head(self) -> LiteralString:
        """One statement for the log's head and, as `instant`, the clock."""
        return "SELECT * FROM (" + query("head") + ") AS head, (" + self.query + ") AS clock"  # noqa: S608  # our files

    def now(self, connection: Connection[DictRow]) -> Instant:
        """max(clock, last recorded_at): what an operation's *now* would be; for the writer's role."""
        row: Any = connection.execute(self.beside_head()).fetchone()
        instant: Instant = row["instant"]
        return instant if row["recorded_at"] is None else max(instant, row["recorded_at"])

    def read(self, connection: Connection[DictRow]) -> Instant:
        row = connection.execute(self.query).fetchone()
        assert row is not None
        instant: Instant = row["instant"]
        return instant


def database_clock() -> Clock:
    return Clock(query("clock"))


def settable_clock() -> Clock:
    return Clock(query("test_clock"))


def set_test_clock(connection: Connection[DictRow], instant: Instant) -> None:
    """Set the shared test clock. The same instant again is fine; an earlier one is refused (ClockWouldGoBack).

    Before the first setting the clock is the real time, and an empty ledger may be put to any instant.
    """
    instant = instant_of(instant, field="now")
    with connection.transaction():
        schema: Any = connection.execute("SELECT current_schema() AS name").fetchone()
        connection.execute(query("lock"), {"key": lock_key(connection, schema["name"])})
        head: Any = connection.execute(query("head")).fetchone()
        set_before: Any = connection.execute("SELECT instant FROM test_clock").fetchone()
        bounds = [head and head["recorded_at"], set_before and set_before["instant"]]
        if any(bound is not None and instant < bound for bound in bounds):
            raise ClockWouldGoBack
        connection.execute(query("set_test_clock"), {"instant": instant})
