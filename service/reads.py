"""The reads of one request: one snapshot for all its questions, and no thread held while it waits for the head."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application import LedgerUnavailable
from ledger.domain.refusals import InvalidArgument
from projections.read_model import READ_MODELS, ReadModel
from projections.reading import Progress, Reader, Snapshot, Wait

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Given = TypeVar("Given")
SEAT_SECONDS_MAX = 5.0


class Threads:
    """The threads in which this process asks the database.

    There is a seat for each of the reader's connections. Whoever holds one finds a connection and a thread at once, so
    requests that hold a snapshot between two questions and requests that wait for one never wait for each other.
    """

    def __init__(self, seats: int) -> None:
        self._executor = ThreadPoolExecutor(2 * seats, thread_name_prefix="reads")
        self._seats = asyncio.Semaphore(seats)
        self._look: asyncio.Task[Progress] | None = None

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Work of a request that has a seat, or that needs no connection of the reader's."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def read(self, work: Callable[[], Answer]) -> Answer:
        """Work that takes a connection of the reader's and gives it back. Raises LedgerUnavailable."""
        await self.sit()
        try:
            return await self.run(work)
        finally:
            self.rise()

    async def sit(self) -> None:
        """Take a seat; where that takes too long, many wait already (LedgerUnavailable)."""
        try:
            async with asyncio.timeout(SEAT_SECONDS_MAX):
                await self._seats.acquire()
        except TimeoutError:
            raise LedgerUnavailable("too many reads are waiting") from None

    def rise(self) -> None:
        self._seats.release()

    async def look(self, work: Callable[[], Progress]) -> Progress:
        """What `work` finds, or what somebody else's look finds that is on its way: one for all who wait."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self.read(work))
        return await asyncio.shield(self._look)

    def close(self) -> None:
        self._executor.shutdown()


class Reads:
    """Questions of one request, asked one after the other on one snapshot.

    They are about `models`, and wait for no others. A later question that names a position beyond the snapshot gets a
    newer one. `position` is that of the oldest snapshot that was used, None if there was none; `stale` if any of them
    was. A question that was begun is ended, also if nobody waits for its answer any more: so no connection and no seat
    is lost.
    """

    def __init__(
        self,
        reader: Reader,
        threads: Threads,
        *,
        at_least: int | None = None,
        models: Sequence[ReadModel] = READ_MODELS,
    ) -> None:
        self._reader = reader
        self._models = models
        self._threads = threads
        self._at_least = at_least
        self._turn = asyncio.Lock()
        self._open: tuple[AbstractContextManager[Snapshot], Snapshot] | None = None
        self.position: int | None = None
        self.stale = False

    async def ask(self, question: Callable[[Snapshot], Answer], *, at_least: int | None = None) -> Answer:
        """The answer to a question on this request's snapshot. Refuses: PositionNotReached, for a named position."""
        return await to_the_end(self._ask(question, at_least))

    async def ask_log(self, question: Callable[[Connection[DictRow], Given], Answer], given: Given) -> Answer:
        """The answer to a question on the log alone, which no read model has to follow first."""
        return await to_the_end(self._ask_log(question, given))

    async def beside(self, work: Callable[[], Answer]) -> Answer:
        """Something else that waits for the database, but on a connection of its own, in one of the threads."""
        return await self._threads.run(work)

    async def look_again(self, position: int) -> None:
        """The next question gets a new snapshot if this one is before a position that was written for this request."""
        async with self._turn:
            if self._open is not None and self._open[1].position < position:
                await to_the_end(self._close())

    async def close(self) -> None:
        await to_the_end(self._end())

    async def _ask(self, question: Callable[[Snapshot], Answer], at_least: int | None) -> Answer:
        async with self._turn:
            snapshot = await self._snapshot(at_least)
            return await self._threads.run(lambda: question(snapshot))

    async def _ask_log(self, question: Callable[[Connection[DictRow], Given], Answer], given: Given) -> Answer:
        def work() -> Answer:
            with self._reader.connection() as connection:
                return question(connection, given)

        async with self._turn:
            if self._open is not None:
                connection = self._open[1].connection
                return await self._threads.run(lambda: question(connection, given))
            return await self._threads.read(work)

    async def _snapshot(self, at_least: int | None) -> Snapshot:
        named = max(at_least or 0, self._at_least or 0) or None
        if self._open is not None and (named is None or named <= self._open[1].position):
            return self._open[1]
        await self._close()
        wait = Wait((await self._threads.read(self._reader.progress)).of(self._models), named)
        while wait.goes_on:
            await asyncio.sleep(wait.pause())
            wait.look((await self._threads.look(self._reader.progress)).of(self._models))
        manager = self._reader.at_once(self._models, wait.wanted, at_least=named)
        await self._threads.sit()
        try:
            snapshot = await self._threads.run(manager.__enter__)
        except BaseException:
            self._threads.rise()
            raise
        self._open = (manager, snapshot)
        self.position = snapshot.position if self.position is None else min(self.position, snapshot.position)
        self.stale = self.stale or snapshot.stale
        return snapshot

    async def _end(self) -> None:
        async with self._turn:
            await self._close()

    async def _close(self) -> None:
        """Give the snapshot back. It only read: what goes wrong in ending it takes nothing from the answers."""
        if self._open is None:
            return
        manager, _ = self._open
        self._open = None
        try:
            await self._threads.run(lambda: manager.__exit__(None, None, None))
        except psycopg.Error as error:
            log.warning("a snapshot could not be ended: %s", error)
        finally:
            self._threads.rise()


async def to_the_end(work: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer of work that is ended also if nobody waits for it any more; then what goes wrong is nobody's."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(task)


def position_of(text: str, *, field: str) -> int:
    """A position as clients name it: digits."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidArgument(field, "must be a position: digits")
    return int(text)
