"""The aggregate of a credit grant: one lot, issued once, drawn down, voided or left to expire."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, assert_never

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
    RuleEvent,
    Voided,
)
from ledger.domain.grant_details import GrantDetails, Invoice, Payment
from ledger.domain.instants import Instant, instant_text
from ledger.domain.lots import LawBroken, Lot, change_lot, move_lot
from ledger.domain.refusals import (
    CannotUpdateExpireAtForExpiredCreditGrant,
    CreditGrantAlreadyVoided,
    CreditGrantCannotBeVoided,
    ExpireAtMustBeLaterThanEffectiveAt,
    InvalidArgument,
)
from ledger.domain.values import (
    Cause,
    DocumentReference,
    GrantType,
    InvoiceStatus,
    LotId,
    PaymentCollection,
    PaymentMethod,
    StreamId,
    Terms,
)

if TYPE_CHECKING:
    from ledger.domain.decision import Decision


@dataclass(slots=True)
class CreditGrant:
    """The state of one grant; `lots` has exactly one lot, whose id is the grant's own."""

    stream_id: StreamId
    version: int
    lots: dict[LotId, Lot]


@dataclass(slots=True, frozen=True, kw_only=True)
class Changes:
    """What of a grant's terms is to change; None leaves it as it is. `never_expires` takes its end away."""

    effective_at: Instant | None = None
    expires_at: Instant | None = None
    never_expires: bool = False
    priority: Decimal | None = None


def payment_of(method: PaymentMethod, cost: Decimal, *, awaiting_confirmation: bool) -> tuple[Payment, bool]:
    """How a new grant's payment stands, and whether its credits wait for it.

    Without a cost, or with NONE, there is nothing to wait for. An INVOICE is always waited for, a CHARGE unless it is
    said otherwise. Source: the contract of credit grants, 'Payment'.
    """
    if method is PaymentMethod.NONE or cost == 0:
        return Payment(method=method), False
    awaited = method is PaymentMethod.INVOICE or awaiting_confirmation
    return Payment(method=method, collection=PaymentCollection.PROCESSING), awaited


def check_terms(effective_at: Instant, expires_at: Instant | None, now: Instant) -> None:
    """Refuses: ExpireAtMustBeLaterThanEffectiveAt, then InvalidArgument (an end that is past already)."""
    if expires_at is not None:
        if expires_at <= effective_at:
            raise ExpireAtMustBeLaterThanEffectiveAt(instant_text(expires_at), instant_text(effective_at))
        if expires_at <= now:
            raise InvalidArgument("expireAt", "must be later than now")


def issue(
    decision: "Decision",
    stream_id: StreamId,
    grant_type: GrantType,
    amount: Credits,
    terms: Terms,
    details: GrantDetails,
    cause: Cause = Cause.ISSUED,
) -> Lot:
    """Issue a grant: its whole amount comes into its one lot. A beginning in the past counts from then."""
    lot = Lot(LotId(stream_id), stream_id, decision.pool.key, grant_type, terms, terms_version=1, details=details)
    return decision.grant(lot, amount, terms, cause=cause, effective_at=terms.effective_at, details=details)


def update(decision: "Decision", lot: Lot, changes: Changes, texts: DocumentReference | None) -> None:
    """Give a grant other terms, or other texts; its amount and cost never change.

    Refuses: CreditGrantAlreadyVoided; CannotUpdateExpireAtForExpiredCreditGrant; InvalidArgument (a beginning that has
    begun); ExpireAtMustBeLaterThanEffectiveAt; InvalidArgument (an end that is past already).
    """
    if lot.voided:
        raise CreditGrantAlreadyVoided(lot.stream_id)
    terms, now = lot.terms, decision.now
    effective_at, expires_at = terms.effective_at, terms.expires_at
    if changes.never_expires or changes.expires_at is not None:
        if lot.expires_at <= now:
            raise CannotUpdateExpireAtForExpiredCreditGrant(lot.stream_id)
        expires_at = changes.expires_at
    if changes.effective_at is not None:
        if effective_at <= now:
            raise InvalidArgument("effectiveAt", "cannot change once the grant has begun")
        effective_at = changes.effective_at
    if (effective_at, expires_at) != (terms.effective_at, terms.expires_at):
        check_terms(effective_at, expires_at, now)
    changed = Terms(
        effective_at=effective_at,
        expires_at=expires_at,
        created_at=terms.created_at,
        priority=terms.priority if changes.priority is None else changes.priority,
        awaiting_payment=terms.awaiting_payment,
    )
    decision.change(GrantUpdated, lot, changed, _details(lot, texts=texts), cause=Cause.UPDATED)


def record_payment(
    decision: "Decision", lot: Lot, collection: PaymentCollection, invoice: Invoice | None = None
) -> None:
    """Record how far the payment of a grant has come; NOT_REQUIRED: it is paid, and its credits wait no longer.

    Without an `invoice` the one that is known stays. Refuses: CreditGrantAlreadyVoided; InvalidArgument (a free grant,
    a payment that is recorded already, an invoice that is paid while the payment is not).
    """
    payment = _open_payment(lot)
    invoice = payment.invoice if invoice is None else invoice
    paid = collection is PaymentCollection.NOT_REQUIRED
    if payment.paid_at is not None and not paid:
        raise InvalidArgument("paymentCollection", "must stay NOT_REQUIRED: the payment was recorded already")
    if invoice is not None and invoice.status is InvoiceStatus.PAID and not paid:
        raise InvalidArgument("paymentCollection", "must be NOT_REQUIRED once the invoice is PAID")
    recorded = Payment(
        method=payment.method,
        collection=collection,
        paid_at=payment.paid_at or (decision.now if paid else None),
        invoice=invoice,
    )
    terms = lot.terms.model_copy(update={"awaiting_payment": False}) if paid else lot.terms
    details = _details(lot, payment=recorded)
    decision.change(GrantPaymentRecorded, lot, terms, details, cause=Cause.PAYMENT_RECORDED)


def mark_invoice_paid(decision: "Decision", lot: Lot) -> None:
    """Record the latest invoice as paid, and the payment with it.

    Refuses: CreditGrantAlreadyVoided; InvalidArgument (a free grant, or one that nobody is invoiced for).
    """
    payment = _open_payment(lot)
    if payment.invoice is None and payment.method is PaymentMethod.NONE:
        raise InvalidArgument("creditGrantId", "names a grant that has no invoice")
    invoice = payment.invoice
    if invoice is not None:
        paid = {"status": InvoiceStatus.PAID, "updated_at": decision.now, "requires_action": False}
        invoice = invoice.model_copy(update=paid | ({} if invoice.amount_due is None else {"amount_due": Decimal(0)}))
    record_payment(decision, lot, PaymentCollection.NOT_REQUIRED, invoice)


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
            move_lot(grant, event)
        case GrantUpdated() | GrantPaymentRecorded():
            if grant is None:
                raise LawBroken(f"grant {event.originator_id} changed before it was issued")
            change_lot(grant.lots, grant.version, event)
        case Granted():
            if grant is not None or event.originator_version != 1:
                raise LawBroken(f"grant {event.originator_id} was issued twice")
            lot = Lot(
                event.lot,
                event.originator_id,
                event.pool,
                event.grant_type,
                event.terms,
                event.originator_version,
                details=event.grant,
                texts=event.transaction.document,
            )
            lot.move(event)
            return CreditGrant(event.originator_id, event.originator_version, {event.lot: lot})
        case ExecutionCreditDefined() | GrantScheduleDefined() | AutoRechargeDefined() | RuleEvent():
            raise LawBroken(f"{event.originator_id} is a grant, which {event.TOPIC} is not about")
        case _:
            assert_never(event)
    grant.version = event.originator_version
    return grant


def details_of(lot: Lot) -> GrantDetails:
    """What a grant is besides its lot. Every grant has it."""
    if lot.details is None:
        raise LawBroken(f"lot {lot.lot_id} has nothing that makes it a grant")
    return lot.details


def _details(lot: Lot, **changes: Any) -> GrantDetails:
    """The whole details from now on; the texts are named, whichever event they first came with."""
    return details_of(lot).model_copy(update={"texts": lot.texts, **changes})


def _open_payment(lot: Lot) -> Payment:
    if lot.voided:
        raise CreditGrantAlreadyVoided(lot.stream_id)
    details = details_of(lot)
    if details.cost.amount == 0:
        raise InvalidArgument("creditGrantId", "names a grant that costs nothing")
    return details.payment
