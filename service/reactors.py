"""Reactors: side effects that follow the ledger. This one writes what falls due when its instant has come.

A reactor is no source of truth: a command writes what is due on its pool before it decides, and reads compute the same.
It brings what nobody asks about, so that the log tells of every lapse and renewal soon after it happened.
"""

import asyncio
import logging
from collections.abc import Sequence

import psycopg

from ledger.application import CreditLedger, LedgerUnavailable, Receipt, SettleDue
from ledger.domain.instants import Instant
from ledger.domain.refusals import Refusal
from ledger.domain.values import PoolKey
from ledger.store.side_tables import next_due_at

log = logging.getLogger(__name__)

WAIT_SECONDS_MIN = 0.005
LOOK_EVERY_SECONDS = 0.25
"""How long something that was made to fall due very soon may wait; what was known before is met at its instant."""
RETRY_SECONDS = 1.0
POOLS_AT_ONCE_MAX = 1000


class DueReactor:
    """Writes lapses and renewals as they fall due. Any number may run: the pool is settled once, under the lock."""

    def __init__(self, ledger: CreditLedger) -> None:
        self._ledger = ledger
        self._task: asyncio.Task[None] | None = None
        self.failure: str | None = None
        """Why it is not getting on at present."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="due-reactor")

    async def stop(self) -> None:
        """Look no more. What was handed to the writer is written before the writer ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def alive(self) -> bool:
        return self._task is not None and not self._task.done()

    async def act(self) -> None:
        """Write everything that is due by now. Raises LedgerUnavailable or the refusal that stands in the way."""
        before: Sequence[PoolKey] = ()
        while pools := await asyncio.to_thread(self._ledger.due_pools, POOLS_AT_ONCE_MAX):
            written = await self._settle(pools)
            if not written and pools == before:
                return  # else another process was faster, and there may be more
            before = pools

    async def _run(self) -> None:
        while True:
            try:
                await self.act()
                self.failure = None
                await asyncio.sleep(await asyncio.to_thread(self._seconds_to_wait))
            except Exception as error:
                self.failure = str(error)
                unexpected = not isinstance(error, psycopg.Error | LedgerUnavailable | Refusal)
                log.warning("what is due cannot be written: %s", error, exc_info=unexpected)
                await asyncio.sleep(RETRY_SECONDS)

    async def _settle(self, pools: Sequence[PoolKey]) -> bool:
        """Settle every pool that can be, then raise the last failure: nobody's failure holds up the others.

        Returns whether anything was written.
        """
        written = False
        problem: Refusal | LedgerUnavailable | None = None
        for pool, outcome in zip(
            pools, await self._ledger.execute_many([SettleDue(due_pool=pool) for pool in pools]), strict=True
        ):
            if isinstance(outcome, Receipt):
                written = written or bool(outcome.events)
            else:
                log.error("what is due on %s cannot be written: %s", pool, outcome)
                problem = outcome
        if problem is not None:
            raise problem
        return written

    def _seconds_to_wait(self) -> float:
        with self._ledger.connection() as connection:
            due_at = next_due_at(connection)
            now = self._ledger.clock.now(connection)
        return seconds_between(now, due_at)


def seconds_between(now: Instant, due_at: Instant | None) -> float:
    """How long to wait for an instant, at most as long as one may wait without looking again."""
    if due_at is None:
        return LOOK_EVERY_SECONDS
    return min(max((due_at - now).total_seconds(), WAIT_SECONDS_MIN), LOOK_EVERY_SECONDS)
