"""Tells, from a thread of its own, where the log ends, and that an operator has changed something."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

import psycopg
from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.store.database import Database, Role
from service.feed.pages import Log

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 0.05
"""How often the log is looked at without being woken: a notification that was lost costs this much."""
LOOK_SELDOM_SECONDS = 0.25
"""How long it may go unnoticed that there is somebody to deliver to; while there is not, the log is not looked at."""
RETRY_SECONDS = 1.0


def changes_channel(database: Database) -> str:
    """What is notified when an endpoint was changed."""
    return f"{database.schema}_webhooks"


class Bell:
    """Calls `head` with the position at which the log ends, and `changed`, in the event loop that it was made in.

    While nothing is `wanted`, the head is not told.
    """

    def __init__(
        self, database: Database, wanted: Callable[[], bool], head: Callable[[int], None], changed: Callable[[], None]
    ) -> None:
        self._database = database
        self._wanted = wanted
        self._head = head
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{database.schema}-webhooks-bell", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """It ends by itself, soon; nobody has to wait for it."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._database.connect(Role.READER) as connection:
                    self._listen(connection)
            except Exception as error:  # whatever it was, it looks again, and what is new by then is told
                log.warning("webhooks look at the log again: %s", error, exc_info=not isinstance(error, psycopg.Error))
                self._stopping.wait(RETRY_SECONDS)

    def _listen(self, connection: Connection[DictRow]) -> None:
        changes = changes_channel(self._database)
        for channel in (f"{self._database.schema}_events", changes):
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        pages = Log()
        known = -1
        while not self._stopping.is_set():
            wanted = self._wanted()
            head = pages.look(connection)[1] if wanted else known
            if head != known:
                known = head
                self._tell(partial(self._head, head))
            pause = LOOK_EVERY_SECONDS if wanted else LOOK_SELDOM_SECONDS
            for notified in connection.notifies(timeout=pause, stop_after=1):
                if notified.channel == changes:
                    self._tell(self._changed)

    def _tell(self, what: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended: nobody is there to be told
            self._loop.call_soon_threadsafe(what)
