"""The contract's types of credit grants, built from rows of the read side."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from ledger.domain.credits import credits_of, credits_text
from ledger.domain.grant_details import Invoice
from ledger.domain.instants import Instant
from ledger.domain.values import InvoiceStatus, StreamId
from projections.lots.queries import LotRow
from service.graphql.context import Info
from service.graphql.fields import shows
from service.graphql.scalars import Currency, exact_of, float_of

ERASED = "[erased]"
"""Stands for a text that was erased where the contract has it non-null."""


@strawberry.enum
class CreditGrantType(Enum):
    PROMOTIONAL = "PROMOTIONAL"
    PAID = "PAID"
    ROLLOVER = "ROLLOVER"
    SUBSCRIPTION = "SUBSCRIPTION"


@strawberry.enum(description="Derived at the instant of the read, in this precedence; never stored.")
class CreditGrantStatus(Enum):
    VOIDED = "VOIDED"
    CONSUMED = "CONSUMED"
    EXPIRED = "EXPIRED"
    PENDING = "PENDING"
    ACTIVE = "ACTIVE"


@strawberry.enum
class PaymentCollection(Enum):
    NOT_REQUIRED = "NOT_REQUIRED"
    PROCESSING = "PROCESSING"
    FAILED = "FAILED"
    ACTION_REQUIRED = "ACTION_REQUIRED"


@strawberry.enum
class CreditGrantInvoiceStatus(Enum):
    OPEN = "OPEN"
    PAID = "PAID"
    CANCELED = "CANCELED"


@strawberry.type(description="Fiat money in full units, not cents.")
class Money:
    units: strawberry.Private[int]
    currency: Currency

    amount: float = shows(lambda it: float_of(it.units))
    amount_exact: Decimal = shows(lambda it: exact_of(it.units))


@strawberry.enum
class PaymentCollectionMethod(Enum):
    NONE = "NONE"
    INVOICE = "INVOICE"
    CHARGE = "CHARGE"


@strawberry.type(description="The latest invoice of a grant, as the one who bills told it.")
class CreditGrantInvoice:
    invoice: strawberry.Private[Invoice]

    billing_id: str = shows(lambda it: it.invoice.billing_id)
    status: CreditGrantInvoiceStatus = shows(lambda it: CreditGrantInvoiceStatus(it.invoice.status.value))
    created_at: datetime = shows(lambda it: it.invoice.created_at)
    updated_at: datetime = shows(lambda it: it.invoice.updated_at)
    due_date: datetime | None = shows(lambda it: it.invoice.due_at)
    currency: str | None = shows(lambda it: it.invoice.currency)
    total: float | None = shows(lambda it: None if it.invoice.total is None else float(it.invoice.total))
    total_exact: Decimal | None = shows(lambda it: _exact(it.invoice.total))
    amount_due: float | None = shows(lambda it: None if it.invoice.amount_due is None else float(it.invoice.amount_due))
    amount_due_exact: Decimal | None = shows(lambda it: _exact(it.invoice.amount_due))
    requires_action: bool = shows(lambda it: it.invoice.requires_action)

    @strawberry.field
    async def error_message(self, info: Info) -> str | None:
        return None if self.invoice.status is InvoiceStatus.PAID else await self._text(info, "error_message")

    @strawberry.field
    async def payment_url(self, info: Info) -> str | None:
        return await self._text(info, "payment_url")

    @strawberry.field
    async def pdf_url(self, info: Info) -> str | None:
        return await self._text(info, "pdf_url")

    async def _text(self, info: Info, name: str) -> str | None:
        if self.invoice.texts is None:
            return None
        return (await info.context.documents.load(self.invoice.texts.document_id) or {}).get(name)


@strawberry.type(description="Credits given to a customer: drawn down until used up, expired or void.")
class CreditGrant:
    row: strawberry.Private[LotRow]
    now: strawberry.Private[Instant]
    texts: strawberry.Private[Mapping[str, Any] | None] = None
    """The texts of its document, where they are at hand."""

    id: UUID = shows(lambda it: UUID(it.row.stream_id))
    grant_id: str = shows(lambda it: it.row.readable_id or "", "A readable id; accepted wherever an id is.")

    @strawberry.field
    async def display_name(self, info: Info) -> str:
        name: str = (await self._texts(info)).get("display_name", ERASED)
        return name

    grant_type: CreditGrantType = shows(lambda it: CreditGrantType(it.row.grant_type.value))
    status: CreditGrantStatus = shows(lambda it: CreditGrantStatus(it.row.status(it.now).value))
    amount: float = shows(lambda it: float_of(it.row.granted), "Total credits in this grant.")
    amount_exact: Decimal = shows(lambda it: exact_of(it.row.granted))
    consumed_amount: float = shows(lambda it: float_of(it.row.used), "Credits consumed, net of refunds.")
    consumed_amount_exact: Decimal = shows(lambda it: exact_of(it.row.used))
    remaining_amount: Decimal = shows(
        lambda it: exact_of(it.row.remaining(it.now)),
        "What is left to use, now or once the grant begins; 0 once it has ended.",
    )
    cost: Money = shows(
        lambda it: Money(units=it.row.cost_amount or 0, currency=Currency(it.row.cost_currency or "USD")),
        "Fiat cost of the whole grant; 0 when free.",
    )
    customer_id: str = shows(lambda it: it.row.holder)
    resource_id: str | None = shows(
        lambda it: it.row.resource, "The resource these credits are for; null: the customer's own pool."
    )
    currency_id: str = shows(lambda it: it.row.currency, "The custom currency of these credits.")
    effective_at: datetime = shows(lambda it: it.row.effective_at)
    created_at: datetime = shows(lambda it: it.row.created_at)
    updated_at: datetime = shows(lambda it: it.row.updated_at, "When the last event of this grant was recorded.")
    expire_at: datetime | None = shows(lambda it: it.row.expires_at)
    voided_at: datetime | None = shows(lambda it: it.row.voided_at)
    invoice_id: str | None = shows(lambda it: None if it.invoice is None else it.invoice.billing_id)
    latest_invoice: CreditGrantInvoice | None = shows(
        lambda it: None if it.invoice is None else CreditGrantInvoice(invoice=it.invoice)
    )
    payment_collection: PaymentCollection = shows(
        lambda it: PaymentCollection(it.row.details.payment.collection.value), "NOT_REQUIRED also once paid."
    )
    priority: float = shows(lambda it: float_of(it.row.priority), "Lower is used first; 0 to 100.")
    priority_exact: Decimal = shows(lambda it: exact_of(it.row.priority))
    automatic_recharge_configuration_id: UUID | None = shows(
        lambda it: None if it.row.details.recharge is None else UUID(it.row.details.recharge.configuration_id),
        "The recharge configuration that made the grant.",
    )

    @strawberry.field
    async def comment(self, info: Info) -> str | None:
        return (await self._texts(info)).get("comment")

    @strawberry.field
    async def additional_meta_data(self, info: Info) -> JSON | None:
        return (await self._texts(info)).get("metadata")

    rolled_over_from: str | None = shows(
        lambda it: None if it.row.details.rolled_over_from is None else it.row.details.rolled_over_from.readable_id,
        "The grantId of the grant whose remainder this one carries on.",
    )

    @strawberry.field(description="The grantId of the grant that this one's remainder went to.")
    async def rolled_over_to(self, info: Info) -> str | None:
        return None if self.row.rolled_over_to is None else await info.context.names.load(self.row.rolled_over_to)

    @property
    def invoice(self) -> Invoice | None:
        assert self.row.details is not None
        return self.row.details.payment.invoice

    async def _texts(self, info: Info) -> Mapping[str, Any]:
        if self.texts is not None:
            return self.texts
        if self.row.document_id is None:
            return {}
        return await info.context.documents.load(self.row.document_id) or {}


@strawberry.type
class PageInfo:
    start_cursor: str | None
    end_cursor: str | None
    has_next_page: bool
    has_previous_page: bool


@strawberry.type(description="What one debit took from one grant, or a refund gave back to it.")
class CreditDraw:
    units: strawberry.Private[int]
    credit_grant_id: str

    @strawberry.field
    async def grant_id(self, info: Info) -> str:
        return await info.context.names.load(StreamId(self.credit_grant_id))

    amount: float = shows(lambda it: float_of(it.units))
    amount_exact: Decimal = shows(lambda it: exact_of(it.units))


@strawberry.type(description="The usable grants of a pool at an instant: what of them is used, and what they held.")
class CreditUsageState:
    currency_id: str
    used: strawberry.Private[int]
    granted: strawberry.Private[int]
    timestamp: datetime

    current_usage: float = shows(lambda it: float_of(it.used))
    current_usage_exact: Decimal = shows(lambda it: exact_of(it.used))
    usage_limit: float = shows(lambda it: float_of(it.granted))
    usage_limit_exact: Decimal = shows(lambda it: exact_of(it.granted))


def _exact(money: Decimal | None) -> Decimal | None:
    """Money in its shortest text."""
    return None if money is None else Decimal(credits_text(credits_of(money)))
