"""The two clocks of a figure: as of which instant it counts, and as of which position of the log it was known."""

from datetime import timedelta
from typing import LiteralString, TypeAlias

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.instants import Instant
from ledger.domain.refusals import InvalidArgument
from ledger.store.clock import Clock
from ledger.store.recorder import lock_key
from ledger.store.sql import statement
from projections.reports.report import AsOf

PACKAGE = "projections.reports"
TICK = timedelta(microseconds=1)
"""Instants are whole microseconds, so what is dated before one is what is dated up to the tick before it."""
RecordedAsOf: TypeAlias = Instant | int | None
"""An instant: what was recorded at or before it. A position: with all of its transaction. None: all there is."""


def report_sql(name: str) -> LiteralString:
    """A text of this folder."""
    return statement(PACKAGE, f"{name}.sql")


def as_of(connection: Connection[DictRow], clock: Clock, effective_at: Instant | None, recorded: RecordedAsOf) -> AsOf:
    """What a question's two clocks mean now. Without `effective_at` it is the instant of `recorded`, at last: now.

    Final is what can change no more: a position, and an instant that is past, while nobody is at writing what was
    recorded by then; that the clock is never set back is taken for granted. Refuses: InvalidArgument (a position beyond
    the head).
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")  # what is committed once the lock is held
        row = connection.execute("SELECT current_schema() AS name").fetchone()
        assert row is not None
        values = {"key": lock_key(connection, row["name"])}
        locked = connection.execute(report_sql("nobody_writes"), values).fetchone()
        assert locked is not None
        now = clock.read(connection)
        head = connection.execute(report_sql("head")).fetchone()
    last, last_at = (0, None) if head is None else (head["position"], head["recorded_at"])
    now = now if last_at is None else max(now, last_at)
    match recorded:
        case None:
            return AsOf(effective_at or now, last, last_at, final=False)
        case int():
            if recorded > last:
                raise InvalidArgument("recorded_as_of", f"must not be beyond the head of the log, {last}")
            position, recorded_at = _end_of(connection, recorded)
            fixed = effective_at or recorded_at
            return AsOf(fixed or now, position, recorded_at, final=fixed is not None)
        case _:
            passed = last_at is not None and recorded < last_at
            position, recorded_at = _end_of(connection, position_at(connection, recorded, last))
            final = passed or (recorded < now and locked["nobody"])
            return AsOf(effective_at or recorded, position, recorded_at, final=final)


def position_at(connection: Connection[DictRow], instant: Instant, head: int) -> int:
    """The last position that was recorded at or before an instant, up to a head; 0 for none."""
    found = connection.execute(report_sql("position_at"), {"instant": instant, "head": head}).fetchone()
    assert found is not None
    position: int = found["position"]
    return position


def _end_of(connection: Connection[DictRow], position: int) -> tuple[int, Instant | None]:
    """Where the transaction of this event ends, and when it was recorded."""
    row = connection.execute(report_sql("end_of_transaction"), {"position": position}).fetchone()
    return (0, None) if row is None else (row["transaction_last"], row["recorded_at"])


def before(instant: Instant, *, field: str) -> Instant:
    """The last instant before this one. Refuses: InvalidArgument."""
    try:
        return instant - TICK
    except OverflowError:
        raise InvalidArgument(field, "must be later") from None
