"""Debits as the rows make them: through the asyncio face, durable, every debit under an idempotency key of its own."""

import asyncio
import secrets
import time
from collections.abc import Callable

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger, Receipt
from scripts.benchmark.measure import Measurement, merged

PLENTY = 10**15


class Pools:
    """Fresh pools with one grant each, and keys that were never used."""

    def __init__(self, ledger: CreditLedger, count: int) -> None:
        self.ledger = ledger
        mark = secrets.token_hex(4)
        self.holders = [f"bench-{mark}-{number}" for number in range(count)]
        self._key = 0
        self._mark = mark
        books = BlockingLedger(ledger)
        for holder in self.holders:
            books.issue_grant(holder=holder, currency="credits", amount=PLENTY, display_name="bench", grant_type="PAID")

    def command(self) -> ConsumeCredits:
        self._key += 1
        holder = self.holders[self._key % len(self.holders)]
        key = f"{self._mark}-{self._key}"
        return ConsumeCredits(holder=holder, currency="credits", amount="1.25", idempotency_key=key)


def by_callers(pools: Pools, callers: int, seconds: float) -> Measurement:
    """So many asyncio callers, each waiting for its answer before it asks again."""

    async def run() -> Measurement:
        latencies: list[float] = []
        ends = time.perf_counter() + seconds

        async def call() -> None:
            while (begun := time.perf_counter()) < ends:
                await pools.ledger.execute(pools.command())
                latencies.append(time.perf_counter() - begun)

        started = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(callers)))
        return Measurement(len(latencies), time.perf_counter() - started, latencies)

    return asyncio.run(run())


def by_lists(pools: Pools, length: int, lists: int) -> Measurement:
    """Lists of debits, one after the other; building the commands is part of the time."""

    async def run() -> Measurement:
        latencies = []
        started = time.perf_counter()
        for _ in range(lists):
            begun = time.perf_counter()
            outcomes = await pools.ledger.consume_many([pools.command() for _ in range(length)])
            latencies.append(time.perf_counter() - begun)
            assert all(isinstance(outcome, Receipt) for outcome in outcomes)
        return Measurement(length * lists, time.perf_counter() - started, latencies)

    return asyncio.run(run())


def one_by_one(pools: Pools, count: int) -> Measurement:
    """So many debits, each asked for when the one before it was answered."""

    async def run() -> Measurement:
        latencies = []
        started = time.perf_counter()
        for _ in range(count):
            begun = time.perf_counter()
            await pools.ledger.execute(pools.command())
            latencies.append(time.perf_counter() - begun)
        return Measurement(count, time.perf_counter() - started, latencies)

    return asyncio.run(run())


def in_turns(
    one: Callable[[], Measurement], other: Callable[[], Measurement], turns: int
) -> tuple[Measurement, Measurement]:
    """Both so many times, one, other, other, one and so on, so that both meet the same machine."""
    of_one: list[Measurement] = []
    of_other: list[Measurement] = []
    for turn in range(turns):
        for work, parts in ((one, of_one), (other, of_other))[:: -1 if turn % 2 else 1]:
            parts.append(work())
    return merged(of_one), merged(of_other)
