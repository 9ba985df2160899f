"""The aggregate of an execution credit: a company's allotment for one credit type, one lot for each billing period.

A renewing credit expires what is left at the period's end and is granted its allotment anew, dated at that instant.
An ADDON holds one lot that never ends.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from ledger.domain.credits import Credits
from ledger.domain.events import (
    AutoRechargeDefined,
    Debited,
    ExecutionCreditDefined,
    Expired,
    Granted,
    GrantPaymentRecorded,
    GrantScheduleDefined,
    GrantUpdated,
    LedgerEvent,
    Refunded,
    Voided,
)
from ledger.domain.instants import Instant, add_months, months_between
from ledger.domain.lots import LawBroken, Lot, check_version, move_lot
from ledger.domain.refusals import CreditsBelowUsed, ExecutionCreditExists, ExecutionCreditNotFound, InvalidArgument
from ledger.domain.values import MONTHS_PER_PERIOD, Cause, CreditType, LotId, PoolKey, RollupType, StreamId, Terms

if TYPE_CHECKING:
    from ledger.domain.decision import Decision


@dataclass(slots=True)
class ExecutionCredit:
    """The state of one execution credit. `lots` holds the present lot and whatever earlier ones are at hand."""

    stream_id: StreamId
    version: int
    lots: dict[LotId, Lot]
    definition: ExecutionCreditDefined
    definition_version: int
    present_lot_id: LotId | None = None

    @property
    def live(self) -> bool:
        return self.definition.deleted_at is None

    @property
    def renewing(self) -> bool:
        return self.definition.rollup_type is not RollupType.ADDON

    @property
    def present_lot(self) -> Lot:
        assert self.present_lot_id is not None
        return self.lots[self.present_lot_id]

    def holds_open(self, lot: Lot) -> bool:
        """Whether this lot may still be granted to: the present lot of a live credit, even when it is empty."""
        return self.live and lot.lot_id == self.present_lot_id

    def renewal_due(self, now: Instant) -> bool:
        return self.live and self.renewing and self.present_lot.expires_at <= now


def period_end(anchor_at: Instant, rollup_type: RollupType, instant: Instant) -> Instant | None:
    """The end of the billing period that `instant` falls in; None for an ADDON, which has no periods.

    Periods step by calendar months from the anchor, the day clamped to the month's end, without drift.
    """
    if rollup_type is RollupType.ADDON:
        return None
    months = MONTHS_PER_PERIOD[rollup_type]
    period = months_between(anchor_at, instant) // months
    return add_months(anchor_at, (period + 1) * months)


def open_credit(
    decision: "Decision",
    stream_id: StreamId,
    credit_type: CreditType,
    rollup_type: RollupType,
    credits: Credits,
    anchor_at: Instant,
) -> None:
    """Create an execution credit and grant its first lot, from now to the end of the anchored period.

    Refuses: InvalidArgument (an anchor in the future), ExecutionCreditExists (one live renewing credit and one live
    ADDON for each company and credit type).
    """
    now = decision.now
    if anchor_at > now:
        raise InvalidArgument("periodAnchor", "must not be in the future")
    renewing = rollup_type is not RollupType.ADDON
    for other in decision.pool.aggregates.values():
        if isinstance(other, ExecutionCredit) and other.live and other.renewing == renewing:
            raise ExecutionCreditExists(decision.pool.key.holder, credit_type, renewing)
    decision.define(
        ExecutionCreditDefined,
        stream_id,
        credit_type=credit_type,
        rollup_type=rollup_type,
        credits=credits,
        anchor_at=anchor_at,
        created_at=now,
        deleted_at=None,
    )
    terms = Terms(effective_at=now, expires_at=period_end(anchor_at, rollup_type, now), created_at=now)
    lot = _new_lot(decision, stream_id, decision.pool.key, terms)
    decision.grant(lot, credits, terms, cause=Cause.ISSUED, effective_at=now)


def renew(decision: "Decision", credit: ExecutionCredit, now: Instant) -> None:
    """Write every renewal that has fallen due by `now`, each period once: expire what is left, grant the allotment."""
    definition = credit.definition
    lot = decision.present_lot(credit)
    while lot.expires_at <= now:
        starts_at = lot.expires_at
        left = decision.present(lot).balance
        if left > 0:
            decision.take_out(Expired, lot, left, cause=Cause.LAPSED, effective_at=starts_at)
        ends_at = period_end(definition.anchor_at, definition.rollup_type, starts_at)
        terms = Terms(effective_at=starts_at, expires_at=ends_at, created_at=definition.created_at)
        lot = decision.grant(
            _new_lot(decision, credit.stream_id, lot.pool, terms),
            definition.credits,
            terms,
            cause=Cause.RENEWED,
            effective_at=starts_at,
        )


def resize(decision: "Decision", credit: ExecutionCredit, credits: Credits) -> None:
    """Change the allotment: the present lot is granted the difference, or the difference is voided in it.

    Refuses: ExecutionCreditNotFound (deleted), CreditsBelowUsed.
    """
    if not credit.live:
        raise ExecutionCreditNotFound(credit.stream_id)
    lot = decision.present_lot(credit)
    if credits < lot.used:
        raise CreditsBelowUsed(credits=credits, used=lot.used)
    _define_again(decision, credit, credits=credits)
    change = credits - (lot.used + lot.balance)
    if change > 0:
        decision.grant(lot, change, lot.terms, cause=Cause.RESIZED, effective_at=decision.now)
    elif change < 0:
        decision.take_out(Voided, lot, -change, cause=Cause.RESIZED, effective_at=decision.now)


def delete(decision: "Decision", credit: ExecutionCredit) -> None:
    """Take the credit out of use: what is left is void, its movements stay. Refuses: ExecutionCreditNotFound."""
    if not credit.live:
        raise ExecutionCreditNotFound(credit.stream_id)
    lot = decision.present_lot(credit)
    _define_again(decision, credit, deleted_at=decision.now)
    if lot.balance > 0:
        decision.take_out(Voided, lot, lot.balance, cause=Cause.DELETED, effective_at=decision.now)


def evolve(credit: ExecutionCredit | None, event: LedgerEvent) -> ExecutionCredit:
    """Apply one event of this execution credit."""
    if credit is None:
        if not isinstance(event, ExecutionCreditDefined) or event.originator_version != 1:
            raise LawBroken(f"execution credit {event.originator_id} moved before it was defined")
        return ExecutionCredit(event.originator_id, event.originator_version, {}, event, event.originator_version)
    match event:
        case Debited() | Refunded() | Voided() | Expired():
            move_lot(credit.lots, credit.version, event)
        case ExecutionCreditDefined():
            check_version(credit.version, event)
            credit.definition, credit.definition_version = event, event.originator_version
            if event.deleted_at is not None and credit.present_lot_id is not None:
                credit.present_lot.voided = True
        case Granted():
            check_version(credit.version, event)
            lot = credit.lots.get(event.lot)
            if lot is None:
                lot = Lot(
                    event.lot, event.originator_id, event.pool, event.grant_type, event.terms, event.terms_version
                )
                credit.lots[event.lot] = lot
            else:
                lot.take_terms(event.terms, event.terms_version)
            lot.move(event)
            credit.present_lot_id = event.lot
        case GrantUpdated() | GrantPaymentRecorded() | GrantScheduleDefined() | AutoRechargeDefined():
            raise LawBroken(f"{event.originator_id} is an execution credit, which {event.TOPIC} is not about")
        case _:
            assert_never(event)
    credit.version = event.originator_version
    return credit


def _new_lot(decision: "Decision", stream_id: StreamId, pool: PoolKey, terms: Terms) -> Lot:
    return Lot(LotId(decision.new_id()), stream_id, pool, None, terms, terms_version=0)


def _define_again(
    decision: "Decision", credit: ExecutionCredit, *, credits: Credits | None = None, deleted_at: Instant | None = None
) -> None:
    definition = credit.definition
    decision.define(
        ExecutionCreditDefined,
        credit.stream_id,
        credit_type=definition.credit_type,
        rollup_type=definition.rollup_type,
        credits=definition.credits if credits is None else credits,
        anchor_at=definition.anchor_at,
        created_at=definition.created_at,
        deleted_at=deleted_at,
    )
