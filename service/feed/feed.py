"""What the subscriptions of one process share: the newest messages, a few threads, and how many may wait at once."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.refusals import PositionNotReached
from ledger.store.database import Database
from ledger.store.epochs import Identity
from projections.reading import NAMED_POSITION_WAIT_SECONDS_MAX, Reader
from service.feed.cursor import Cursor
from service.feed.messages import EVERYTHING, Filter
from service.feed.pages import Log, Page
from service.feed.refusals import CursorBeyondHead, TooManySubscribers
from service.feed.tail import Recent, Tail
from service.reads import Threads

Answer = TypeVar("Answer")
SUBSCRIBERS_MAX = 500
"""How many streams and waiting requests a process has at once; more are refused."""
CONNECTIONS_MAX = 2
"""How many of the reader's connections the feed takes at once, however many subscribers are behind."""
STRETCH_EVENTS = 512
"""Streams that are behind read stretches that end at multiples of this, so that they read the same ones."""
STRETCHES_KEPT = 32
STRETCH_SECONDS = 5.0
"""How long a stretch is kept for the others that are behind."""
RECENT_SECONDS = 30.0
"""The newest messages are kept so long, and not much longer: a text that is erased is told no more after that."""
PIECE_BYTES = 64 * 1024
LOOK_EVERY_SECONDS = 1.0
LINGER_SECONDS = 5.0
"""How long the log is still followed when the last subscriber has gone."""


class Feed:
    """The feed of one process. It follows the log while there are subscribers."""

    def __init__(self, database: Database, reader: Reader, threads: Threads) -> None:
        self._database = database
        self._reader = reader
        self._threads = threads
        self._log = Log()
        self._seats = asyncio.Semaphore(CONNECTIONS_MAX)
        self._tail: Tail | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._stretches: OrderedDict[tuple[str | None, int], asyncio.Task[Page]] = OrderedDict()
        self._pieces: OrderedDict[tuple[str, int, int], Sequence[bytes]] = OrderedDict()
        self.recent = Recent()
        self.subscribers = 0
        self.ending = False

    @asynccontextmanager
    async def subscribed(self) -> AsyncIterator[None]:
        """While somebody streams or waits. Refuses: TooManySubscribers."""
        if self.subscribers >= SUBSCRIBERS_MAX:
            raise TooManySubscribers(SUBSCRIBERS_MAX)
        self.subscribers += 1
        if self._resting is not None:
            self._resting.cancel()
        if self._tail is None:
            self._tail = Tail(self._database, self.recent)
            self._forget_old(self._tail, self.recent.head)
        try:
            yield
        finally:
            self.subscribers -= 1
            if self.subscribers == 0:
                self._resting = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._rest)

    def end(self) -> None:
        """Whoever streams or waits is answered now."""
        self.ending = True
        self.recent.wake()

    async def stop(self) -> None:
        if self._tail is not None:
            self._tail.end()
            await self._tail.ended()

    async def look(self, at_least: int | None = None) -> tuple[Identity, int]:
        """Which log it is, and its head, as of now. Refuses: PositionNotReached, for a named position."""
        deadline = time.monotonic() + NAMED_POSITION_WAIT_SECONDS_MAX
        log, head = await self._ask(self._log.look)
        while at_least is not None and head < at_least:
            if time.monotonic() > deadline or self.ending:
                raise PositionNotReached(wanted=at_least, reached=head)
            async with self.subscribed():
                await self.recent.beyond(head, deadline - time.monotonic())
            log, head = await self._ask(self._log.look)
        return log, head

    async def page(self, after: int, wanted: Filter, limit: int) -> Page:
        """The next page as it is on disk by now. Refuses: CursorBeyondHead."""
        page = await self._ask(lambda connection: self._log.page(connection, after, wanted, limit))
        return _within(page, after)

    async def stretch(self, after: int, wanted: Filter) -> Page:
        """What comes next for a stream: of the newest messages, or of the log if it is behind. Refuses:
        CursorBeyondHead."""
        recent = self.recent
        if recent.epoch is not None and recent.after <= after <= recent.head:
            until = min(recent.head, after + STRETCH_EVENTS)
            messages = recent.of(after, until)
            if wanted != EVERYTHING:
                messages = [each for each in messages if wanted.wants(each)]
            return Page(messages, until, recent.head, recent.epoch)
        if wanted != EVERYTHING:
            return await self.page(after, wanted, STRETCH_EVENTS)
        return _within(await self._shared_stretch(after), after)

    async def news(self, after: int, wanted: Filter, seconds_max: float, gone: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something beyond a position may be wanted, something else has changed, nobody waits any more, or
        time is up."""
        recent, epoch, loop = self.recent, self.recent.epoch, asyncio.get_running_loop()
        deadline = loop.time() + seconds_max
        while (left := deadline - loop.time()) > 0 and not self.ending and not await gone():
            await recent.beyond(after, min(left, LOOK_EVERY_SECONDS))
            if recent.epoch != epoch or not recent.after <= after <= recent.head:
                return
            if any(wanted.wants(each) for each in recent.of(after, recent.head)):
                return
            after = recent.head

    def pieces(self, after: int, page: Page, wanted: Filter) -> Sequence[bytes]:
        """The messages of a page as server-sent events, in pieces that are sent one by one; the same for all who get
        everything."""
        if wanted != EVERYTHING:
            return _pieces_of(page)
        key = (page.epoch, after, page.until)
        if key not in self._pieces:
            self._pieces[key] = _pieces_of(page)
            asyncio.get_running_loop().call_later(STRETCH_SECONDS, self._pieces.pop, key, None)
            if len(self._pieces) > STRETCHES_KEPT:
                self._pieces.popitem(last=False)
        return self._pieces[key]

    async def _shared_stretch(self, after: int) -> Page:
        """A stretch of the log that all who are behind may want, read once and kept while it is whole."""
        until = (after // STRETCH_EVENTS + 1) * STRETCH_EVENTS
        key = (self.recent.epoch, after)
        task = self._stretches.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(lambda connection: self._log.stretch(connection, after, until)))
            self._stretches[key] = task
            asyncio.get_running_loop().call_later(STRETCH_SECONDS, self._forget, key, task)
            if len(self._stretches) > STRETCHES_KEPT:
                self._stretches.popitem(last=False)
        try:
            page = await asyncio.shield(task)
        except BaseException:
            self._forget(key, task)
            raise
        if page.until < until or page.epoch != (self.recent.epoch or page.epoch):
            self._forget(key, task)
        return page

    def _forget(self, key: tuple[str | None, int], task: asyncio.Task[Page]) -> None:
        if self._stretches.get(key) is task:
            del self._stretches[key]

    def _forget_old(self, tail: Tail, position: int) -> None:
        if tail is self._tail and not self.ending:
            self.recent.forget(position)
            loop = asyncio.get_running_loop()
            loop.call_later(RECENT_SECONDS, self._forget_old, tail, self.recent.head)

    async def _ask(self, question: Callable[[Connection[DictRow]], Answer]) -> Answer:
        def work() -> Answer:
            with self._reader.connection() as connection:
                return question(connection)

        async with self._seats:
            return await self._threads.read(work)

    def _rest(self) -> None:
        if self.subscribers == 0 and self._tail is not None and not self.ending:
            self._tail.end()
            self._tail = None
            self.recent.rest()


def _within(page: Page, after: int) -> Page:
    if after > page.head:
        raise CursorBeyondHead(page.head, str(Cursor(page.epoch, page.head)))
    return page


def _pieces_of(page: Page) -> Sequence[bytes]:
    pieces, piece, size = [], [], 0
    for message in page.messages:
        event = b"id: %b\nevent: %b\ndata: %b\n\n" % (message.cursor.encode(), message.type.encode(), message.body)
        piece.append(event)
        size += len(event)
        if size >= PIECE_BYTES:
            pieces.append(b"".join(piece))
            piece, size = [], 0
    return [*pieces, b"".join(piece)] if piece else pieces
