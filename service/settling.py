"""Having what is due written, for answers that are told from what is written."""

from ledger.application import LedgerUnavailable
from ledger.domain.refusals import Refusal
from service.parts import Parts

TRIES_MAX = 100


async def settle(parts: Parts) -> bool:
    """Write what has fallen due: a period that has begun, say, is a lot. Returns whether all of it is written."""
    try:
        for _ in range(TRIES_MAX):
            if not await parts.ledger.settle_due():
                return True
    except (Refusal, LedgerUnavailable):
        pass
    return False
