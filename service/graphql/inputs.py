"""The contract's inputs of credit grants."""

from datetime import datetime
from decimal import Decimal

import strawberry
from strawberry.scalars import JSON

from service.graphql.lists import CreditLedgerEventType
from service.graphql.paging import Paging
from service.graphql.scalars import Currency
from service.graphql.types import CreditGrantStatus, CreditGrantType


@strawberry.input
class MoneyInput:
    amount: float | None = None
    amount_exact: Decimal | None = None
    currency: Currency | None = None


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
    effective_at: datetime | None = None
    expire_at: datetime | None = None
    priority: float | None = None
    comment: str | None = None
    additional_meta_data: JSON | None = None
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
