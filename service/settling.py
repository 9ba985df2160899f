"""Having what is due written, for answers that are told from what is written."""

import logging
from collections.abc import Callable
from typing import TypeVar

from ledger.application import CreditLedger, LedgerUnavailable
from ledger.domain.refusals import Refusal
from ledger.domain.values import Kind
from projections.reading import Snapshot
from service.parts import Parts
from service.reads import Reads

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
TRIES_MAX = 100
POOLS_MAX = 1000
TRIES_OF_A_HOLDER_MAX = 3


async def settle(parts: Parts) -> bool:
    """Write what has fallen due: a period that has begun, say, is a lot. Returns whether all of it is written."""
    try:
        for _ in range(TRIES_MAX):
            if not await parts.ledger.settle_due():
                return True
    except (Refusal, LedgerUnavailable):
        pass
    return False


async def ask_settled(
    ledger: CreditLedger,
    reads: Reads,
    question: Callable[[Snapshot], Answer],
    *,
    kind: Kind,
    holder: str,
    at_least: int | None = None,
) -> Answer:
    """Ask the read models about a holder, with all that is due for him at the answer's instant, job or no job.

    What has lapsed, rolled over or been granted by schedule is written first. Whether something was missed is looked
    up after the snapshot was taken; then the question is asked again. Where it cannot be written, the answer is stale.
    Refuses: PositionNotReached.
    """
    for _ in range(TRIES_OF_A_HOLDER_MAX):
        answer, seen = await reads.ask(lambda snapshot: (question(snapshot), snapshot), at_least=at_least)
        if seen.stale or not await _missed(ledger, reads, kind, holder, seen):
            return answer
    reads.stale = True
    return answer


async def _missed(ledger: CreditLedger, reads: Reads, kind: Kind, holder: str, seen: Snapshot) -> bool:
    """Whether the snapshot lacks something that was due at its instant; it is written now."""
    try:
        found = await reads.beside(lambda: ledger.unsettled(kind, holder, now=seen.now, position=seen.position))
        if found.due:
            due = await reads.beside(lambda: ledger.due_pools(POOLS_MAX, kind=kind, holder=holder))
            await ledger.settle(due)
        if found.due or found.written:
            await reads.look_again(max(found.head, ledger.writer.head))
        return found.due or found.written
    except (Refusal, LedgerUnavailable) as error:
        log.warning("what is due for a read could not be written: %s", error)
        reads.stale = True
        return False
