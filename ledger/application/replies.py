"""Where answers go: to an asyncio future or to a thread that waits."""

import asyncio
import concurrent.futures
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeAlias

from ledger.application.commands import Command
from ledger.application.receipts import Outcome
from ledger.domain.refusals import InvalidArgument

Reply: TypeAlias = "asyncio.Future[list[Outcome]] | concurrent.futures.Future[list[Outcome]]"


class Submission:
    """Commands that came together and are answered together, in their order."""

    __slots__ = ("commands", "outcomes", "reply", "taken")

    def __init__(self, commands: Iterable[Command], reply: Reply) -> None:
        self.commands = tuple(commands)
        if not all(issubclass(each, Command) for each in set(map(type, self.commands))):
            raise InvalidArgument("commands", "must be commands of the ledger")
        self.reply = reply
        self.outcomes: list[Outcome] = []
        self.taken = 0
        """How many of its commands are in a batch already; a long list is split over batches, in order."""

    @property
    def answered(self) -> bool:
        return len(self.outcomes) == len(self.commands)


def answer(submissions: Iterable[Submission]) -> None:
    """Resolve finished submissions: one call into each event loop for all of its futures."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[Submission]] = defaultdict(list)
    for submission in submissions:
        reply = submission.reply
        if isinstance(reply, asyncio.Future):
            by_loop[reply.get_loop()].append(submission)
        elif reply.set_running_or_notify_cancel():
            reply.set_result(submission.outcomes)
    for loop, finished in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, finished)
        except RuntimeError:
            continue  # the loop is closed: nobody waits there any more


def _resolve(finished: list[Submission]) -> None:
    for submission in finished:
        if not submission.reply.done():
            submission.reply.set_result(submission.outcomes)
