"""The runner: follows the log and folds it, window by window, into every read model.

Rows and position commit together, by compare and set, so a runner that was overtaken undoes its own work. A model that
fails stops alone and says so; the others go on.
"""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import psycopg
from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.store.database import Database, Role
from ledger.store.sql import statement
from projections.read_model import READ_MODELS, ReadModel

log = logging.getLogger(__name__)

WINDOW_EVENTS_MAX = 20_000
TOGETHER_EVENTS_MAX = 500
"""So few events are folded into all read models in one transaction: that takes a third of the time of one for each, and
readers wait for the last of them."""
LOOK_EVERY_SECONDS = 0.05
"""How often the log is looked at without being woken: a notification that was lost costs this much."""
REST_SECONDS_MAX = 1.0
"""How long a runner whose models all stand at the head looks at that alone, before it looks at all of them again."""
SESSION = {"synchronous_commit": "off", "idle_in_transaction_session_timeout": "2s"}
"""Rows and position commit together and can be folded again: they need not wait for the disk. A process that stops in
the middle of a window holds its turn no longer than this; then another one folds."""
RETRY_SECONDS = 1.0
"""How long a model that failed, or a database that is away, is left alone."""


class Runner:
    """Follows the log in a thread of its own. Any number of runners may follow one ledger: one folds, others wait."""

    def __init__(self, database: Database, models: Sequence[ReadModel] = READ_MODELS) -> None:
        self._database = database
        self._models = models
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{database.schema}-runner", daemon=True)
        self.errors: dict[str, str] = {}
        """The last error of each model that is failing."""
        self._retry_at: dict[str, float] = {}

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
                    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(f"{self._database.schema}_events")))
                    self._follow(connection)
            except Exception as error:  # whatever it was, read models are behind until somebody follows again
                log.warning("the runner starts again: %s", error, exc_info=not isinstance(error, psycopg.Error))
                self._stopping.wait(RETRY_SECONDS)

    def _follow(self, connection: Connection[DictRow]) -> None:
        while not self._stopping.is_set():
            advanced = self._advance_together(connection)
            if advanced is False:
                self._rest(connection)
            elif advanced is None and not any([self._advance(connection, model) for model in self._models]):  # noqa: C419
                self._wait(connection)

    def _rest(self, connection: Connection[DictRow]) -> None:
        """All models stand at the head: wait until the log goes on, at most for a while, with small looks at it."""
        first = self._models[0]
        named = {"name": first.name, "version": first.version}
        ends_at = time.monotonic() + REST_SECONDS_MAX
        while not self._stopping.is_set() and time.monotonic() < ends_at:
            if self._wait(connection):
                return
            row = connection.execute(statement("projections", "queries/anything_new.sql"), named).fetchone()
            if row is not None and row["anything"]:
                return

    def _wait(self, connection: Connection[DictRow]) -> bool:
        """Wait for the next look; whether it was a notification that ended it."""
        return any(True for _ in connection.notifies(timeout=LOOK_EVERY_SECONDS, stop_after=1))

    def _advance_together(self, connection: Connection[DictRow]) -> bool | None:
        """Fold a small window into all; where that fails, each by itself will show whose failure it was."""
        try:
            return advance_together(connection, self._models)
        except psycopg.OperationalError:
            raise
        except psycopg.Error:
            return None

    def _advance(self, connection: Connection[DictRow], model: ReadModel) -> bool:
        """Fold one window; whether there may be more. A model that failed is left alone for a while."""
        if self._retry_at.get(model.name, 0.0) > time.monotonic():
            return False
        try:
            advanced = advance(connection, model)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            log.exception("read model %s failed", model.name)
            self.errors[model.name] = str(error)
            self._retry_at[model.name] = time.monotonic() + RETRY_SECONDS
            named = {"name": model.name, "version": model.version, "error": str(error)}
            with suppress(psycopg.Error):
                connection.execute(statement("projections", "queries/set_error.sql"), named)
            return False
        self.errors.pop(model.name, None)
        return advanced


def prepare(connection: Connection[DictRow], database: Database, models: Sequence[ReadModel] = READ_MODELS) -> None:
    """Make the registry and the tables of these models, if they are not there; several processes may come at once."""
    with connection.transaction():
        lock = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))"
        connection.execute(lock, [f"projections of {database.schema}"])
        connection.execute(statement("projections", "registry.sql"))
        for model in models:
            model.create(connection)


def advance_together(connection: Connection[DictRow], models: Sequence[ReadModel]) -> bool | None:
    """Fold a small window into all of these models in one transaction; False if there is nothing to fold.

    None where it has to be done one by one: they do not stand at one position, another runner is folding one of them,
    or there is much to fold.
    """
    named = {
        "names": [model.name for model in models],
        "versions": [model.version for model in models],
        "tables": [model.table.as_string(connection) for model in models],
    }
    with connection.transaction() as transaction:
        at = connection.execute(statement("projections", "queries/together.sql"), named).fetchone()
        assert at is not None
        after, until = at["first"], at["head"]
        if not at["ours"] or at["last"] != after or until > after + TOGETHER_EVENTS_MAX:
            return None
        if until <= after:
            return False
        with connection.pipeline():
            for model in models:
                model.fold(connection, after, until)
            moved = connection.execute(
                statement("projections", "queries/advance_together.sql"), {**named, "after": after, "until": until}
            )
        if moved.rowcount != len(models):
            raise psycopg.Rollback(transaction)
        return True
    return None


def advance(connection: Connection[DictRow], model: ReadModel, *, window_events: int = WINDOW_EVENTS_MAX) -> bool:
    """Fold the next window of about `window_events` events, or fewer at the head; False if there was none to fold.

    False too while another runner is folding this model.
    """
    named = {"name": model.name, "version": model.version}
    with connection.transaction() as transaction:
        turn = "SELECT pg_try_advisory_xact_lock(hashtextextended(current_schema() || %s, 2)) AS ours"
        row = connection.execute(turn, [model.table.as_string(connection)]).fetchone()
        if row is None or not row["ours"]:
            return False
        at = connection.execute(statement("projections", "queries/position.sql"), named).fetchone()
        assert at is not None, f"{model.name} has not been prepared"
        after = at["position"]
        window = {"after": after, "limit": window_events}
        end = connection.execute(statement("projections", "queries/window_end.sql"), window).fetchone()
        if end is None or end["transaction_last"] <= after:
            return False
        until = end["transaction_last"]
        model.fold(connection, after, until)
        moved = connection.execute(
            statement("projections", "queries/advance.sql"), {**named, "after": after, "until": until}
        )
        if moved.rowcount != 1:
            raise psycopg.Rollback(transaction)
        return True
