"""The newest messages of the log, rendered once for all subscribers of a process, while there are any."""

import asyncio
import logging
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from operator import attrgetter

import psycopg
from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.store.database import Database, Role
from service.feed.messages import Message
from service.feed.pages import Log

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 0.05
"""How often the log is looked at without being woken: a notification that was lost costs this much."""
RETRY_SECONDS = 1.0
EVENTS_AT_ONCE_MAX = 1000
UNTOLD_MAX = 16
KEPT_BYTES_MAX = 16 * 1024 * 1024


class Recent:
    """The messages of (after, head], all there are. Used in the event loop alone."""

    def __init__(self) -> None:
        self.after = self.head = 0
        self.epoch: str | None = None
        self._messages: list[Message] = []
        self._bytes = 0
        self._news = asyncio.Event()

    def begin(self, epoch: str, head: int) -> None:
        """Nothing is kept up to `head`; where it is the log of before that goes on, all is."""
        if (epoch, head) != (self.epoch, self.head):
            self.epoch, self.after, self.head = epoch, head, head
            self._messages, self._bytes = [], 0
        self.wake()

    def rest(self) -> None:
        """Nobody follows the log any more."""
        self.epoch = None
        self._messages, self._bytes = [], 0

    def forget(self, position: int) -> None:
        """Keep what is beyond a position alone."""
        if self.after < position <= self.head:
            kept = self.of(position, self.head)
            self.after, self._messages, self._bytes = position, list(kept), sum(len(each.body) for each in kept)

    def append(self, messages: Sequence[Message]) -> None:
        self._messages += messages
        self._bytes += sum(len(each.body) for each in messages)
        self.head = messages[-1].position
        if self._bytes > 2 * KEPT_BYTES_MAX:
            self._forget()
        self.wake()

    def wake(self) -> None:
        """Let everybody look who waits."""
        self._news.set()
        self._news = asyncio.Event()

    def of(self, after: int, until: int) -> Sequence[Message]:
        """The messages of (after, until], which must be within what is kept."""
        position = attrgetter("position")
        begin = bisect_right(self._messages, after, key=position)
        return self._messages[begin : bisect_right(self._messages, until, begin, key=position)]

    async def beyond(self, position: int, seconds_max: float) -> None:
        """Wait until there is something beyond a position, or something else has changed, or time is up."""
        if self.head > position:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                await self._news.wait()

    def _forget(self) -> None:
        kept = 0
        for place in range(len(self._messages) - 1, -1, -1):
            kept += len(self._messages[place].body)
            if kept > KEPT_BYTES_MAX:
                self.after, self._bytes = self._messages[place].position, kept - len(self._messages[place].body)
                del self._messages[: place + 1]
                return


class Tail:
    """Follows the log in a thread of its own, and tells `recent` in the event loop."""

    def __init__(self, database: Database, recent: Recent) -> None:
        self._database = database
        self._recent = recent
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._untold = threading.Semaphore(UNTOLD_MAX)
        self._thread = threading.Thread(target=self._run, name=f"{database.schema}-feed", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Nothing more is told from now on."""
        self._stopping.set()

    async def ended(self) -> None:
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._database.connect(Role.READER) as connection:
                    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(f"{self._database.schema}_events")))
                    self._follow(connection)
            except Exception as error:  # whatever it was, subscribers wait until somebody looks again
                log.warning("the feed starts again: %s", error, exc_info=not isinstance(error, psycopg.Error))
                self._stopping.wait(RETRY_SECONDS)

    def _follow(self, connection: Connection[DictRow]) -> None:
        pages = Log()
        known, head = pages.look(connection)
        self._tell(lambda: self._recent.begin(known.present, head))
        while not self._stopping.is_set():
            page = pages.stretch(connection, head, head + EVENTS_AT_ONCE_MAX)
            if page.head < head or page.epoch != known.present:
                return  # it is another log by now: begin anew
            if page.messages:
                head = page.until
                self._tell(partial(self._recent.append, page.messages))
            if head == page.head:
                for _ in connection.notifies(timeout=LOOK_EVERY_SECONDS, stop_after=1):
                    pass

    def _tell(self, what: Callable[[], None]) -> None:
        """Have something done in the event loop; while that is behind, nothing more is read."""
        while not self._untold.acquire(timeout=LOOK_EVERY_SECONDS):
            if self._stopping.is_set():
                return
        with suppress(RuntimeError):  # the loop has ended: nobody is there to be told
            self._loop.call_soon_threadsafe(self._told, what)

    def _told(self, what: Callable[[], None]) -> None:
        self._untold.release()
        if not self._stopping.is_set():
            what()
