"""Commands on allocation rules."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from ledger.application.commands import Command, Known
from ledger.application.inputs import WHOLE_MAX, id_of, rule_groups_of, whole_of
from ledger.domain import allocation_rule
from ledger.domain.allocation_rule import PERCENTAGE_MAX
from ledger.domain.credits import Credits, credits_text
from ledger.domain.decision import Decision
from ledger.domain.events import RuleDetails
from ledger.domain.instants import instant_of
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import RULES, Actor, ActorKind, Kind, StreamId, TransactionId, text_of

FIELDS = {
    "name": "name",
    "account_groups": "accountGroups",
    "allocated": "allocatedCredits",
    "alarm_threshold": "alarmThreshold",
    "currency": "currency",
}
"""What a rule is made of, and what a body calls it."""
ALARM = Actor(ActorKind.SYSTEM, "threshold")


@dataclass(slots=True, kw_only=True)
class RuleCommand(Command):
    """A command on an allocation rule."""

    kind: ClassVar[Kind] = Kind.ALLOCATION_RULE

    def check_envelope(self) -> None:
        Command.check_envelope(self)
        self.pool = RULES

    @property
    def scope(self) -> str:
        """A new rule's key is among those of all new rules."""
        return RULES.holder

    @property
    def rules_named(self) -> tuple[StreamId, ...]:
        """The rules that it is about."""
        return ()

    @property
    def names_wanted(self) -> tuple[str, ...]:
        """The names that it would give."""
        return ()


@dataclass(slots=True, kw_only=True)
class DefineAllocationRule(RuleCommand):
    """Make a rule: `account_groups` are allocated whole credits; warn from `alarm_threshold` percent of them on.

    With a `currency` only what is used in that one counts.
    """

    operation: ClassVar[str] = "define_allocation_rule"

    name: str
    account_groups: Any
    allocated: Any
    alarm_threshold: Any
    currency: str | None = None

    def __post_init__(self) -> None:
        self.check_envelope()
        self.name = text_of(self.name, field="name")
        self.allocated = allocated_of(self.allocated)
        self.alarm_threshold = threshold_of(self.alarm_threshold)
        self.account_groups = rule_groups_of(self.account_groups)
        if self.currency is not None:
            self.currency = text_of(self.currency, field="currency")

    @property
    def names_wanted(self) -> tuple[str, ...]:
        return (self.name,)

    def normalised(self) -> dict[str, object]:
        return _normalised(self)

    def decide(self, decision: Decision, known: Known) -> None:
        details = RuleDetails(created_at=decision.now, **{field: getattr(self, field) for field in FIELDS})
        allocation_rule.define(decision, StreamId(decision.new_id()), details)


@dataclass(slots=True, kw_only=True)
class NamedRuleCommand(RuleCommand):
    """A command on a rule that there is."""

    rule: str

    @property
    def scope(self) -> str:
        return self.rule

    @property
    def rules_named(self) -> tuple[StreamId, ...]:
        return (StreamId(self.rule),)


@dataclass(slots=True, kw_only=True)
class ChangeAllocationRule(NamedRuleCommand):
    """Change a rule; what is None stays as it is. The account groups are replaced whole."""

    operation: ClassVar[str] = "change_allocation_rule"

    name: str | None = None
    account_groups: Any = None
    allocated: Any = None
    alarm_threshold: Any = None
    currency: str | None = None

    def __post_init__(self) -> None:
        self.check_envelope()
        self.rule = id_of(self.rule, field="id")
        if self.name is not None:
            self.name = text_of(self.name, field="name")
        if self.allocated is not None:
            self.allocated = allocated_of(self.allocated)
        if self.alarm_threshold is not None:
            self.alarm_threshold = threshold_of(self.alarm_threshold)
        if self.account_groups is not None:
            self.account_groups = rule_groups_of(self.account_groups)
        if self.currency is not None:
            self.currency = text_of(self.currency, field="currency")

    @property
    def names_wanted(self) -> tuple[str, ...]:
        return () if self.name is None else (self.name,)

    def normalised(self) -> dict[str, object]:
        return _normalised(self)

    def decide(self, decision: Decision, known: Known) -> None:
        given = {field: getattr(self, field) for field in FIELDS}
        changes = {field: value for field, value in given.items() if value is not None}
        allocation_rule.change(decision, StreamId(self.rule), changes)


@dataclass(slots=True, kw_only=True)
class RemoveAllocationRule(NamedRuleCommand):
    """Remove a rule. What it has told stays told."""

    operation: ClassVar[str] = "remove_allocation_rule"

    def __post_init__(self) -> None:
        self.check_envelope()
        self.rule = id_of(self.rule, field="id")

    def normalised(self) -> dict[str, object]:
        return {}

    def decide(self, decision: Decision, known: Known) -> None:
        allocation_rule.remove(decision, StreamId(self.rule))


@dataclass(slots=True, kw_only=True)
class RecordThreshold(NamedRuleCommand):
    """Record that use in a month first reached a rule's threshold; nothing happens if that is recorded already.

    `used`, `allocated` and `alarm_threshold` are as they were at `reached_position`; `caused_by` is its transaction.
    """

    operation: ClassVar[str] = "record_threshold"

    month: str
    used: Credits
    allocated: int
    alarm_threshold: int
    reached_position: int
    reached_at: datetime
    caused_by: TransactionId

    def __post_init__(self) -> None:
        self.actor = ALARM
        self.causation_id = self.caused_by
        self.check_envelope()
        if self.idempotency_key is not None:
            raise InvalidArgument("idempotencyKey", "is not needed: a threshold is recorded once, however often asked")
        self.reached_at = instant_of(self.reached_at, field="reachedAt")

    def normalised(self) -> dict[str, object]:
        return {"month": self.month, "used": credits_text(self.used)}

    def decide(self, decision: Decision, known: Known) -> None:
        allocation_rule.record_threshold(
            decision,
            StreamId(self.rule),
            self.month,
            used=self.used,
            allocated=self.allocated,
            alarm_threshold=self.alarm_threshold,
            reached_position=self.reached_position,
            reached_at=self.reached_at,
        )


def _normalised(command: DefineAllocationRule | ChangeAllocationRule) -> dict[str, object]:
    return {name: getattr(command, field) for field, name in FIELDS.items()}


def allocated_of(value: object) -> int:
    """How many whole credits a rule allocates: 0 to 2147483647."""
    return whole_of(value, field="allocatedCredits", least=0, most=WHOLE_MAX)


def threshold_of(value: object) -> int:
    """From which percentage of them on to warn: 0 to 100."""
    return whole_of(value, field="alarmThreshold", least=0, most=PERCENTAGE_MAX)
