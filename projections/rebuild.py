"""A rebuild: a read model folded again into a table beside the one that serves, compared with it, and put in its place.

Writers and readers go on. Rows and position of the shadow commit together, so a rebuild that was ended in any way is
continued where it was. Nothing but read models is written: no reactor runs.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import NamedTuple

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.store.database import Database, Role
from projections import registry
from projections.comparison import Comparison, compare
from projections.poison import stop_before_poison
from projections.read_model import READ_MODELS, ReadModel, RecordedModel
from projections.refusals import (
    SWAP_SECONDS_MAX,
    BeingRebuilt,
    CannotBeFolded,
    NothingKept,
    SwapNotReached,
    TableMissing,
)
from projections.runner import TOGETHER_EVENTS_MAX, advance
from projections.sql import query
from projections.windows import of_the_session, wait_for_turn

WINDOW_EVENTS = 250_000
"""Smaller ones write the same pages of an index more often; larger ones gain nothing (measured), lose more if ended."""
WINDOW_EVENTS_MIN, WINDOWS_MIN = 20_000, 20
"""A short log is folded in more windows, so that it is seen how it gets on."""
SESSION = {
    "synchronous_commit": "off",
    "idle_in_transaction_session_timeout": "2s",
    "work_mem": "64MB",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
}
"""As for a runner, so that a process that stops in the middle of a swap holds nobody up for longer; and what a large
window sorts fits into memory. The writers' cores are left to them: no parallel workers."""
SWAP_LOCK_WAIT = "100ms"
COMPARE_SECONDS_MAX = 5.0
"""How long a shadow that has come farther waits for the one that serves, to compare them."""
PAUSE_SECONDS = 0.05
SAMPLE_ROWS = 5


class Phase(StrEnum):
    FOLDING = "folding"
    PAUSED = "paused"
    COMPARING = "comparing"
    SWAPPING = "swapping"


class Step(NamedTuple):
    """How far a rebuild has come. `events_per_second` is that of the whole rebuild up to now, if it has folded any."""

    name: str
    phase: Phase
    position: int
    head: int
    events_per_second: float | None


Told = Callable[[Step], None]


class Rebuilt(NamedTuple):
    """What a rebuild or a rollback did: which build serves now, which it has replaced, and how the two differed.

    There is no comparison where the replaced one could not be read or did not come as far as the shadow, and none of a
    rollback.
    """

    name: str
    build: str
    replaced: str | None
    position: int
    seconds: float
    comparison: Comparison | None = None


def rebuild(database: Database, model: ReadModel, told: Told) -> Rebuilt:
    """Fold a read model again, compare, and swap. Continues a rebuild of this version that was not ended.

    Refuses: ProjectionBeingRebuilt, ProjectionFailed, SwapNotReached.
    """
    begun = time.monotonic()
    with _session(database, model) as connection:
        shadow = registry.shadow_of(connection, model) or registry.begin_shadow(connection, database, model)
        work = _Work(connection, shadow, told, against=_farthest(connection, model))
        work.fold_to_live()
        comparison = work.compare(parting=False)
        return work.swap()._replace(seconds=time.monotonic() - begun, comparison=comparison)


def rehearse(database: Database, model: ReadModel, told: Told) -> Comparison:
    """What a rebuild would change of what serves now, of whatever version that is; then all is as it was.

    Refuses: ProjectionBeingRebuilt, ProjectionFailed.
    """
    with _session(database, model, preparing=()) as connection:
        against = _farthest(connection, model)
        shadow = registry.begin_shadow(connection, database, model)
        try:
            work = _Work(connection, shadow, told, against=against, heeding_pauses=False)
            work.fold_to_live()
            comparison = work.compare(parting=True)
            work.fold_to_head()
            work.fold_the_rest()
        finally:
            if not connection.closed:
                registry.drop(connection, shadow.name, shadow.build, registry.Stage.SHADOW)
        if comparison is None:
            raise CannotBeFolded(model.name, None, "what serves now cannot be read")
        return comparison


def roll_back(database: Database, model: ReadModel, told: Told) -> Rebuilt:
    """Let the build serve again that the present one has replaced, once it has caught up.

    Refuses: NothingKept, ProjectionTableMissing, ProjectionBeingRebuilt, ProjectionFailed, SwapNotReached.
    """
    begun = time.monotonic()
    with _session(database, model) as connection:
        kept = registry.kept_of(connection, model)
        if kept is None:
            raise NothingKept(model.name)
        work = _Work(connection, kept, told, against=_serving(connection, model))
        work.fold_to_head()
        return work.swap()._replace(seconds=time.monotonic() - begun)


@contextmanager
def rebuild_turn(connection: Connection[DictRow], name: str) -> Iterator[None]:
    """Only one process at a time makes, swaps or drops builds of a read model. Refuses: ProjectionBeingRebuilt."""
    row = connection.execute(query("rebuild_turn"), {"name": name}).fetchone()
    if row is None or not row["ours"]:
        raise BeingRebuilt(name)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute(query("rebuild_turn_ends"), {"name": name})


@contextmanager
def _session(
    database: Database, model: ReadModel, *, preparing: Sequence[ReadModel] = READ_MODELS
) -> Iterator[Connection[DictRow]]:
    with database.connect(Role.PROJECTOR, **SESSION) as connection:
        registry.prepare(connection, database, preparing)
        with rebuild_turn(connection, model.name):
            yield connection


class _Work:
    """Brings one build to where it can serve."""

    def __init__(
        self,
        connection: Connection[DictRow],
        shadow: ReadModel,
        told: Told,
        *,
        against: ReadModel,
        heeding_pauses: bool = True,
    ) -> None:
        self._connection = connection
        self._shadow = shadow
        self._told = told
        self._against = against
        self._heeding_pauses = heeding_pauses
        self._folded = 0
        self._seconds = 0.0

    def fold_to_live(self) -> None:
        """Fold up to about where the build stands that it will be compared with, never beyond it."""
        while self._lag("live") > TOGETHER_EVENTS_MAX:
            self._window("live")

    def fold_to_head(self) -> None:
        while self._lag("head") > TOGETHER_EVENTS_MAX:
            self._window("head")

    def fold_the_rest(self) -> None:
        """The last stretch, so that an event in it that cannot be folded is met."""
        self._window("head")

    def compare(self, *, parting: bool) -> Comparison | None:
        """Fold to exactly where the other build stands in one snapshot, and compare there; it goes on meanwhile.

        With `parting`, search the log for where the two part, which may take as long as to fold it twice. None if the
        other one cannot be read, or stays behind.
        """
        ends_at = time.monotonic() + COMPARE_SECONDS_MAX
        while self._lag("live") < 0:
            if time.monotonic() >= ends_at:
                return None
            time.sleep(PAUSE_SECONDS)
        self._wait_while_paused()
        self._tell(Phase.COMPARING)
        try:
            with self._naming_poison(), self._connection.transaction():
                self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                at = self._stand()
                self._fold(at["shadow"], at["live"])
                return compare(
                    self._connection, self._against, self._shadow, at["live"], sample_rows=SAMPLE_ROWS, parting=parting
                )
        except psycopg.errors.UndefinedTable:
            return None

    def swap(self) -> Rebuilt:
        """Fold the tail and take the other's place, in one short transaction under the runner's turn."""
        ends_at = time.monotonic() + SWAP_SECONDS_MAX
        while time.monotonic() < ends_at:
            self.fold_to_head()
            if self._wait_while_paused():
                ends_at = time.monotonic() + SWAP_SECONDS_MAX
            self._tell(Phase.SWAPPING)
            try:
                swapped = self._swap_at_once()
            except psycopg.errors.LockNotAvailable:
                swapped = None
            if swapped is not None:
                return swapped
            time.sleep(PAUSE_SECONDS)
        raise SwapNotReached(self._shadow.name)

    def _swap_at_once(self) -> Rebuilt | None:
        connection, shadow = self._connection, self._shadow
        with self._naming_poison(), connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{SWAP_LOCK_WAIT}'")
            live = self._against = _serving(connection, shadow)
            wait_for_turn(connection, live)
            wait_for_turn(connection, shadow)
            if not registry.has_table(connection, shadow):
                raise TableMissing(shadow.name)
            at = self._stand()
            if (
                at["live"] is None
                or registry.paused(connection, shadow.name)
                or at["head"] - at["shadow"] > TOGETHER_EVENTS_MAX
            ):
                return None
            self._fold(at["shadow"], at["head"])
            named = {"name": shadow.name, "live": live.build, "shadow": shadow.build}
            stood_down = connection.execute(query("stand_down"), named)
            taken_over = connection.execute(query("take_over"), {**named, "position": at["head"]})
            assert (stood_down.rowcount, taken_over.rowcount) == (1, 1), "whoever swaps has both turns"
            return Rebuilt(shadow.name, shadow.build, live.build, at["head"], 0.0)
        return None

    def _window(self, goal: str) -> None:
        self._wait_while_paused()
        at = self._stand()
        begun = time.monotonic()
        with self._naming_poison():
            window_events = min(WINDOW_EVENTS, max(WINDOW_EVENTS_MIN, at["head"] // WINDOWS_MIN))
            advance(self._connection, self._shadow, window_events=window_events, position_max=at[goal])
        self._folded += self._stand()["shadow"] - at["shadow"]
        self._seconds += time.monotonic() - begun
        self._tell(Phase.FOLDING)

    def _fold(self, after: int, until: int) -> None:
        """Fold a stretch in a transaction that somebody else ends."""
        if until > after:
            skips = registry.skips_of(self._connection, self._shadow.name, after=after, until=until)
            self._shadow.fold(self._connection, after, until, skips)
            values = {"name": self._shadow.name, "version": self._shadow.build, "after": after, "until": until}
            self._connection.execute(query("advance"), {**values, "events_per_second": self._rate()})

    @contextmanager
    def _naming_poison(self) -> Iterator[None]:
        """Refuses: ProjectionFailed, for an event that cannot be folded."""
        try:
            yield
        except psycopg.errors.UndefinedTable:
            raise
        except psycopg.Error as error:
            if of_the_session(error):
                raise
            poison = stop_before_poison(self._connection, self._shadow, WINDOW_EVENTS, error)
            if poison is None:
                raise
            raise CannotBeFolded(self._shadow.name, poison.position, poison.error) from None

    def _lag(self, goal: str) -> int:
        at = self._stand()
        return int(at[goal] - at["shadow"])

    def _stand(self) -> DictRow:
        named = {"name": self._shadow.name, "live": self._against.build, "shadow": self._shadow.build}
        row = self._connection.execute(query("stand"), named).fetchone()
        assert row is not None
        return row

    def _wait_while_paused(self) -> bool:
        """Whether it had to."""
        waited = False
        while self._heeding_pauses and registry.paused(self._connection, self._shadow.name):
            waited = True
            self._tell(Phase.PAUSED)
            time.sleep(PAUSE_SECONDS)
        return waited

    def _rate(self) -> float | None:
        return self._folded / self._seconds if self._seconds else None

    def _tell(self, phase: Phase) -> None:
        at = self._stand()
        self._told(Step(self._shadow.name, phase, at["shadow"], at["head"], self._rate()))


def _serving(connection: Connection[DictRow], model: ReadModel) -> ReadModel:
    return registry.serving(connection, [model])[0].model


def _farthest(connection: Connection[DictRow], model: ReadModel) -> ReadModel:
    """What serves, of whatever version is farthest: what a deployment of the present version would replace."""
    named = {"name": model.name, "version": model.version, "together": TOGETHER_EVENTS_MAX}
    row = connection.execute(query("recorded"), named).fetchone()
    if row is None:
        raise TableMissing(model.name)
    texts = (row["schema_sql"], row["fold_sql"])
    recorded = RecordedModel(model.name, key=model.key, texts=texts)
    return recorded.built_as(row["version"])
