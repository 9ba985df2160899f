"""Commands on the payment of grants: how far it has come, and the latest invoice."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from ledger.application.commands import Known
from ledger.application.grant_commands import GrantCommand
from ledger.application.inputs import Document, choice, currency_of, exact, flag, plain
from ledger.domain import credit_grant
from ledger.domain.decision import Decision
from ledger.domain.grant_details import Invoice
from ledger.domain.instants import Instant
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import InvoiceStatus, PaymentCollection, optional_instant, text_of

ADDRESS_CHARACTERS_MAX = 2000
MESSAGE_CHARACTERS_MAX = 1000


@dataclass(slots=True, kw_only=True)
class InvoiceTold:
    """An invoice as the one who bills tells it. What is not told of its instants is when it is recorded."""

    billing_id: str
    status: InvoiceStatus
    created_at: datetime | None = None
    updated_at: datetime | None = None
    due_at: datetime | None = None
    currency: str | None = None
    total: Any = None
    amount_due: Any = None
    requires_action: bool = False
    error_message: str | None = None
    payment_url: str | None = None
    pdf_url: str | None = None

    def __post_init__(self) -> None:
        self.billing_id = text_of(self.billing_id, field="invoice.billingId")
        self.status = choice(InvoiceStatus, self.status, field="invoice.status")
        self.created_at = optional_instant(self.created_at, field="invoice.createdAt")
        self.updated_at = optional_instant(self.updated_at, field="invoice.updatedAt")
        self.due_at = optional_instant(self.due_at, field="invoice.dueDate")
        self.currency = None if self.currency is None else currency_of(self.currency, field="invoice.currency")
        self.total = None if self.total is None else exact(self.total, field="invoice.total")
        self.amount_due = None if self.amount_due is None else exact(self.amount_due, field="invoice.amountDue")
        self.requires_action = flag(self.requires_action, field="invoice.requiresAction")
        self.error_message = _text(self.error_message, "invoice.errorMessage", MESSAGE_CHARACTERS_MAX)
        self.payment_url = _text(self.payment_url, "invoice.paymentUrl", ADDRESS_CHARACTERS_MAX)
        self.pdf_url = _text(self.pdf_url, "invoice.pdfUrl", ADDRESS_CHARACTERS_MAX)

    def normalised(self) -> dict[str, object]:
        return {
            "billingId": self.billing_id,
            "status": self.status.value,
            "createdAt": None if self.created_at is None else self.created_at.isoformat(),
            "updatedAt": None if self.updated_at is None else self.updated_at.isoformat(),
            "dueDate": None if self.due_at is None else self.due_at.isoformat(),
            "currency": self.currency,
            "total": None if self.total is None else plain(self.total),
            "amountDue": None if self.amount_due is None else plain(self.amount_due),
            "requiresAction": self.requires_action or None,
            "errorMessage": self.error_message,
            "paymentUrl": self.payment_url,
            "pdfUrl": self.pdf_url,
        }

    def recorded(self, now: Instant, before: Invoice | None) -> Invoice:
        """As it stands in the event; an invoice that is known already keeps its beginning."""
        known_since = before.created_at if before is not None and before.billing_id == self.billing_id else now
        return Invoice(
            billing_id=self.billing_id,
            status=self.status,
            created_at=self.created_at or known_since,
            updated_at=self.updated_at or now,
            due_at=self.due_at,
            currency=self.currency,
            total=self.total,
            amount_due=self.amount_due,
            requires_action=self.requires_action,
        )


@dataclass(slots=True, kw_only=True)
class RecordGrantPayment(GrantCommand):
    """Record how far the payment of a grant has come, and its latest invoice. NOT_REQUIRED: it is paid."""

    operation: ClassVar[str] = "record_grant_payment"
    FIELD: ClassVar[str] = "creditGrantId"

    collection: PaymentCollection
    invoice: InvoiceTold | None = None

    def __post_init__(self) -> None:
        self.check_envelope()
        self.collection = choice(PaymentCollection, self.collection, field="paymentCollection")
        if self.invoice is not None and not isinstance(self.invoice, InvoiceTold):
            raise InvalidArgument("invoice", "must be an InvoiceTold")

    def normalised(self) -> dict[str, object]:
        invoice = None if self.invoice is None else self.invoice.normalised()
        return {"collection": self.collection.value, "invoice": invoice}

    def document(self, known: Known) -> Document | None:
        told = self.invoice
        if told is None:
            return None
        return Document.of(error_message=told.error_message, payment_url=told.payment_url, pdf_url=told.pdf_url)

    def decide(self, decision: Decision, known: Known) -> None:
        lot = self.lot_in(decision, known)
        invoice = None
        if self.invoice is not None:
            invoice = self.invoice.recorded(decision.now, credit_grant.details_of(lot).payment.invoice)
            invoice = invoice.model_copy(update={"texts": decision.transaction.document})
        credit_grant.record_payment(decision, lot, self.collection, invoice)


@dataclass(slots=True, kw_only=True)
class MarkInvoicePaid(GrantCommand):
    """Record the latest invoice of a grant as paid."""

    operation: ClassVar[str] = "mark_invoice_paid"
    FIELD: ClassVar[str] = "creditGrantId"

    def __post_init__(self) -> None:
        self.check_envelope()

    def normalised(self) -> dict[str, object]:
        return {}

    def decide(self, decision: Decision, known: Known) -> None:
        credit_grant.mark_invoice_paid(decision, self.lot_in(decision, known))


def _text(value: str | None, field: str, characters_max: int) -> str | None:
    return None if value is None else text_of(value, field=field, characters_max=characters_max)
