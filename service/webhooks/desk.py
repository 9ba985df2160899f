"""What couriers share: the session by which alone they write, looks into the log, and where the log ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.store.database import Database, Role
from projections.reading import Reader
from service.feed.messages import Filter, Message
from service.feed.pages import Log, Page

Answer = TypeVar("Answer")
READS_AT_ONCE_MAX = 2
SESSION = {
    "synchronous_commit": "off",
    "idle_session_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
    "statement_timeout": "60s",
    "lock_timeout": "5s",
}
"""What is noted need not wait for the disk: if it is lost, messages are found or sent again. A process that is stopped
loses its session soon, and with it the right to deliver."""


class Desk:
    """One session's. Whoever lost the session can write no more, so what another process does now stays as it is."""

    def __init__(self, connection: Connection[DictRow], writing: ThreadPoolExecutor, reader: Reader) -> None:
        self._connection = connection
        self._writing = writing
        self._reader = reader
        self._reading = ThreadPoolExecutor(READS_AT_ONCE_MAX, "webhooks-read")
        self._log = Log()
        self._head = 0
        self._news = asyncio.Event()

    def close(self) -> None:
        self._reading.shutdown()

    def tell(self, head: int) -> None:
        """The log ends there."""
        if head != self._head:
            self._head = head
            self._news.set()
            self._news = asyncio.Event()

    async def beyond(self, position: int, seconds_max: float | None) -> bool:
        """Wait until the log goes beyond a position, or until time is up; whether it does."""
        try:
            async with asyncio.timeout(seconds_max):
                while self._head <= position:
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def page(self, wanted: Filter, after: int, events_max: int) -> Page:
        return await self._read(lambda connection: self._log.page(connection, after, wanted, events_max))

    async def stretch(self, wanted: Filter, after: int, until: int) -> Sequence[Message]:
        return (await self._read(lambda connection: self._log.stretch(connection, after, until, wanted))).messages

    async def write(self, work: Callable[[Connection[DictRow]], Answer]) -> Answer:
        """Work with the session that may deliver, one after the other, also if nobody waits for it any more."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._writing, work, self._connection))

    async def _read(self, question: Callable[[Connection[DictRow]], Answer]) -> Answer:
        def work() -> Answer:
            with self._reader.connection() as connection:
                return question(connection)

        return await asyncio.get_running_loop().run_in_executor(self._reading, work)


@asynccontextmanager
async def opened_desk(database: Database) -> AsyncIterator[Desk]:
    """A session of the writer's role, and what goes with it."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "webhooks-write") as writing:
        connection = await loop.run_in_executor(writing, lambda: database.connect(Role.WRITER, **SESSION))
        try:
            with Reader(database, connections_max=READS_AT_ONCE_MAX) as reader:
                desk = Desk(connection, writing, reader)
                try:
                    yield desk
                finally:
                    desk.close()
        finally:
            await loop.run_in_executor(writing, connection.close)
