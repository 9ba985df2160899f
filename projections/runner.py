"""The runner: follows the log and folds it, window by window, into every read model.

Rows and position commit together, by compare and set, so a runner that was overtaken undoes its own work. A model that
cannot fold an event stops before it, alone, and says so; the others go on.
"""

import logging
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import psycopg
from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.store.database import Database, Role
from projections.poison import Poison, stop_before_poison
from projections.read_model import READ_MODELS, ReadModel
from projections.registry import prepare, serving, skips_of
from projections.sql import query
from projections.windows import log_head, of_the_session, take_turn, window_end

log = logging.getLogger(__name__)

WINDOW_EVENTS_MAX = 20_000
TOGETHER_EVENTS_MAX = 500
"""So few events are folded into all read models in one transaction: that takes a third of the time of one for each, and
readers wait for the last of them."""
LOOK_EVERY_SECONDS = 0.05
"""How often the log is looked at without being woken: a notification that was lost costs this much."""
REST_SECONDS_MAX = 1.0
"""How long a runner whose models all stand at the head looks at that alone, before it looks at all of them again."""
SESSION = {"synchronous_commit": "off", "idle_in_transaction_session_timeout": "2s", "jit": "off"}
"""Rows and position commit together and can be folded again: they need not wait for the disk. A process that stops in
the middle of a window holds its turn no longer than this; then another one folds."""
RETRY_SECONDS = 1.0
"""How long a model that failed, or a database that is away, is left alone."""
REGISTRY_SECONDS_MAX = 1.0
"""How long a runner goes on without looking which builds serve, are paused or have failed; that one of them may not be
folded any more it notices at once."""


GATHER_SECONDS_MAX = 0.005
"""Events are let gather for as long as their last fold took, up to this: many cost little more than one."""


class Runner:
    """Follows the log in a thread of its own. Any number of runners may follow one ledger: one folds, others wait."""

    def __init__(self, database: Database, models: Sequence[ReadModel] = READ_MODELS) -> None:
        self._database = database
        self._models = models
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{database.schema}-runner", daemon=True)
        self._followed: list[ReadModel] = []
        """The builds that serve and are folded together while all is well."""
        self._failing: list[ReadModel] = []
        self._told: dict[ReadModel, Poison] = {}
        self._refused: dict[ReadModel, str] = {}
        """What was said to the transaction at which a build stands, so that it is not searched again and again."""
        self._look_at = 0.0
        self._retry_at = 0.0

    def start(self) -> Self:
        """Make the tables that are missing, so that reads find them, then follow."""
        with self._database.connect(Role.PROJECTOR) as connection:
            prepare(connection, self._database, self._models)
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._database.connect(Role.PROJECTOR, **SESSION) as connection:
                    connection.execute(query("follow"))
                    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(f"{self._database.schema}_events")))
                    self._follow(connection)
            except Exception as error:  # whatever it was, read models are behind until somebody follows again
                log.warning("the runner starts again: %s", error, exc_info=not isinstance(error, psycopg.Error))
                self._stopping.wait(RETRY_SECONDS)

    def _follow(self, connection: Connection[DictRow]) -> None:
        self._look_at = self._retry_at = 0.0
        while not self._stopping.is_set():
            if self._look_at <= time.monotonic():
                self._look(connection)
            begun = time.monotonic()
            advanced = self._advance_together(connection)
            recovered = self._retry(connection)
            if advanced is None:
                self._look(connection)
                if not self._advance_each(connection):
                    self._wait(connection)
            elif not advanced and not recovered:
                self._rest(connection)
            else:
                self._stopping.wait(min(time.monotonic() - begun, GATHER_SECONDS_MAX))

    def _look(self, connection: Connection[DictRow]) -> None:
        """Which builds are to be followed; a read model that the registry has lost is begun again."""
        known = serving(connection, self._models)
        if len(known) < len(self._models):
            prepare(connection, self._database, self._models)
            known = serving(connection, self._models)
        self._followed = [each.model for each in known if not each.paused and not each.failed]
        self._failing = [each.model for each in known if not each.paused and each.failed]
        self._told = {build: self._told[build] for build in self._failing if build in self._told}
        self._refused = {build: self._refused[build] for build in self._failing if build in self._refused}
        self._look_at = time.monotonic() + REGISTRY_SECONDS_MAX

    def _advance_each(self, connection: Connection[DictRow]) -> bool:
        """Fold a window into each by itself, up to the head of now, so that they come to stand together."""
        head = log_head(connection)
        return any([self._advance(connection, build, position_max=head) for build in self._followed])  # noqa: C419

    def _retry(self, connection: Connection[DictRow]) -> bool:
        """Try now and then whether what failed can be folded by now; whether any could."""
        if not self._failing or self._retry_at > time.monotonic():
            return False
        self._retry_at = time.monotonic() + RETRY_SECONDS
        return any([self._advance(connection, build, window_events=1) for build in self._failing])  # noqa: C419

    def _rest(self, connection: Connection[DictRow]) -> None:
        """All that is followed stands at the head: wait until the log goes on, for a while, with small looks at it."""
        row = connection.execute(query("reached"), _named(self._followed)).fetchone()
        reached = {"position": None if row is None else row["position"]}
        ends_at = time.monotonic() + REST_SECONDS_MAX
        while not self._stopping.is_set() and time.monotonic() < ends_at:
            if self._wait(connection):
                return
            row = connection.execute(query("anything_new"), reached).fetchone()
            if row is not None and row["anything"]:
                return

    def _wait(self, connection: Connection[DictRow]) -> bool:
        """Wait for the next look; whether it was a notification that ended it."""
        return any(True for _ in connection.notifies(timeout=LOOK_EVERY_SECONDS, stop_after=1))

    def _advance_together(self, connection: Connection[DictRow]) -> bool | None:
        """Fold a small window into all; where that fails, each by itself will show whose failure it was."""
        try:
            return advance_together(connection, self._followed)
        except psycopg.Error as error:
            if of_the_session(error):
                raise
            return None

    def _advance(
        self,
        connection: Connection[DictRow],
        build: ReadModel,
        *,
        window_events: int = WINDOW_EVENTS_MAX,
        position_max: int | None = None,
    ) -> bool:
        """Fold one window; whether there may be more. What cannot be folded is found, told, and left alone."""
        try:
            return advance(connection, build, window_events=window_events, position_max=position_max)
        except psycopg.Error as error:
            if of_the_session(error):
                raise
            if self._refused.get(build) != str(error):  # else it is known what it fails at
                self._tell(build, stop_before_poison(connection, build, window_events, error))
            if window_events == 1:
                self._refused[build] = str(error)
            self._look_at = 0.0
            return False

    def _tell(self, build: ReadModel, poison: Poison | None) -> None:
        if poison is None or poison == self._told.get(build):
            return
        self._told[build] = poison
        where = {"projection": build.name, "version": build.build, "position": poison.position}
        at = "" if poison.position is None else f" at position {poison.position}"
        log.error("projection %s failed%s: %s", build.name, at, poison.error, extra=where)


def advance_together(connection: Connection[DictRow], builds: Sequence[ReadModel]) -> bool | None:
    """Fold a small window into all of these builds in one transaction; False if there is nothing to fold.

    None where it has to be done one by one: they do not stand at one position, another runner is folding one of them,
    one of them is not to be followed any more or leaves an event out, or there is much to fold.
    """
    named = _named(builds)
    begun = time.monotonic()
    with connection.transaction() as transaction:
        at = connection.execute(query("together"), named).fetchone()
        assert at is not None
        after, until = at["first"], at["head"]
        if at["known"] == len(builds) == 0:
            return False
        if at["known"] < len(builds) or not at["ours"] or not at["followed"] or at["skips"]:
            return None
        if at["last"] != after or until > after + TOGETHER_EVENTS_MAX:
            return None
        if until <= after:
            return False
        with connection.pipeline():
            for build in builds:
                build.fold(connection, after, until)
        rate = {"events_per_second": (until - after) / (time.monotonic() - begun)}
        moved = connection.execute(query("advance_together"), {**named, **rate, "after": after, "until": until})
        if moved.rowcount != len(builds):
            raise psycopg.Rollback(transaction)
        return True
    return None


def advance(
    connection: Connection[DictRow],
    build: ReadModel,
    *,
    window_events: int = WINDOW_EVENTS_MAX,
    position_max: int | None = None,
) -> bool:
    """Fold the next window of about `window_events` events, or fewer at the head; False if there was none to fold.

    It never goes beyond `position_max`, which must be where a transaction ends. False too while another runner is
    folding this build.
    """
    named = {"name": build.name, "version": build.build}
    begun = time.monotonic()
    with connection.transaction() as transaction:
        after = take_turn(connection, build)
        if after is None:
            return False
        until = window_end(connection, after, window_events)
        if position_max is not None:
            until = min(until, position_max)
        if until <= after:
            return False
        build.fold(connection, after, until, skips_of(connection, build.name, after=after, until=until))
        rate = {"events_per_second": (until - after) / (time.monotonic() - begun)}
        moved = connection.execute(query("advance"), {**named, **rate, "after": after, "until": until})
        if moved.rowcount != 1:
            raise psycopg.Rollback(transaction)
        return True
    return False


def _named(builds: Sequence[ReadModel]) -> dict[str, list[str]]:
    return {
        "names": [build.name for build in builds],
        "versions": [build.build for build in builds],
        "tables": [build.table.as_string() for build in builds],
    }
