"""Grant schedules: their types and inputs, their mutations and their query."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import strawberry

from ledger.application import CreateGrantSchedule, EndGrantSchedule, Receipt
from ledger.domain.credits import credits_of
from ledger.domain.events import GrantScheduleDefined, Rollover
from ledger.domain.instants import Instant
from ledger.domain.values import BillingPeriod, Cadence, text_of
from projections.schedules.queries import ScheduleRow, schedule_as_defined, schedules_of
from service.graphql.context import Info
from service.graphql.fields import shows
from service.graphql.inputs import MoneyInput, money_of
from service.graphql.scalars import (
    DEFAULT_PRIORITY,
    Currency,
    amount_given,
    amount_of,
    exact_of,
    float_of,
    priority_given,
)
from service.graphql.types import ERASED, Money


@strawberry.enum(description="When a schedule grants: at the beginning of a billing period, or in monthly parts of it.")
class CreditGrantCadence(Enum):
    BEGINNING_OF_BILLING_PERIOD = "BEGINNING_OF_BILLING_PERIOD"
    MONTHLY = "MONTHLY"


@strawberry.enum
class GrantScheduleBillingPeriod(Enum):
    MONTH = "MONTH"
    YEAR = "YEAR"


@strawberry.enum
class GrantScheduleStatus(Enum):
    ACTIVE = "ACTIVE"
    ENDED = "ENDED"


@strawberry.type(description="What a schedule's grants leave behind when they end.")
class GrantScheduleRollover:
    rollover: strawberry.Private[Rollover]

    max_amount: float | None = shows(
        lambda it: None if it.rollover.max_amount is None else float_of(it.rollover.max_amount),
        "At most so much of each grant; null: all of it.",
    )
    max_amount_exact: Decimal | None = shows(
        lambda it: None if it.rollover.max_amount is None else exact_of(it.rollover.max_amount)
    )
    expires_after_periods: int = shows(
        lambda it: it.rollover.expires_after_periods, "How many billing periods the ROLLOVER grant lasts."
    )


@strawberry.type(description="SUBSCRIPTION grants at calendar steps from an anchor, each once.")
class GrantSchedule:
    row: strawberry.Private[ScheduleRow]
    now: strawberry.Private[Instant]
    texts: strawberry.Private[Mapping[str, Any] | None] = None
    """The texts of its document, where they are at hand."""

    id: UUID = shows(lambda it: UUID(it.row.schedule))
    customer_id: str = shows(lambda it: it.row.holder)
    currency_id: str = shows(lambda it: it.row.currency)
    resource_id: str | None = shows(lambda it: it.row.resource)

    @strawberry.field(description="What its grants are called.")
    async def display_name(self, info: Info) -> str:
        texts = self.texts
        if texts is None and self.row.document_id is not None:
            texts = await info.context.documents.load(self.row.document_id)
        name: str = (texts or {}).get("display_name", ERASED)
        return name

    amount_per_period: float = shows(lambda it: float_of(it.row.plan.amount))
    amount_per_period_exact: Decimal = shows(lambda it: exact_of(it.row.plan.amount))
    billing_period: GrantScheduleBillingPeriod = shows(
        lambda it: GrantScheduleBillingPeriod(it.row.plan.billing_period.value)
    )
    cadence: CreditGrantCadence = shows(lambda it: CreditGrantCadence(it.row.plan.cadence.value))
    anchor_at: datetime = shows(lambda it: it.row.plan.anchor_at, "Periods step by calendar months from here.")
    priority: float = shows(lambda it: float(it.row.plan.priority))
    priority_exact: Decimal = shows(lambda it: exact_of(credits_of(it.row.plan.priority)))
    cost: Money = shows(
        lambda it: Money(units=credits_of(it.row.plan.cost.amount), currency=Currency(it.row.plan.cost.currency)),
        "Fiat cost of a billing period.",
    )
    rollover: GrantScheduleRollover | None = shows(
        lambda it: None if it.row.plan.rollover is None else GrantScheduleRollover(rollover=it.row.plan.rollover)
    )
    status: GrantScheduleStatus = shows(
        lambda it: GrantScheduleStatus.ACTIVE if it.row.plan.ended_at is None else GrantScheduleStatus.ENDED
    )
    next_grant_at: datetime | None = shows(
        lambda it: it.row.next_grant_at(it.now), "When it grants next; null once it has ended."
    )
    created_at: datetime = shows(lambda it: it.row.plan.created_at)
    ended_at: datetime | None = shows(lambda it: it.row.plan.ended_at)


@strawberry.input
class GrantScheduleRolloverInput:
    expires_after_periods: int
    max_amount: float | None = None
    max_amount_exact: Decimal | None = None


@strawberry.input
class CreateGrantScheduleInput:
    customer_id: str
    currency_id: str
    display_name: str
    billing_period: GrantScheduleBillingPeriod
    cadence: CreditGrantCadence
    amount_per_period: float | None = None
    amount_per_period_exact: Decimal | None = None
    resource_id: str | None = None
    anchor_at: datetime | None = strawberry.field(default=None, description="Default: now.")
    priority: float | None = None
    priority_exact: Decimal | None = None
    cost: MoneyInput | None = strawberry.field(default=None, description="Of a billing period.")
    rollover: GrantScheduleRolloverInput | None = None
    idempotency_key: str | None = None


@strawberry.input
class EndGrantScheduleInput:
    id: str
    idempotency_key: str | None = None


@strawberry.type
class ScheduleMutations:
    @strawberry.mutation(description="Grant credits each billing period, or in monthly parts of it.")
    async def create_grant_schedule(self, info: Info, input: CreateGrantScheduleInput) -> GrantSchedule | None:
        receipt = await info.context.carry_out(lambda: schedule_of(input))
        texts = None if receipt.replayed else {"display_name": input.display_name}
        return _schedule(receipt, texts)

    @strawberry.mutation(description="Stop a schedule's future grants; those that there are stay.")
    async def end_grant_schedule(self, info: Info, input: EndGrantScheduleInput) -> GrantSchedule | None:
        return _schedule(
            await info.context.carry_out(
                lambda: EndGrantSchedule(schedule=input.id, idempotency_key=input.idempotency_key)
            )
        )


@strawberry.type
class ScheduleQueries:
    @strawberry.field(description="The grant schedules of a customer, newest first, at most 1000.")
    async def grant_schedules(self, info: Info, customer_id: str) -> list[GrantSchedule] | None:
        holder = text_of(customer_id, field="customerId")
        rows, now = await info.context.ask(
            lambda snapshot: (schedules_of(snapshot, holder), snapshot.now), holder=holder
        )
        return [GrantSchedule(row=row, now=now) for row in rows]


def schedule_of(given: CreateGrantScheduleInput) -> CreateGrantSchedule:
    """The command of createGrantSchedule. Refuses: InvalidArgument."""
    (cost, cost_currency), rollover = money_of(given.cost, field="cost"), given.rollover
    priority = priority_given(given.priority, given.priority_exact)
    limit = None
    if rollover is not None:
        limit = amount_given(rollover.max_amount, rollover.max_amount_exact, field="rollover.maxAmount")
    return CreateGrantSchedule(
        holder=given.customer_id,
        currency=given.currency_id,
        resource=given.resource_id,
        display_name=given.display_name,
        amount=amount_of(given.amount_per_period, given.amount_per_period_exact, field="amountPerPeriod"),
        billing_period=BillingPeriod(given.billing_period.value),
        cadence=Cadence(given.cadence.value),
        anchor_at=given.anchor_at,
        priority=DEFAULT_PRIORITY if priority is None else priority,
        cost=cost,
        cost_currency=cost_currency,
        rollover_max=limit,
        rollover_periods=None if rollover is None else rollover.expires_after_periods,
        idempotency_key=given.idempotency_key,
    )


def _schedule(receipt: Receipt, texts: Mapping[str, Any] | None = None) -> GrantSchedule:
    event = receipt.events[0]
    assert isinstance(event, GrantScheduleDefined)
    return GrantSchedule(row=schedule_as_defined(event), now=event.transaction.recorded_at, texts=texts)
