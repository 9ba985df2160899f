"""The parts of messages: how amounts and instants are told, and what a grant, a schedule or a rule says.

They read what the view `movements` has and refuse what they do not know, so that nothing is told by halves.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from pydantic.alias_generators import to_camel

from ledger.domain.credits import EXACT, credits_text
from ledger.domain.instants import instant_text
from ledger.domain.values import (
    ActorKind,
    BillingPeriod,
    Cadence,
    CreditType,
    ExpirationPeriod,
    InvoiceStatus,
    PaymentCollection,
    PaymentMethod,
    RollupType,
)


def _exact(value: object) -> object:
    """An amount as its shortest text: of whole billionths, as columns are loaded, or of a decimal's text."""
    if isinstance(value, int):
        return credits_text(value)
    return f"{Decimal(value).normalize(EXACT):f}" if isinstance(value, str) else value


Exact: TypeAlias = Annotated[str, BeforeValidator(_exact), Field(pattern=r"^-?[0-9]+(\.[0-9]{1,9})?$")]
At: TypeAlias = Annotated[
    datetime, PlainSerializer(instant_text), Field(json_schema_extra={"type": "string", "format": "date-time"})
]
Id: TypeAlias = Annotated[str, Field(json_schema_extra={"format": "uuid"})]


class Wire(BaseModel):
    """A part of a message: named as our columns inside, in camelCase outside."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=False,
        json_schema_serialization_defaults_required=True,  # what a message says, it always says
    )


class ActorTold(Wire):
    """Whose request it was: an API key, an operator, or the ledger itself."""

    kind: ActorKind
    key: str


class DocumentTold(Wire):
    """The free texts of the transaction. Once they are erased, only their hash is left."""

    document_id: Id
    sha256: str
    texts: dict[str, Any] | None


class Reference(Wire):
    """A document of free texts."""

    document_id: Id
    sha256: str

    @model_validator(mode="before")
    @classmethod
    def _as_the_log_has_it(cls, value: object) -> object:
        return dict(zip(("document_id", "sha256"), value, strict=True)) if isinstance(value, list) else value


class After(Wire):
    """The lot, and the balance of its whole pool, after the event. Granted is all that ever came in by grant."""

    lot_granted: Exact
    lot_used: Exact
    lot_balance: Exact
    pool_balance: Exact


class TermsTold(Wire):
    """The lot is usable in [effectiveAt, expiresAt), or without end; lower priority is used first."""

    effective_at: At
    expires_at: At | None
    created_at: At
    priority: Exact
    awaiting_payment: bool


class Money(Wire):
    amount: Exact
    currency: str


class InvoiceTold(Wire):
    billing_id: str
    status: InvoiceStatus
    created_at: At
    updated_at: At
    due_at: At | None = None
    currency: str | None = None
    total: Exact | None = None
    amount_due: Exact | None = None
    requires_action: bool = False
    texts: Reference | None = None


class PaymentTold(Wire):
    method: PaymentMethod = PaymentMethod.NONE
    collection: PaymentCollection = PaymentCollection.NOT_REQUIRED
    paid_at: At | None = None
    invoice: InvoiceTold | None = None


class ScheduledPartTold(Wire):
    schedule_id: Id
    part: int


class OriginTold(Wire):
    grant_id: Id
    readable_id: str


class RechargeTold(Wire):
    configuration_id: Id
    number: int


class GrantTold(Wire):
    """What a credit grant is besides its lot."""

    readable_id: str
    cost: Money
    payment: PaymentTold = PaymentTold()
    scheduled: ScheduledPartTold | None = None
    rolled_over_from: OriginTold | None = None
    recharge: RechargeTold | None = None
    texts: Reference | None = None


class ExecutionCredit(Wire):
    credit_type: CreditType
    rollup_type: RollupType
    credits: Exact
    anchor_at: At
    created_at: At
    deleted_at: At | None
    next_rollup_type: RollupType | None = None
    first_month: int = 0


class RolloverTold(Wire):
    max_amount: Exact | None = None
    expires_after_periods: int


class Plan(Wire):
    cadence: Cadence
    billing_period: BillingPeriod
    amount: Exact
    anchor_at: At
    priority: Exact
    cost: Money
    rollover: RolloverTold | None = None
    first_part: int
    created_at: At
    ended_at: At | None = None


class Schedule(Wire):
    plan: Plan


class SpendTold(Wire):
    month: str
    amount: Exact
    currency: str


class RechargeSettingsTold(Wire):
    enabled: bool
    threshold: Exact | None = None
    target: Exact | None = None
    max_spend: Exact | None = None
    expiration_period: ExpirationPeriod | None = None
    unit_price: Money
    payment_method: PaymentMethod = PaymentMethod.NONE


class RechargesDoneTold(Wire):
    grants: int = 0
    spend: SpendTold | None = None


class AutoRecharge(Wire):
    settings: RechargeSettingsTold
    done: RechargesDoneTold
    created_at: At
    saved_at: At


class Rule(Wire):
    name: str
    account_groups: list[str]
    allocated: int
    alarm_threshold: int
    currency: str | None = None
    created_at: At
    removed_at: At | None = None


class RuleNow(Wire):
    rule: Rule


class Threshold(RuleNow):
    month: str
    used: Exact
    allocated: int
    alarm_threshold: int
    reached_position: int
    reached_at: At
