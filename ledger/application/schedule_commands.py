"""Commands on grant schedules."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from ledger.application.commands import Command, Known, PoolCommand
from ledger.application.inputs import Document, choice, currency_of, exact, id_of, plain, positive, priority_of
from ledger.domain import grant_schedule
from ledger.domain.credits import credits_text
from ledger.domain.decision import Decision
from ledger.domain.events import Rollover, SchedulePlan
from ledger.domain.grant_details import Cost
from ledger.domain.refusals import GrantScheduleNotFound, InvalidArgument, Refusal
from ledger.domain.values import (
    BillingPeriod,
    Cadence,
    Kind,
    StreamId,
    optional_instant,
    text_of,
)

ROLLOVER_PERIODS_MAX = 1200


@dataclass(slots=True, kw_only=True)
class CreateGrantSchedule(PoolCommand):
    """Grant credits at each billing period, or in monthly parts of it, from an anchor on (default: now).

    With `rollover_periods` what is left of a part, at most `rollover_max`, rolls over once, for so many periods.
    """

    operation: ClassVar[str] = "create_grant_schedule"
    kind: ClassVar[Kind] = Kind.CREDIT_GRANT

    display_name: str
    amount: Any
    billing_period: BillingPeriod
    cadence: Cadence
    anchor_at: datetime | None = None
    priority: str | int | Decimal = 50
    cost: str | int | Decimal = 0
    cost_currency: str = "USD"
    rollover_max: Any = None
    rollover_periods: int | None = None

    def __post_init__(self) -> None:
        self.check_envelope()
        self.display_name = text_of(self.display_name, field="displayName")
        self.amount = positive(self.amount, field="amountPerPeriod")
        self.billing_period = choice(BillingPeriod, self.billing_period, field="billingPeriod")
        self.cadence = choice(Cadence, self.cadence, field="cadence")
        self.anchor_at = optional_instant(self.anchor_at, field="anchorAt")
        self.priority = priority_of(self.priority)
        self.cost = exact(self.cost, field="cost")
        self.cost_currency = currency_of(self.cost_currency, field="costCurrency")
        if self.rollover_max is not None:
            self.rollover_max = positive(self.rollover_max, field="rollover.maxAmount")
        periods = self.rollover_periods
        if periods is None and self.rollover_max is not None:
            raise InvalidArgument("rollover.expiresAfterPeriods", "must be given")
        if periods is not None and (type(periods) is not int or not 1 <= periods <= ROLLOVER_PERIODS_MAX):
            raise InvalidArgument("rollover.expiresAfterPeriods", f"must be from 1 to {ROLLOVER_PERIODS_MAX}")

    def normalised(self) -> dict[str, object]:
        return {
            "currency": self.currency,
            "resource": self.resource,
            "displayName": self.display_name,
            "amountPerPeriod": credits_text(self.amount),
            "billingPeriod": self.billing_period.value,
            "cadence": self.cadence.value,
            "anchorAt": None if self.anchor_at is None else self.anchor_at.isoformat(),
            "priority": plain(self.priority),
            "cost": plain(self.cost),
            "costCurrency": self.cost_currency,
            "rollover.maxAmount": None if self.rollover_max is None else credits_text(self.rollover_max),
            "rollover.expiresAfterPeriods": self.rollover_periods,
        }

    def document(self, known: Known) -> Document | None:
        return Document.of(display_name=self.display_name)

    def decide(self, decision: Decision, known: Known) -> None:
        rollover = None
        if self.rollover_periods is not None:
            rollover = Rollover(max_amount=self.rollover_max, expires_after_periods=self.rollover_periods)
        plan = SchedulePlan(
            cadence=self.cadence,
            billing_period=self.billing_period,
            amount=self.amount,
            anchor_at=decision.now if self.anchor_at is None else self.anchor_at,
            priority=Decimal(self.priority),
            cost=Cost(amount=Decimal(self.cost), currency=self.cost_currency),
            rollover=rollover,
            first_part=0,
            created_at=decision.now,
        )
        grant_schedule.define(decision, StreamId(decision.new_id()), plan)


@dataclass(slots=True, kw_only=True)
class EndGrantSchedule(Command):
    """Stop a schedule's grants from now on; those that there are stay."""

    operation: ClassVar[str] = "end_grant_schedule"
    kind: ClassVar[Kind] = Kind.CREDIT_GRANT

    schedule: str

    def __post_init__(self) -> None:
        self.check_envelope()
        self.schedule = id_of(self.schedule, field="schedule")

    @property
    def scope(self) -> str:
        return self.schedule

    @property
    def named(self) -> str:
        return self.schedule

    def not_found(self) -> Refusal:
        return GrantScheduleNotFound(self.schedule)

    def normalised(self) -> dict[str, object]:
        return {}

    def decide(self, decision: Decision, known: Known) -> None:
        stream_id = known.streams.get(self.schedule)
        schedule = None if stream_id is None else decision.pool.schedules.get(stream_id)
        if schedule is None:
            raise self.not_found()
        grant_schedule.end(decision, schedule)
