"""Reads that see their own writes: wait for the head that was found, then answer rows and position of one snapshot."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from psycopg import Connection, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from ledger.domain.instants import Instant
from ledger.domain.refusals import PositionNotReached
from ledger.store.clock import Clock, database_clock
from ledger.store.database import Database, Role, adapt
from ledger.store.sql import statement
from projections.read_model import READ_MODELS, ReadModel

HEAD_WAIT_SECONDS_MAX = 0.1
NAMED_POSITION_WAIT_SECONDS_MAX = 5.0
PAUSE_SECONDS = 0.001
PAUSE_SECONDS_MAX = 0.008


@dataclass(frozen=True)
class Snapshot:
    """One consistent state of some read models, and the instant of the read.

    `position` is how far all of them had come; `positions` tells each one's own, which may be beyond it.
    `now` is max(clock, last recorded_at), as the writer's would be.
    """

    connection: Connection[DictRow]
    position: int
    positions: Mapping[str, int]
    stale: bool
    """The head was not reached in time; each model's rows are right as of its own position."""
    now: Instant

    def one(self, text: sql.Composed, values: Mapping[str, Any]) -> DictRow | None:
        return self.connection.execute(text, values).fetchone()

    def all(self, text: sql.Composed, values: Mapping[str, Any]) -> Sequence[DictRow]:
        return self.connection.execute(text, values).fetchall()


class Reader:
    """Reads from the read models, as the role that may only read."""

    def __init__(self, database: Database, *, clock: Clock | None = None, connections_max: int = 8) -> None:
        self._clock = clock or database_clock()
        self._pool: ConnectionPool[Connection[DictRow]] = ConnectionPool(
            database.conninfo(Role.READER, max_parallel_workers_per_gather="0"),
            connection_class=Connection[DictRow],
            kwargs={"row_factory": dict_row, "autocommit": True},
            min_size=0,
            max_size=connections_max,
            open=False,
            configure=adapt,
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
    def snapshot(self, models: Sequence[ReadModel] = READ_MODELS, *, at_least: int | None = None) -> Iterator[Snapshot]:
        """The present state of `models`.

        Waits up to 100 ms for the head as it was when the read arrived; after that the answer is marked stale. A
        position named by `at_least` is waited for longer. Refuses: PositionNotReached, only for a named position.
        """
        with self._pool.connection() as connection:
            head = connection.execute(statement("projections", "queries/head.sql")).fetchone()
            wanted = max(head["position"] if head is not None else 0, at_least or 0)
            self._wait(connection, models, wanted, at_least)
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                positions = _positions(connection, models)
                reached = min(positions.values())
                if at_least is not None and reached < at_least:
                    raise PositionNotReached(wanted=at_least, reached=reached)
                yield Snapshot(connection, reached, positions, reached < wanted, self._now(connection))

    def _now(self, connection: Connection[DictRow]) -> Instant:
        instant = self._clock.read(connection)
        head = connection.execute(statement("projections", "queries/head.sql")).fetchone()
        return instant if head is None else max(instant, head["recorded_at"])

    def _wait(
        self, connection: Connection[DictRow], models: Sequence[ReadModel], wanted: int, at_least: int | None
    ) -> None:
        started = time.monotonic()
        pause = PAUSE_SECONDS
        while True:
            reached = min(_positions(connection, models).values())
            if reached >= wanted:
                return
            waited = time.monotonic() - started
            named = at_least is not None and reached < at_least
            if waited > (NAMED_POSITION_WAIT_SECONDS_MAX if named else HEAD_WAIT_SECONDS_MAX):
                return
            time.sleep(pause)
            pause = min(pause * 2, PAUSE_SECONDS_MAX)


def _positions(connection: Connection[DictRow], models: Sequence[ReadModel]) -> dict[str, int]:
    """How far each of these has come; a version that has not been started is at 0."""
    positions = {}
    for model in models:
        named = {"name": model.name, "version": model.version}
        row = connection.execute(statement("projections", "queries/position.sql"), named).fetchone()
        positions[model.name] = 0 if row is None else row["position"]
    return positions
