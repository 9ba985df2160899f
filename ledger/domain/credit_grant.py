"""The aggregate of a credit grant: one lot, issued once, drawn down, voided or left to expire."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from ledger.domain.credits import Credits
from ledger.domain.events import (
    Debited,
    ExecutionCreditDefined,
    Expired,
    GrantDetails,
    Granted,
    LedgerEvent,
    Refunded,
    Voided,
)
from ledger.domain.lots import LawBroken, Lot, move_lot
from ledger.domain.refusals import CreditGrantAlreadyVoided, CreditGrantCannotBeVoided
from ledger.domain.values import Cause, GrantType, LotId, StreamId, Terms

if TYPE_CHECKING:
    from ledger.domain.decision import Decision


@dataclass(slots=True)
class CreditGrant:
    """The state of one grant; `lots` has exactly one lot, whose id is the grant's own."""

    stream_id: StreamId
    version: int
    lots: dict[LotId, Lot]


def issue(
    decision: "Decision",
    stream_id: StreamId,
    grant_type: GrantType,
    amount: Credits,
    terms: Terms,
    details: GrantDetails,
) -> None:
    """Issue a grant: its whole amount comes into its one lot. A beginning in the past counts from then."""
    lot = Lot(LotId(stream_id), stream_id, decision.pool.key, grant_type, terms, terms_version=1)
    decision.grant(lot, amount, terms, cause=Cause.ISSUED, effective_at=terms.effective_at, details=details)


def void(decision: "Decision", lot: Lot) -> None:
    """End what is left; what was consumed stays consumed.

    Refuses: CreditGrantAlreadyVoided, then CreditGrantCannotBeVoided (nothing left: consumed or expired).
    """
    present = decision.present(lot)
    if present.voided:
        raise CreditGrantAlreadyVoided(lot.stream_id)
    if present.balance == 0:
        raise CreditGrantCannotBeVoided(lot.stream_id)
    effective_at = max(decision.now, lot.effective_at)
    decision.take_out(Voided, lot, present.balance, cause=Cause.VOIDED, effective_at=effective_at)


def evolve(grant: CreditGrant | None, event: LedgerEvent) -> CreditGrant:
    """Apply one event of this grant."""
    match event:
        case Debited() | Refunded() | Voided() | Expired():
            if grant is None:
                raise LawBroken(f"grant {event.originator_id} moved before it was issued")
            move_lot(grant.lots, grant.version, event)
            grant.version = event.originator_version
            return grant
        case Granted():
            if grant is not None or event.originator_version != 1:
                raise LawBroken(f"grant {event.originator_id} was issued twice")
            lot = Lot(
                event.lot, event.originator_id, event.pool, event.grant_type, event.terms, event.originator_version
            )
            lot.move(event)
            return CreditGrant(event.originator_id, event.originator_version, {event.lot: lot})
        case ExecutionCreditDefined():
            raise LawBroken(f"{event.originator_id} is a grant, not an execution credit")
        case _:
            assert_never(event)
