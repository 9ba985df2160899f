"""What a command is answered with."""

from typing import NamedTuple, TypeAlias

from ledger.domain.credits import Credits
from ledger.domain.events import Debited, LedgerEvent, Movement, Refunded
from ledger.domain.instants import Instant
from ledger.domain.refusals import Refusal
from ledger.domain.values import LotId, StreamId, TransactionId


class LedgerUnavailable(Exception):
    """The command could not be carried out for a reason that is not in it.

    With `outcome_unknown` it may have been committed: send it again with its key and it happens once. Without, nothing
    was written.
    """

    code = "LedgerUnavailable"

    def __init__(self, reason: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(reason)
        self.outcome_unknown = outcome_unknown


class Receipt(NamedTuple):
    """The facts of one accepted command, read from its events; a replay gives the same facts with `replayed`.

    `position` is that of its last event, to wait for in a read. A settlement that found nothing due has no events and
    position 0.
    """

    transaction_id: TransactionId
    position: int
    events: tuple[LedgerEvent, ...]
    replayed: bool = False

    @property
    def stream_id(self) -> StreamId:
        """The aggregate the command was about: the grant, credit, schedule or recharge that was made or changed."""
        if not self.events:
            raise LookupError("a settlement that found nothing due is about no aggregate")
        return self.events[0].originator_id

    @property
    def lot_id(self) -> LotId | None:
        """The lot of the command's first movement; a grant's is the grant's own id. None where nothing moved."""
        return self._movements[0].lot if self._movements else None

    @property
    def recorded_at(self) -> Instant | None:
        return self.events[0].transaction.recorded_at if self.events else None

    @property
    def draws(self) -> tuple[tuple[LotId, Credits], ...]:
        """What a debit drew from each lot, or a refund gave back to it, in order; Credits above zero."""
        return tuple((event.lot, abs(event.amount)) for event in self.events if isinstance(event, Debited | Refunded))

    @property
    def amount(self) -> Credits:
        """The command's net effect on its pool, in Credits, signed."""
        return sum(event.amount for event in self._movements)

    @property
    def pool_balance(self) -> Credits | None:
        """The booked balance of the pool after the command. None where nothing moved."""
        return self._movements[-1].after.pool_balance if self._movements else None

    @property
    def _movements(self) -> list[Movement]:
        return [event for event in self.events if isinstance(event, Movement)]


Outcome: TypeAlias = Receipt | Refusal | LedgerUnavailable
