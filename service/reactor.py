"""What every reactor is: a task that acts again and again, and says why it is not getting on."""

import asyncio
import logging
from typing import ClassVar

import psycopg

from ledger.application import CreditLedger, LedgerUnavailable
from ledger.domain.refusals import QueueFull, Refusal

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 0.25
"""How long something that was made to fall due very soon may wait; what was known before is met at its instant."""
RETRY_SECONDS = 1.0


class Reactor:
    """Acts again and again in a task of its own. Any number may run: what it does is decided once, under the lock."""

    name: ClassVar[str]

    def __init__(self, ledger: CreditLedger) -> None:
        self._ledger = ledger
        self._task: asyncio.Task[None] | None = None
        self.failure: str | None = None
        """Why it is not getting on at present."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"{self.name}-reactor")

    async def stop(self) -> None:
        """Look no more. What was handed to the writer is written before the writer ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def alive(self) -> bool:
        return self._task is not None and not self._task.done()

    async def act(self) -> bool:
        """Do everything that is to be done by now; returns whether something was written.

        Raises LedgerUnavailable or the refusal that stands in the way.
        """
        raise NotImplementedError

    async def look(self) -> None:
        """Do what has come up since the last look."""
        await self.act()

    def seconds_to_wait(self) -> float:
        """How long until there may be something to do, looked up in a thread."""
        return LOOK_EVERY_SECONDS

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
                self.failure = None
                await asyncio.sleep(await asyncio.to_thread(self.seconds_to_wait))
            except QueueFull:  # the ledger works, it is only busy: no reason to send nobody here
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:
                self.failure = str(error)
                unexpected = not isinstance(error, psycopg.Error | LedgerUnavailable | Refusal)
                log.warning("%s: cannot act: %s", self.name, error, exc_info=unexpected)
                await asyncio.sleep(RETRY_SECONDS)
