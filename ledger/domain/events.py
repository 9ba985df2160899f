"""The events of the ledger: frozen, each with an explicit topic and schema version.

Five of them move credits. Each is about exactly one lot and has one signed effect on it: `Granted` +, `Debited` -,
`Refunded` +, `Voided` -, `Expired` -. All others move no credit and carry the whole new state, never a patch.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Self, TypeAlias, final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ledger.domain.credits import Credits
from ledger.domain.grant_details import Cost, Detail, ExactCredits, GrantDetails
from ledger.domain.values import (
    After,
    BillingPeriod,
    Cadence,
    Cause,
    CreditType,
    ExpirationPeriod,
    GrantType,
    LotId,
    PaymentMethod,
    PoolKey,
    RollupType,
    StreamId,
    Terms,
    Transaction,
    TransactionId,
)

_set_values = BaseModel.__dict__["__dict__"].__set__
_set_fields_set = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__
"""The four slots of a pydantic model, set past its guard: half the cost of object.__setattr__."""


class Event(BaseModel):
    """What every event has: its place in its stream and the transaction it came in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    TOPIC: ClassVar[str]
    SCHEMA_VERSION: ClassVar[int] = 1
    SIGN: ClassVar[int] = 0
    FIELD_NAMES: ClassVar[set[str]]

    originator_id: StreamId
    originator_version: int = Field(ge=1)
    transaction: Transaction

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        cls.FIELD_NAMES = set(cls.__pydantic_fields__)

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Build an event from values that the domain itself computed, without validating them a second time.

        Ten times cheaper than the constructor, on the path of every debit. The mapper validates every event it reads
        back, and a test compares the two for whole random histories.
        """
        return cls.made_of(values)

    @classmethod
    def made_of(cls, values: dict[str, Any]) -> Self:
        """`of`, from a dictionary that becomes the event's own: all its fields by name."""
        event = cls.__new__(cls)
        _set_values(event, values)
        _set_fields_set(event, cls.FIELD_NAMES)
        _set_extra(event, None)
        _set_private(event, None)
        return event


class Movement(Event):
    """What every event that moves credits has.

    `amount` is signed, in Credits, never zero. `effective_at` is when the movement counts: the later of the use and the
    lot's beginning; a lapse at the lot's end. `use_at` is when the credits were used (debits and their refunds).
    `debit_id` is the debit's transaction id, on a debit and on its refunds. `terms_version` is the stream's version
    whose event holds the lot's terms in force.
    """

    pool: PoolKey
    lot: LotId
    grant_type: GrantType | None
    amount: Credits
    effective_at: datetime
    use_at: datetime | None
    cause: Cause
    debit_id: TransactionId | None
    account_groups: tuple[str, ...] | None
    terms_version: int
    after: After

    @model_validator(mode="after")
    def _obeys_its_sign(self) -> Self:
        if self.amount * self.SIGN <= 0:
            raise ValueError(f"{type(self).__name__} must have the sign {self.SIGN:+d}")
        if min(self.after) < 0 or self.after.used + self.after.balance > self.after.granted:
            raise ValueError("the state after the event breaks granted - used - voided - expired = balance >= 0")
        return self


@final
class Granted(Movement):
    """Credits came into a lot. The lot's first one opens it; a later one enlarges it."""

    TOPIC = "ledger.granted"
    SIGN = +1

    terms: Terms
    grant: GrantDetails | None = None
    """Present on credit grants, absent on execution credits."""


@final
class Debited(Movement):
    """Credits of this lot were used: one draw of a debit."""

    TOPIC = "ledger.debited"
    SIGN = -1


@final
class Refunded(Movement):
    """A draw of an earlier debit, or a part of it, came back to its lot."""

    TOPIC = "ledger.refunded"
    SIGN = +1


@final
class Voided(Movement):
    """Credits were taken out of the lot by decision."""

    TOPIC = "ledger.voided"
    SIGN = -1


@final
class Expired(Movement):
    """What was left when the lot ended went out of it, or a part of that: what rolled over is told apart."""

    TOPIC = "ledger.expired"
    SIGN = -1

    rolled_over_to: StreamId | None = None
    """The ROLLOVER grant that it went to, where the cause is ROLLED_OVER."""


class GrantChange(Event):
    """What the events have by which a grant becomes another and no credit moves: the whole grant from now on."""

    pool: PoolKey
    lot: LotId
    grant_type: GrantType
    effective_at: datetime
    cause: Cause
    terms_version: int
    after: After
    terms: Terms
    grant: GrantDetails


@final
class GrantUpdated(GrantChange):
    """A grant got other terms or texts by decision."""

    TOPIC = "ledger.grant-updated"


@final
class GrantPaymentRecorded(GrantChange):
    """How far the payment of a grant has come, and its latest invoice, whose texts are the transaction's document."""

    TOPIC = "ledger.grant-payment-recorded"


@final
class ExecutionCreditDefined(Event):
    """An execution credit as it is from now on: its whole definition, at its creation and at each change.

    Its periods begin `first_month` months after the anchor and step by the rollup type; at the next renewal
    `next_rollup_type`, if there is one, takes its place.
    """

    TOPIC = "ledger.execution-credit-defined"

    pool: PoolKey
    credit_type: CreditType
    rollup_type: RollupType
    credits: Credits
    anchor_at: datetime
    created_at: datetime
    deleted_at: datetime | None
    next_rollup_type: RollupType | None = None
    first_month: int = 0


class Rollover(Detail):
    """What a schedule's grants leave behind: at most `max_amount` each (none: all), for so many billing periods."""

    max_amount: ExactCredits | None = None
    expires_after_periods: int = Field(ge=1)


class SchedulePlan(Detail):
    """What a schedule grants and when; `amount` and `cost` are those of a billing period.

    Parts count from 0 at the anchor; those before `first_part` were over when the schedule was made.
    """

    cadence: Cadence
    billing_period: BillingPeriod
    amount: ExactCredits
    anchor_at: datetime
    priority: Decimal
    cost: Cost
    rollover: Rollover | None = None
    first_part: int = Field(ge=0)
    created_at: datetime
    ended_at: datetime | None = None


@final
class GrantScheduleDefined(Event):
    """A grant schedule as it is from now on, at its creation and at its end.

    Its grants are called as the transaction's document says.
    """

    TOPIC = "ledger.grant-schedule-defined"

    pool: PoolKey
    plan: SchedulePlan


class Spend(Detail):
    """What the recharges of one UTC calendar month (`2026-01`) cost together, in billionths of the currency."""

    month: str
    amount: ExactCredits
    currency: str


class RechargeSettings(Detail):
    """Below `threshold` credits, recharge to `target`, at `unit_price` for each credit.

    `max_spend` bounds a UTC calendar month, in billionths of the price's currency; None: nothing does.
    """

    enabled: bool
    threshold: ExactCredits | None = None
    target: ExactCredits | None = None
    max_spend: ExactCredits | None = None
    expiration_period: ExpirationPeriod | None = None
    unit_price: Cost
    payment_method: PaymentMethod = PaymentMethod.NONE


class RechargesDone(Detail):
    """What an automatic recharge has done so far: how many grants it has made, and the last month's spend."""

    grants: int = Field(default=0, ge=0)
    spend: Spend | None = None


@final
class AutoRechargeDefined(Event):
    """An automatic recharge as it is from now on: at each saving of its settings, and with each grant it makes."""

    TOPIC = "ledger.auto-recharge-defined"

    pool: PoolKey
    settings: RechargeSettings
    done: RechargesDone
    created_at: datetime
    saved_at: datetime


class RuleDetails(Detail):
    """An allocation rule: how many whole credits its account groups are to use, and from which percentage on to warn.

    With a `currency` it counts only what was used in that one.
    """

    name: str
    account_groups: tuple[str, ...] = Field(min_length=1)
    allocated: int = Field(ge=0)
    alarm_threshold: int = Field(ge=0, le=100)
    currency: str | None = None
    created_at: datetime
    removed_at: datetime | None = None


class RuleEvent(Event):
    """What every event about an allocation rule has: the whole rule from now on."""

    pool: PoolKey
    rule: RuleDetails


@final
class AllocationRuleDefined(RuleEvent):
    """There is a new rule."""

    TOPIC = "ledger.allocation-rule-defined"


@final
class AllocationRuleChanged(RuleEvent):
    """A rule is another from now on."""

    TOPIC = "ledger.allocation-rule-changed"


@final
class AllocationRuleRemoved(RuleEvent):
    """A rule counts no more."""

    TOPIC = "ledger.allocation-rule-removed"


@final
class ThresholdReached(RuleEvent):
    """Use in a UTC calendar month (`2026-01`) reached a rule's threshold for the first time.

    `used` is what it had come to by the event at `reached_position`, recorded at `reached_at`: a debit, or a change of
    the rule. `allocated` and `alarm_threshold` are the rule's of that instant; it may be another, or gone, by now.
    """

    TOPIC = "ledger.threshold-reached"

    month: str
    used: ExactCredits = Field(gt=0)
    allocated: int = Field(ge=0)
    alarm_threshold: int = Field(ge=0, le=100)
    reached_position: int = Field(ge=1)
    reached_at: datetime


MovementEvent: TypeAlias = Granted | Debited | Refunded | Voided | Expired
GrantChangeEvent: TypeAlias = GrantUpdated | GrantPaymentRecorded
LotEvent: TypeAlias = MovementEvent | GrantChangeEvent
AllocationRuleEvent: TypeAlias = (
    AllocationRuleDefined | AllocationRuleChanged | AllocationRuleRemoved | ThresholdReached
)
DefinitionEvent: TypeAlias = ExecutionCreditDefined | GrantScheduleDefined | AutoRechargeDefined | AllocationRuleEvent
LedgerEvent: TypeAlias = LotEvent | DefinitionEvent

MOVEMENTS: frozenset[type[Event]] = frozenset({Granted, Debited, Refunded, Voided, Expired})
GRANT_CHANGES: frozenset[type[Event]] = frozenset({GrantUpdated, GrantPaymentRecorded})
RULE_EVENTS: frozenset[type[Event]] = frozenset(
    {AllocationRuleDefined, AllocationRuleChanged, AllocationRuleRemoved, ThresholdReached}
)
DEFINITIONS: frozenset[type[Event]] = RULE_EVENTS | {ExecutionCreditDefined, GrantScheduleDefined, AutoRechargeDefined}
EVENT_TYPES = MOVEMENTS | GRANT_CHANGES | DEFINITIONS
"""Every event there is. A topic that is not here is not an event of this ledger."""
