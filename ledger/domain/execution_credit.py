"""The aggregate of an execution credit: a company's allotment for one credit type, one lot for each billing period.

A renewing credit expires what is left at the period's end and is granted its allotment anew, dated at that instant.
An ADDON holds one lot that never ends.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from ledger.domain.billing_cycle import BillingCycle
from ledger.domain.credits import Credits
from ledger.domain.events import (
    AutoRechargeDefined,
    Debited,
    Event,
    ExecutionCreditDefined,
    Expired,
    Granted,
    GrantPaymentRecorded,
    GrantScheduleDefined,
    GrantUpdated,
    LedgerEvent,
    Refunded,
    RuleEvent,
    Voided,
)
from ledger.domain.instants import Instant
from ledger.domain.lots import LawBroken, Lot, check_version, move_lot
from ledger.domain.refusals import (
    CreditsBelowUsed,
    ExecutionCreditDeleted,
    ExecutionCreditExists,
    InsufficientCredits,
    InsufficientExecutionCredits,
    InvalidArgument,
    RollupTypeStays,
)
from ledger.domain.values import Cause, CreditType, LotId, PoolKey, RollupType, StreamId, Terms

if TYPE_CHECKING:
    from ledger.domain.decision import Decision
    from ledger.domain.pool import Pool

DEFINING = frozenset(ExecutionCreditDefined.model_fields) - frozenset(Event.model_fields) - {"pool"}
"""The fields of a definition by which one follows another."""


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
        ends_at = self.present_lot.terms.expires_at
        return self.live and ends_at is not None and ends_at <= now


def cycle_of(definition: ExecutionCreditDefined) -> BillingCycle:
    """How a credit of this definition renews."""
    return BillingCycle(definition.anchor_at, definition.rollup_type, definition.first_month)


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
        next_rollup_type=None,
        first_month=0,
    )
    ends_at = BillingCycle(anchor_at, rollup_type).period_end(now)
    terms = Terms(effective_at=now, expires_at=ends_at, created_at=now)
    lot = _new_lot(decision, stream_id, decision.pool.key, terms)
    decision.grant(lot, credits, terms, cause=Cause.ISSUED, effective_at=now)


def renew(decision: "Decision", credit: ExecutionCredit, now: Instant) -> None:
    """Write every renewal that has fallen due by `now`, each period once: expire what is left, grant the allotment.

    Another rollup type that was asked for begins with the first of them.
    """
    definition = credit.definition
    cycle = cycle_of(definition)
    lot = decision.present_lot(credit)
    while (starts_at := lot.terms.expires_at) is not None and starts_at <= now:
        left = decision.present(lot).balance
        if left > 0:
            decision.take_out(Expired, lot, left, cause=Cause.LAPSED, effective_at=starts_at)
        turned = cycle.turned(definition.next_rollup_type, starts_at)
        terms = Terms(effective_at=starts_at, expires_at=turned.period_end(starts_at), created_at=definition.created_at)
        lot = decision.grant(
            _new_lot(decision, credit.stream_id, lot.pool, terms),
            definition.credits,
            terms,
            cause=Cause.RENEWED,
            effective_at=starts_at,
        )
        if turned != cycle:
            definition = _define_again(
                decision,
                definition,
                rollup_type=turned.rollup_type,
                first_month=turned.first_month,
                next_rollup_type=None,
            )
            cycle = turned


def update(
    decision: "Decision", credit: ExecutionCredit, credits: Credits | None, rollup_type: RollupType | None
) -> None:
    """Change the allotment at once and the rollup type at the next renewal; None leaves each as it is.

    The present lot is granted the difference of the allotments, or the difference is voided in it.
    Refuses: ExecutionCreditDeleted, RollupTypeStays (to or from ADDON), CreditsBelowUsed.
    """
    if not credit.live:
        raise ExecutionCreditDeleted(credit.stream_id)
    definition, lot = _present_definition(decision, credit), decision.present_lot(credit)
    coming = definition.next_rollup_type
    if rollup_type is not None:
        if rollup_type != definition.rollup_type and RollupType.ADDON in (rollup_type, definition.rollup_type):
            raise RollupTypeStays(definition.rollup_type, rollup_type)
        coming = None if rollup_type == definition.rollup_type else rollup_type
    allotment = definition.credits if credits is None else credits
    if allotment < lot.used:
        raise CreditsBelowUsed(credits=allotment, used=lot.used)
    change = allotment - (lot.used + lot.balance)
    if change > 0:
        decision.grant(lot, change, lot.terms, cause=Cause.RESIZED, effective_at=decision.now)
    elif change < 0:
        decision.take_out(Voided, lot, -change, cause=Cause.RESIZED, effective_at=decision.now)
    _define_again(decision, definition, credits=allotment, next_rollup_type=coming)


def delete(decision: "Decision", credit: ExecutionCredit) -> None:
    """Take the credit out of use: what is left is void, its movements stay. Refuses: ExecutionCreditDeleted."""
    if not credit.live:
        raise ExecutionCreditDeleted(credit.stream_id)
    lot = decision.present_lot(credit)
    if lot.balance > 0:
        decision.take_out(Voided, lot, lot.balance, cause=Cause.DELETED, effective_at=decision.now)
    _define_again(decision, _present_definition(decision, credit), deleted_at=decision.now)


def insufficient(pool: "Pool", refusal: InsufficientCredits) -> InsufficientExecutionCredits:
    """The same refusal as it is told of execution credits, which depends on whether there is an ADDON to buy into."""
    has_addon = any(
        isinstance(credit, ExecutionCredit) and credit.live and not credit.renewing
        for credit in pool.aggregates.values()
    )
    return InsufficientExecutionCredits(
        refusal.available, refusal.requested, refusal.shortfall, pool.key.currency, has_addon
    )


def evolve(credit: ExecutionCredit | None, event: LedgerEvent) -> ExecutionCredit:
    """Apply one event of this execution credit."""
    if credit is None:
        if not isinstance(event, ExecutionCreditDefined) or event.originator_version != 1:
            raise LawBroken(f"execution credit {event.originator_id} moved before it was defined")
        return ExecutionCredit(event.originator_id, event.originator_version, {}, event, event.originator_version)
    match event:
        case Debited() | Refunded() | Voided() | Expired():
            move_lot(credit, event)
        case ExecutionCreditDefined():
            check_version(credit.version, event)
            credit.definition, credit.definition_version = event, event.originator_version
            if event.deleted_at is not None:
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
        case GrantUpdated() | GrantPaymentRecorded() | GrantScheduleDefined() | AutoRechargeDefined() | RuleEvent():
            raise LawBroken(f"{event.originator_id} is an execution credit, which {event.TOPIC} is not about")
        case _:
            assert_never(event)
    credit.version = event.originator_version
    return credit


def _new_lot(decision: "Decision", stream_id: StreamId, pool: PoolKey, terms: Terms) -> Lot:
    return Lot(LotId(decision.new_id()), stream_id, pool, None, terms, terms_version=0)


def _present_definition(decision: "Decision", credit: ExecutionCredit) -> ExecutionCreditDefined:
    """The definition in force, which a renewal earlier in this decision may have changed."""
    for event in reversed(decision.events):
        if isinstance(event, ExecutionCreditDefined) and event.originator_id == credit.stream_id:
            return event
    return credit.definition


def _define_again(
    decision: "Decision", definition: ExecutionCreditDefined, **changes: object
) -> ExecutionCreditDefined:
    """The credit is as `definition` says but for these changes."""
    before = {name: getattr(definition, name) for name in DEFINING}
    decision.define(ExecutionCreditDefined, definition.originator_id, **before | changes)
    event = decision.events[-1]
    assert isinstance(event, ExecutionCreditDefined)
    return event
