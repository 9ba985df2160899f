"""The contract's types of credit grants, built from rows of the read side."""

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from ledger.domain.instants import Instant
from projections.lots.queries import LotRow
from service.graphql.context import Info
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

    @strawberry.field
    def amount(self) -> float:
        return float_of(self.units)

    @strawberry.field
    def amount_exact(self) -> Decimal:
        return exact_of(self.units)


@strawberry.type
class CreditGrantInvoice:
    billing_id: str
    status: CreditGrantInvoiceStatus
    created_at: datetime
    updated_at: datetime
    due_date: datetime | None
    currency: str | None
    total: float | None
    total_exact: Decimal | None
    amount_due: float | None
    amount_due_exact: Decimal | None
    requires_action: bool
    error_message: str | None
    payment_url: str | None
    pdf_url: str | None


@strawberry.type(description="Credits given to a customer: drawn down until used up, expired or void.")
class CreditGrant:
    row: strawberry.Private[LotRow]
    now: strawberry.Private[Instant]

    @strawberry.field
    def id(self) -> UUID:
        return UUID(self.row.stream_id)

    @strawberry.field(description="A readable id; accepted wherever an id is.")
    def grant_id(self) -> str:
        return self.row.readable_id or ""

    @strawberry.field
    async def display_name(self, info: Info) -> str:
        name: str = (await self._texts(info)).get("display_name", ERASED)
        return name

    @strawberry.field
    def grant_type(self) -> CreditGrantType:
        assert self.row.grant_type is not None
        return CreditGrantType(self.row.grant_type.value)

    @strawberry.field
    def status(self) -> CreditGrantStatus:
        return CreditGrantStatus(self.row.status(self.now).value)

    @strawberry.field(description="Total credits in this grant.")
    def amount(self) -> float:
        return float_of(self.row.granted)

    @strawberry.field
    def amount_exact(self) -> Decimal:
        return exact_of(self.row.granted)

    @strawberry.field(description="Credits consumed, net of refunds.")
    def consumed_amount(self) -> float:
        return float_of(self.row.used)

    @strawberry.field
    def consumed_amount_exact(self) -> Decimal:
        return exact_of(self.row.used)

    @strawberry.field(description="What is left to use, now or once the grant begins; 0 once it has ended.")
    def remaining_amount(self) -> Decimal:
        return exact_of(self.row.remaining(self.now))

    @strawberry.field(description="Fiat cost of the whole grant; 0 when free.")
    def cost(self) -> Money:
        return Money(units=self.row.cost_amount or 0, currency=Currency(self.row.cost_currency or "USD"))

    @strawberry.field
    def customer_id(self) -> str:
        return self.row.holder

    @strawberry.field(description="The resource these credits are for; null: the customer's own pool.")
    def resource_id(self) -> str | None:
        return self.row.resource

    @strawberry.field(description="The custom currency of these credits.")
    def currency_id(self) -> str:
        return self.row.currency

    @strawberry.field
    def effective_at(self) -> datetime:
        return self.row.effective_at

    @strawberry.field
    def created_at(self) -> datetime:
        return self.row.created_at

    @strawberry.field(description="When the last event of this grant was recorded.")
    def updated_at(self) -> datetime:
        return self.row.updated_at

    @strawberry.field
    def expire_at(self) -> datetime | None:
        return self.row.expires_at

    @strawberry.field
    def voided_at(self) -> datetime | None:
        return self.row.voided_at

    @strawberry.field
    def invoice_id(self) -> str | None:
        return None

    @strawberry.field
    def latest_invoice(self) -> CreditGrantInvoice | None:
        return None

    @strawberry.field(description="NOT_REQUIRED also once paid.")
    def payment_collection(self) -> PaymentCollection:
        return PaymentCollection.PROCESSING if self.row.awaiting_payment else PaymentCollection.NOT_REQUIRED

    @strawberry.field(description="Lower is used first; 0 to 100.")
    def priority(self) -> float:
        return float_of(self.row.priority)

    @strawberry.field
    def priority_exact(self) -> Decimal:
        return exact_of(self.row.priority)

    @strawberry.field(description="The recharge configuration that made the grant.")
    def automatic_recharge_configuration_id(self) -> UUID | None:
        return None

    @strawberry.field
    async def comment(self, info: Info) -> str | None:
        return (await self._texts(info)).get("comment")

    @strawberry.field
    async def additional_meta_data(self, info: Info) -> JSON | None:
        return (await self._texts(info)).get("metadata")

    @strawberry.field(description="The grantId of the grant whose remainder this one carries on.")
    def rolled_over_from(self) -> str | None:
        return None

    @strawberry.field(description="The grantId of the grant that this one's remainder went to.")
    def rolled_over_to(self) -> str | None:
        return None

    async def _texts(self, info: Info) -> dict[str, Any]:
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
        return (await info.context.issued.load(self.credit_grant_id)).readable_id or ""  # type: ignore[arg-type]  # a stream's id, as text

    @strawberry.field
    def amount(self) -> float:
        return float_of(self.units)

    @strawberry.field
    def amount_exact(self) -> Decimal:
        return exact_of(self.units)


@strawberry.type(description="The usable grants of a pool at an instant: what of them is used, and what they held.")
class CreditUsageState:
    currency_id: str
    used: strawberry.Private[int]
    granted: strawberry.Private[int]
    timestamp: datetime

    @strawberry.field
    def current_usage(self) -> float:
        return float_of(self.used)

    @strawberry.field
    def current_usage_exact(self) -> Decimal:
        return exact_of(self.used)

    @strawberry.field
    def usage_limit(self) -> float:
        return float_of(self.granted)

    @strawberry.field
    def usage_limit_exact(self) -> Decimal:
        return exact_of(self.granted)
