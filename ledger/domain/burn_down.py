"""The one burn-down: which lots pay for a use, and which get it back.

It serves grants and execution credits alike. Its results become facts in events; nobody ever computes them again.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ledger.domain.credits import Credits
from ledger.domain.instants import Instant
from ledger.domain.lots import Lot
from ledger.domain.refusals import InsufficientCredits, RefundExceedsDebit
from ledger.domain.values import LotId, PoolKey, StreamId, TransactionId


class RefundableDraw(NamedTuple):
    """A recorded draw and what of it has come back so far; both in Credits."""

    lot_id: LotId
    stream_id: StreamId
    debited: Credits
    refunded: Credits


class RecordedDebit(NamedTuple):
    """A debit as the log tells it: its draws in the order they were drawn, its use and its account groups."""

    debit_id: TransactionId
    pool: PoolKey
    draws: tuple[RefundableDraw, ...]
    use_at: Instant
    account_groups: tuple[str, ...] | None

    def after(self, returned: Sequence[tuple[LotId, Credits]]) -> "RecordedDebit":
        """The same debit once these parts have come back."""
        parts = dict(returned)
        draws = tuple(draw._replace(refunded=draw.refunded + parts.get(draw.lot_id, 0)) for draw in self.draws)
        return self._replace(draws=draws)


def burn_down(lots: Iterable[Lot], amount: Credits, now: Instant) -> list[tuple[Lot, Credits]]:
    """Draw `amount` from the lots usable at `now`, all or nothing. `lots` are in burn-down order.

    Returns each lot that is drawn from, and what is taken from it: Credits above zero. Refuses: InsufficientCredits.
    """
    draws: list[tuple[Lot, Credits]] = []
    left = amount
    for lot in lots:
        balance = lot.balance
        if balance > 0 and lot.usable_at(now):
            if left <= balance:
                draws.append((lot, left))
                return draws
            draws.append((lot, balance))
            left -= balance
    raise InsufficientCredits(available=amount - left, requested=amount, shortfall=left)


def unwind(draws: Sequence[RefundableDraw], amount: Credits | None) -> list[tuple[LotId, Credits]]:
    """Give `amount` of a debit back, last drawn first; without an amount, all that is left to refund.

    `draws` in the order they were drawn. Refuses: RefundExceedsDebit, also when nothing is left to refund.
    """
    refundable = sum(draw.debited - draw.refunded for draw in draws)
    wanted = refundable if amount is None else amount
    if wanted > refundable or refundable == 0:
        raise RefundExceedsDebit(requested=wanted, refundable=refundable)
    returned: list[tuple[LotId, Credits]] = []
    for draw in reversed(draws):
        part = min(draw.debited - draw.refunded, wanted)
        if part > 0:
            returned.append((draw.lot_id, part))
            wanted -= part
    return returned
