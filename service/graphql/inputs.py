"""The contract's inputs of credit grants."""

from datetime import datetime
from decimal import Decimal

import strawberry
from strawberry.scalars import JSON

from ledger.domain.credits import credits_decimal
from service.graphql.lists import CreditLedgerEventType
from service.graphql.paging import Paging
from service.graphql.scalars import Currency, units_given
from service.graphql.types import (
    CreditGrantInvoiceStatus,
    CreditGrantStatus,
    CreditGrantType,
    PaymentCollection,
    PaymentCollectionMethod,
)

DEFAULT_CURRENCY = "USD"


@strawberry.input
class MoneyInput:
    amount: float | None = None
    amount_exact: Decimal | None = None
    currency: Currency | None = None


def money_of(given: MoneyInput | None, *, field: str) -> tuple[Decimal, str]:
    """Money and its currency: none in USD, where none was given. Refuses: InvalidArgument."""
    if given is None:
        return Decimal(0), DEFAULT_CURRENCY
    units = units_given(given.amount, given.amount_exact, field=f"{field}.amount")
    return credits_decimal(units or 0), DEFAULT_CURRENCY if given.currency is None else given.currency


@strawberry.input
class CreditGrantInput:
    customer_id: str
    currency_id: str
    display_name: str
    grant_type: CreditGrantType
    amount: float | None = None
    amount_exact: Decimal | None = None
    resource_id: str | None = None
    cost: MoneyInput | None = None
    payment_collection_method: PaymentCollectionMethod | None = strawberry.field(
        default=None, description="How the cost is collected. Default: NONE, active at once."
    )
    await_payment_confirmation: bool | None = strawberry.field(
        default=None, description="Whether a CHARGE is PENDING until its payment is recorded. Default: true."
    )
    effective_at: datetime | None = None
    expire_at: datetime | None = None
    priority: float | None = None
    priority_exact: Decimal | None = None
    comment: str | None = None
    additional_meta_data: JSON | None = None
    idempotency_key: str | None = None


@strawberry.input(
    description="What is absent stays as it is; null takes expireAt, comment and additionalMetaData away."
)
class UpdateCreditGrantInput:
    id: str
    display_name: str | None = None
    effective_at: datetime | None = strawberry.field(default=None, description="Only before it has begun.")
    expire_at: datetime | None = strawberry.UNSET
    priority: float | None = None
    priority_exact: Decimal | None = None
    comment: str | None = strawberry.UNSET
    additional_meta_data: JSON | None = strawberry.UNSET
    idempotency_key: str | None = None


@strawberry.input
class MarkInvoiceAsPaidInput:
    credit_grant_id: str
    idempotency_key: str | None = None


@strawberry.input(description="An invoice as the one who bills tells it; instants that are absent are now.")
class CreditGrantInvoiceInput:
    billing_id: str
    status: CreditGrantInvoiceStatus
    created_at: datetime | None = None
    updated_at: datetime | None = None
    due_date: datetime | None = None
    currency: Currency | None = None
    total: float | None = None
    total_exact: Decimal | None = None
    amount_due: float | None = None
    amount_due_exact: Decimal | None = None
    requires_action: bool | None = None
    error_message: str | None = None
    payment_url: str | None = None
    pdf_url: str | None = None


@strawberry.input
class RecordGrantPaymentInput:
    credit_grant_id: str
    payment_collection: PaymentCollection = strawberry.field(
        description="NOT_REQUIRED: it is paid, and the credits can be used."
    )
    invoice: CreditGrantInvoiceInput | None = None
    idempotency_key: str | None = None


@strawberry.input
class VoidCreditGrantInput:
    id: str
    reason: str | None = None
    idempotency_key: str | None = None


@strawberry.input
class ConsumeCreditInput:
    customer_id: str
    currency_id: str
    idempotency_key: str
    amount: float | None = None
    amount_exact: Decimal | None = None
    resource_id: str | None = None
    created_at: datetime | None = None
    dimensions: JSON | None = None
    account_group_ids: list[str] | None = None


@strawberry.input(description="1 to 1000 consumptions, each accepted or refused by itself.")
class ConsumeCreditsAsyncInput:
    consumptions: list[ConsumeCreditInput]


@strawberry.input
class RefundCreditsInput:
    transaction_id: str
    idempotency_key: str
    amount: float | None = None
    amount_exact: Decimal | None = None
    reason: str | None = None


@strawberry.input
class GetCreditGrantsInput:
    customer_id: str
    currency_id: str | None = None
    resource_id: str | None = None
    status: CreditGrantStatus | None = None
    paging: Paging | None = None
    at_least: str | None = None


@strawberry.input
class CreditBalanceSummaryInput:
    customer_id: str
    currency_id: str | None = None
    resource_id: str | None = None
    at_least: str | None = None


@strawberry.input
class CreditLedgerInput:
    customer_id: str
    currency_id: str | None = None
    resource_id: str | None = None
    event_type: list[CreditLedgerEventType] | None = None
    paging: Paging | None = None
    at_least: str | None = None
