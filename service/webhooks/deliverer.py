"""Delivers all webhooks of a ledger, in a thread of its own; of all processes that would, one does.

It is the one whose session holds an advisory lock. When that ends, in whatever way, another one takes over where the
tables say.
"""

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from typing import NamedTuple

import httpx
import psycopg

from ledger.store.database import Database
from service.webhooks.bell import Bell
from service.webhooks.book import Endpoint, load, may_deliver, revisions
from service.webhooks.courier import Bounds, Courier, Tally
from service.webhooks.desk import Desk, opened_desk
from service.webhooks.post import Poster
from service.webhooks.schedule import Schedule
from service.webhooks.targets import Resolver, resolve

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 1.0
"""How long an operator's change, or a process that has ended, may go unnoticed if nobody tells of it."""
RETRY_SECONDS = 1.0


class Deliverer:
    """Delivers the webhooks of a ledger, while this process is the one that does."""

    name = "webhooks"

    def __init__(
        self,
        database: Database,
        *,
        private_targets: bool = False,
        schedule: Schedule | None = None,
        bounds: Bounds | None = None,
        resolver: Resolver = resolve,
    ) -> None:
        self._database = database
        self._private_targets = private_targets
        self._schedule = schedule or Schedule()
        self._bounds = bounds or Bounds()
        self._resolver = resolver
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self._changed = asyncio.Event()
        self.tally = Tally()
        self.failure: str | None = None
        """Why it is not getting on at present."""

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"{self._database.schema}-webhooks", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Begin no more attempts; those that are on their way have a few seconds to end."""
        self._stopping = True
        if self._thread is not None:
            if self._loop is not None:
                with suppress(RuntimeError):  # it has ended already
                    self._loop.call_soon_threadsafe(self._changed.set)
            await asyncio.to_thread(self._thread.join)

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._deliver())

    async def _deliver(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not self._stopping:
            try:
                async with opened_desk(self._database) as desk:
                    await self._session(desk)
            except Exception as error:  # whatever it was, messages wait until somebody delivers again
                self.failure = str(error)
                log.warning("webhooks start again: %s", error, exc_info=not isinstance(error, psycopg.Error))
                await self._rest(RETRY_SECONDS)

    async def _session(self, desk: Desk) -> None:
        """Wait until nobody else delivers, then do, as long as the session lasts."""
        while not await desk.write(may_deliver):
            self.failure = None
            await self._rest(LOOK_EVERY_SECONDS)
            if self._stopping:
                return
        log.info("delivering webhooks")
        couriers = Couriers(desk, lambda endpoint: self._courier(endpoint, desk), self._changed.set)
        try:
            with Bell(self._database, couriers.there_are, desk.tell, self._changed.set):
                while not self._stopping:
                    await couriers.look()
                    self.failure = None
                    await self._rest(LOOK_EVERY_SECONDS)
            await couriers.end()
        finally:
            await couriers.cut_off()

    async def _rest(self, seconds: float) -> None:
        """Wait until something has changed, or time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        if not self._stopping:
            self._changed.clear()

    @cached_property
    def _context(self) -> ssl.SSLContext:
        """Made when there is somebody to deliver to: it loads the certificates of the whole world."""
        return httpx.create_ssl_context()

    def _courier(self, endpoint: Endpoint, desk: Desk) -> Courier:
        poster = Poster(
            httpx.URL(endpoint.url),
            endpoint.secrets,
            private_targets=self._private_targets,
            resolver=self._resolver,
            context=self._context,
            attempt_seconds_max=self._bounds.attempt_seconds_max,
        )
        return Courier(endpoint, desk, poster, self.tally, self._schedule, self._bounds)


class Running(NamedTuple):
    revision: int
    courier: Courier
    task: "asyncio.Task[None]"


class Couriers:
    """A courier for each endpoint, as it is at its present revision."""

    def __init__(self, desk: Desk, courier: Callable[[Endpoint], Courier], ended: Callable[[], None]) -> None:
        self._desk = desk
        self._courier = courier
        self._ended = ended
        self._running: dict[str, Running] = {}
        self._not_before: dict[str, float] = {}
        """The monotonic seconds from which on those are tried again that could not get on."""

    def there_are(self) -> bool:
        return bool(self._running)

    async def look(self) -> None:
        """End those whose endpoints were changed, and begin those that are missing."""
        wanted = await self._desk.write(revisions)
        for endpoint_id, (revision, courier, task) in list(self._running.items()):
            if task.done():
                self._end_of(endpoint_id, task)
            elif wanted.get(endpoint_id) != revision:
                courier.end()
        for endpoint_id in wanted.keys() - self._running.keys():
            if time.monotonic() >= self._not_before.get(endpoint_id, 0.0):
                await self._begin(endpoint_id)

    async def end(self) -> None:
        """Let all of them end, and note what came of the last attempts."""
        for running in self._running.values():
            running.courier.end()
        await asyncio.gather(*(running.task for running in self._running.values()), return_exceptions=True)

    async def cut_off(self) -> None:
        for running in self._running.values():
            running.task.cancel()
        await self.end()

    async def _begin(self, endpoint_id: str) -> None:
        endpoint = await self._desk.write(partial(load, endpoint_id=endpoint_id))
        if endpoint is None:
            return
        courier = self._courier(endpoint)
        task = asyncio.create_task(courier.run())
        task.add_done_callback(lambda _: self._ended())
        self._running[endpoint_id] = Running(endpoint.revision, courier, task)

    def _end_of(self, endpoint_id: str, task: "asyncio.Task[None]") -> None:
        del self._running[endpoint_id]
        problem = task.exception()
        if problem is None:
            self._not_before.pop(endpoint_id, None)
            return
        self._not_before[endpoint_id] = time.monotonic() + RETRY_SECONDS
        unexpected = problem if not isinstance(problem, psycopg.Error) else None
        log.warning("webhook endpoint %s: begins again: %s", endpoint_id, problem, exc_info=unexpected)
