"""Reads that see their own writes: wait for the head that was found, then answer rows and position of one snapshot."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, LiteralString, NamedTuple, Self

from psycopg import Connection, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from ledger.domain.instants import Instant
from ledger.domain.refusals import PositionNotReached
from ledger.store.clock import Clock, database_clock
from ledger.store.database import POOL_SECONDS_MAX, RECONNECT_SECONDS_MAX, Database, Role, adapt
from projections.read_model import READ_MODELS, ReadModel
from projections.runner import TOGETHER_EVENTS_MAX
from projections.sql import query

CONNECTIONS_MAX = 8
HEAD_WAIT_SECONDS_MAX = 0.1
NAMED_POSITION_WAIT_SECONDS_MAX = 5.0
STATEMENT_SECONDS_MAX = 30
"""How long one question may take; then it is ended, so that nothing runs for nobody."""
PAUSE_SECONDS = 0.001
PAUSE_SECONDS_MAX = 0.008


class Progress(NamedTuple):
    """How far some read models have come, beside the head of the log; both 0 before the first event."""

    head: int
    recorded_at: Instant | None
    builds: Mapping[str, ReadModel]
    """The build of each that serves."""
    positions: Mapping[str, int]
    errors: Mapping[str, str]
    """What stopped those that have failed, with the position of the event that they cannot fold."""
    paused: frozenset[str]
    making: frozenset[str]
    """Those whose former version is still ahead of the present one, by more than two that are both followed may be."""

    @property
    def reached(self) -> int:
        return min(self.positions.values())

    def of(self, models: Sequence[ReadModel]) -> "Progress":
        """How far these of them have come."""
        return self._replace(positions={model.name: self.positions[model.name] for model in models})


@dataclass(frozen=True)
class Snapshot:
    """One consistent state of some read models, and the instant of the read.

    `position` is how far all of them had come; `positions` tells each one's own, which may be beyond it.
    `now` is max(clock, last recorded_at), as the writer's would be.
    """

    connection: Connection[DictRow]
    builds: Mapping[str, ReadModel]
    position: int
    positions: Mapping[str, int]
    stale: bool
    """The head was not reached in time; each model's rows are right as of its own position."""
    now: Instant

    def one(self, model: ReadModel, text: LiteralString, values: Mapping[str, Any]) -> DictRow | None:
        return self.connection.execute(self._sql(model, text), values).fetchone()

    def all(self, model: ReadModel, text: LiteralString, values: Mapping[str, Any]) -> Sequence[DictRow]:
        return self.connection.execute(self._sql(model, text), values).fetchall()

    def _sql(self, model: ReadModel, text: LiteralString) -> sql.Composed:
        """A question to a read model: `{table}` is the one that served when this snapshot was taken.

        Others of the snapshot are there by their names.
        """
        tables = {name: build.table for name, build in self.builds.items()}
        return sql.SQL(text).format(table=tables[model.name], **tables)


class Reader:
    """Reads from the read models, as the role that may only read."""

    def __init__(
        self, database: Database, *, clock: Clock | None = None, connections_max: int = CONNECTIONS_MAX
    ) -> None:
        self.clock = clock or database_clock()
        self._pool: ConnectionPool[Connection[DictRow]] = ConnectionPool(
            database.conninfo(
                Role.READER, max_parallel_workers_per_gather="0", statement_timeout=f"{STATEMENT_SECONDS_MAX}s"
            ),
            connection_class=Connection[DictRow],
            kwargs={"row_factory": dict_row, "autocommit": True},
            min_size=0,
            max_size=connections_max,
            open=False,
            timeout=POOL_SECONDS_MAX,
            reconnect_timeout=RECONNECT_SECONDS_MAX,
            configure=adapt,
            check=ConnectionPool.check_connection,
            name=f"{database.schema}-reader",
        )

    def __enter__(self) -> Self:
        self._pool.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[Connection[DictRow]]:
        """A connection of the role that may only read, for what is not in a read model."""
        with self._pool.connection() as connection:
            yield connection

    @contextmanager
    def snapshot(self, models: Sequence[ReadModel] = READ_MODELS, *, at_least: int | None = None) -> Iterator[Snapshot]:
        """The present state of `models`, for a thread that waits.

        Waits up to 100 ms for the head as it was when the read arrived; after that the answer is marked stale. A
        position named by `at_least` is waited for longer. Refuses: PositionNotReached, only for a named position.
        """
        wait = Wait(self.progress(models), at_least)
        while wait.goes_on:
            time.sleep(wait.pause())
            wait.look(self.progress(models))
        with self.at_once(models, wait.wanted, at_least=at_least) as snapshot:
            yield snapshot

    @contextmanager
    def at_once(self, models: Sequence[ReadModel], wanted: int, *, at_least: int | None = None) -> Iterator[Snapshot]:
        """The present state of `models` without waiting; stale if it is not at `wanted`.

        Refuses: PositionNotReached, only for a position named by `at_least`.
        """
        with self._pool.connection() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            progress = progress_of(connection, models)
            if at_least is not None and progress.reached < at_least:
                raise PositionNotReached(wanted=at_least, reached=progress.reached)
            now = self.clock.read(connection)
            if progress.recorded_at is not None:
                now = max(now, progress.recorded_at)
            stale = progress.reached < wanted
            yield Snapshot(connection, progress.builds, progress.reached, progress.positions, stale, now)

    def progress(self, models: Sequence[ReadModel] = READ_MODELS) -> Progress:
        with self._pool.connection() as connection:
            return progress_of(connection, models)


@contextmanager
def in_order_of_an_index(connection: Connection[DictRow]) -> Iterator[None]:
    """Within, the newest few of a long list are read as its index holds them.

    Where by the statistics such lists are short, the planner would fetch all of one and sort it.
    """
    with connection.transaction():
        connection.execute("SET LOCAL enable_bitmapscan = off")
        yield
        connection.execute("SET LOCAL enable_bitmapscan = on")


class Wait:
    """A read that waits for read models: how long it goes on, and how often it looks.

    What counts is the time it chose to wait: a machine that stands still meanwhile, followers and all, uses none of it.
    """

    def __init__(self, found: Progress, at_least: int | None) -> None:
        self.wanted = max(found.head, at_least or 0)
        self._at_least = at_least or 0
        self._reached = found.reached
        self._waited = 0.0
        self._pause = PAUSE_SECONDS

    @property
    def goes_on(self) -> bool:
        """Whether the position is not reached yet and may still be waited for."""
        named = self._reached < self._at_least
        seconds_max = NAMED_POSITION_WAIT_SECONDS_MAX if named else HEAD_WAIT_SECONDS_MAX
        return self._reached < self.wanted and self._waited < seconds_max

    def pause(self) -> float:
        """Seconds until the next look."""
        pause = self._pause
        self._waited += pause
        self._pause = min(pause * 2, PAUSE_SECONDS_MAX)
        return pause

    def look(self, found: Progress) -> None:
        self._reached = found.reached


def progress_of(connection: Connection[DictRow], models: Sequence[ReadModel]) -> Progress:
    """How far these have come, and what stopped those that have failed."""
    names, versions = [model.name for model in models], [model.version for model in models]
    named = {"names": names, "versions": versions, "together": TOGETHER_EVENTS_MAX}
    rows = connection.execute(query("progress"), named).fetchall()
    by_name = {model.name: model for model in models}
    builds = {row["name"]: by_name[row["name"]].built_as(row["build"]) for row in rows}
    positions = {row["name"]: row["position"] for row in rows}
    errors = {row["name"]: _failure(row) for row in rows if row["error"] is not None}
    paused = frozenset(row["name"] for row in rows if row["paused"])
    making = frozenset(row["name"] for row in rows if not row["live"])
    return Progress(rows[0]["head"] or 0, rows[0]["recorded_at"], builds, positions, errors, paused, making)


def _failure(row: DictRow) -> str:
    at = "" if row["error_position"] is None else f"cannot fold the event at position {row['error_position']}: "
    return f"{at}{row['error']}"
