"""Callers in this process that wait for their answers while the test breaks things under them."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from ledger.application import CreditLedger, Receipt
from tests.faults.writing_program import HOLDERS, command_of, keys_of_call

WAIT_SECONDS_MAX = 60.0


class WaitingCallers:
    """Single callers and callers of lists, every other one without idempotency keys; any refusal ends the test."""

    def __init__(self, ledger: CreditLedger) -> None:
        self._ledger = ledger
        self._news = asyncio.Event()
        self._ending = False
        self.receipts: list[Receipt] = []

    @classmethod
    @asynccontextmanager
    async def on(cls, ledger: CreditLedger, *, singles: int, lists: int, list_length: int) -> AsyncIterator[Self]:
        """Callers that go on until the block ends; then all wait for their last answers."""
        callers = cls(ledger)
        async with asyncio.TaskGroup() as group:
            for number in range(singles + lists):
                group.create_task(callers._call(number, list_length if number >= singles else 0))
            yield callers
            callers._ending = True

    async def _call(self, number: int, list_length: int) -> None:
        for call in itertools.count():
            commands = [command_of(key) for key in keys_of_call("c", number, call, list_length)]
            if number // HOLDERS % 2:
                for command in commands:
                    command.idempotency_key = None
            for outcome in await self._ledger.execute_many(commands):
                assert isinstance(outcome, Receipt), repr(outcome)
                self.receipts.append(outcome)
            self._news.set()
            if self._ending:
                return

    async def are_answered(self, more: int) -> None:
        """Wait until `more` commands have been answered from now on."""
        wanted = len(self.receipts) + more
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while len(self.receipts) < wanted:
                self._news.clear()
                await self._news.wait()
