"""Reactors: side effects that follow the ledger: what falls due is written, and pools that run low are recharged.

A reactor is no source of truth: a command writes what is due on its pool before it decides, and reads compute the same.
It brings what nobody asks about, so that the log tells of every lapse and renewal soon after it happened.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from ledger.application import CreditLedger, LedgerUnavailable, Receipt, SettleDue
from ledger.domain.auto_recharge import month_of
from ledger.domain.instants import Instant
from ledger.domain.refusals import Refusal
from ledger.domain.values import PoolKey
from ledger.store.side_tables import next_due_at, pools_taken_from, recharged_pools
from projections.reading import Reader
from service.reactor import LOOK_EVERY_SECONDS, Reactor
from service.threshold_reactor import ThresholdReactor
from service.webhooks.courier import Tally
from service.webhooks.deliverer import Deliverer

log = logging.getLogger(__name__)

WAIT_SECONDS_MIN = 0.005
POOLS_AT_ONCE_MAX = 1000
REFUSED_SECONDS = 60.0
"""How long a pool that cannot be recharged is left alone; the others go on."""


class DueReactor(Reactor):
    """Writes lapses, renewals and scheduled grants as they fall due."""

    name = "due"

    async def act(self) -> bool:
        before: Sequence[PoolKey] = ()
        anything = False
        while pools := await asyncio.to_thread(self._ledger.due_pools, POOLS_AT_ONCE_MAX):
            written = await self._settle(pools)
            anything = anything or written
            if not written and pools == before:
                break  # else another process was faster, and there may be more
            before = pools
        return anything

    def seconds_to_wait(self) -> float:
        with self._ledger.connection() as connection:
            due_at = next_due_at(connection)
            now = self._ledger.clock.now(connection)
        return seconds_between(now, due_at)

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


class RechargeReactor(Reactor):
    """Recharges pools whose balance has fallen below their threshold.

    It follows the log for pools that something was taken from, or whose settings were saved. It looks at all of them
    when it starts, and when a month begins, because spend is counted by months. It keeps nothing: a recharge is decided
    on the state, so one that was missed is made at the next look, and one that was made is not made again.
    """

    name = "recharge"

    def __init__(self, ledger: CreditLedger) -> None:
        super().__init__(ledger)
        self._seen: int | None = None
        self._month = ""
        self._enabled: frozenset[PoolKey] = frozenset()
        self._refused: frozenset[PoolKey] = frozenset()
        """Those that could not be recharged; they are tried again now and then."""
        self._try_again_at = 0.0

    async def act(self) -> bool:
        self._seen = None
        return await self._recharge()

    async def look(self) -> None:
        await self._recharge()

    async def _recharge(self) -> bool:
        pools, position, month = await asyncio.to_thread(self._candidates)
        self._seen = None  # if the ledger is not available now, the next look is at all of them
        written = False
        refused: set[PoolKey] = set()
        for start in range(0, len(pools), POOLS_AT_ONCE_MAX):
            some = pools[start : start + POOLS_AT_ONCE_MAX]
            for pool, outcome in zip(some, await self._ledger.recharge(some), strict=True):
                if isinstance(outcome, Receipt):
                    written = written or bool(outcome.events)
                elif isinstance(outcome, LedgerUnavailable):
                    raise outcome
                else:
                    log.error("%s cannot be recharged: %s", pool, outcome)
                    refused.add(pool)
        self._seen, self._month = position, month
        self._refused = (self._refused - set(pools)) | refused
        if refused:
            self._try_again_at = time.monotonic() + REFUSED_SECONDS
        return written

    def _candidates(self) -> tuple[list[PoolKey], int, str]:
        """The pools to look at, the position they were found at, and the month it is."""
        with self._ledger.connection() as connection:
            month = month_of(self._ledger.clock.now(connection))
            everything = self._seen is None or month != self._month
            taken = pools_taken_from(connection, after=None if everything else self._seen)
            if everything:
                self._enabled = recharged_pools(connection)
                return sorted(self._enabled), taken.position, month
            if taken.redefined:
                now_enabled = recharged_pools(connection, taken.redefined)
                self._enabled = (self._enabled - taken.redefined) | now_enabled
        wanted = taken.pools | (self._refused if time.monotonic() >= self._try_again_at else frozenset())
        return sorted(self._enabled & wanted), taken.position, month


class Reactors:
    """All reactors of one process, and what delivers the webhooks."""

    def __init__(self, ledger: CreditLedger, reader: Reader, deliverer: Deliverer | None = None) -> None:
        self._delivering = [] if deliverer is None else [deliverer]
        self._all: tuple[Reactor, ...] = (DueReactor(ledger), RechargeReactor(ledger), ThresholdReactor(ledger, reader))

    def start(self) -> None:
        for reactor in self._all:
            reactor.start()
        for deliverer in self._delivering:
            deliverer.start()

    async def stop(self) -> None:
        for reactor in self._all:
            await reactor.stop()
        for deliverer in self._delivering:
            await deliverer.stop()

    @property
    def attempts(self) -> Tally:
        """What came of this process's attempts to deliver webhooks."""
        return self._delivering[0].tally if self._delivering else Tally()

    async def act(self) -> None:
        """Do everything that is to be done by now, also what comes of it."""
        while any([await reactor.act() for reactor in self._all]):
            pass

    def problems(self) -> dict[str, str]:
        """Why some are not getting on, by their names."""
        every: Sequence[Reactor | Deliverer] = (*self._all, *self._delivering)
        return {
            reactor.name: reactor.failure or "the reactor has ended"
            for reactor in every
            if reactor.failure is not None or not reactor.alive
        }


def seconds_between(now: Instant, due_at: Instant | None) -> float:
    """How long to wait for an instant, at most as long as one may wait without looking again."""
    if due_at is None:
        return LOOK_EVERY_SECONDS
    return min(max((due_at - now).total_seconds(), WAIT_SECONDS_MIN), LOOK_EVERY_SECONDS)
