"""Refusals: every way a command can be turned down, as a fact with a stable code and named fields.

A refusal leaves nothing behind. `code` is part of the public contract; `message` is for people; `facts` are the fields.
The fields named in `AMOUNTS` are Credits (10**-9).
"""

from dataclasses import dataclass, fields
from typing import ClassVar


class Refusal(Exception):
    """A command was understood and turned down; nothing was written."""

    code: ClassVar[str]
    AMOUNTS: ClassVar[frozenset[str]] = frozenset()

    @property
    def message(self) -> str:
        raise NotImplementedError

    @property
    def facts(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]  # every subclass is a dataclass

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def _show(units: int) -> str:
    from ledger.domain.credits import credits_text  # credits.py raises InvalidArgument: the import would be a circle

    return credits_text(units)


def _counted(units: int) -> str:
    text = _show(units)
    return f"{text} credit" if text == "1" else f"{text} credits"


@dataclass(eq=False)
class InvalidArgument(Refusal):
    code = "InvalidArgumentError"
    field: str
    reason: str

    @property
    def message(self) -> str:
        return f"{self.field} {self.reason}"


@dataclass(eq=False)
class InsufficientCredits(Refusal):
    code = "InsufficientCredits"
    AMOUNTS = frozenset({"available", "requested", "shortfall"})
    available: int
    requested: int
    shortfall: int

    @property
    def message(self) -> str:
        return f"{_counted(self.requested)} requested, {_show(self.available)} available, {_show(self.shortfall)} short"


@dataclass(eq=False)
class InsufficientExecutionCredits(InsufficientCredits):
    """Told in words of their own, because without an ADDON there is something that can be done about it."""

    credit_type: str
    has_addon: bool

    @property
    def message(self) -> str:
        if self.available == 0 and not self.has_addon:
            return (
                f"Insufficient credits: no available recurrent balance and no ADDON pool found for {self.credit_type}"
            )
        return (
            f"Insufficient credits: {_show(self.requested)} requested, {_show(self.available)} available "
            f"for {self.credit_type}"
        )


@dataclass(eq=False)
class CreditGrantNotFound(Refusal):
    code = "CreditGrantNotFound"
    grant: str

    @property
    def message(self) -> str:
        return f"no credit grant {self.grant}"


@dataclass(eq=False)
class CreditGrantAlreadyVoided(Refusal):
    code = "CreditGrantAlreadyVoided"
    grant: str

    @property
    def message(self) -> str:
        return f"credit grant {self.grant} is void already"


@dataclass(eq=False)
class CreditGrantCannotBeVoided(Refusal):
    code = "CreditGrantCannotBeVoided"
    grant: str

    @property
    def message(self) -> str:
        return f"credit grant {self.grant} has nothing left to void"


@dataclass(eq=False)
class ExpireAtMustBeLaterThanEffectiveAt(Refusal):
    """Its instants are told as text, in ISO 8601."""

    code = "ExpireAtMustBeLaterThanEffectiveAtError"
    expire_at: str
    effective_at: str

    @property
    def message(self) -> str:
        return f"expireAt must be later than effectiveAt: {self.expire_at} is not later than {self.effective_at}"


@dataclass(eq=False)
class CannotUpdateExpireAtForExpiredCreditGrant(Refusal):
    code = "CannotUpdateExpireAtForExpiredCreditGrantError"
    grant: str

    @property
    def message(self) -> str:
        return f"credit grant {self.grant} has expired: its expireAt cannot change any more"


@dataclass(eq=False)
class GrantScheduleNotFound(Refusal):
    """There is no such schedule, or it has ended."""

    code = "GrantScheduleNotFound"
    schedule: str

    @property
    def message(self) -> str:
        return f"no grant schedule {self.schedule} that still grants"


@dataclass(eq=False)
class TransactionNotFound(Refusal):
    code = "TransactionNotFound"
    transaction: str

    @property
    def message(self) -> str:
        return f"no debit {self.transaction}"


@dataclass(eq=False)
class RefundExceedsDebit(Refusal):
    code = "RefundExceedsDebit"
    AMOUNTS = frozenset({"requested", "refundable"})
    requested: int
    refundable: int

    @property
    def message(self) -> str:
        if self.requested == 0:
            return "nothing is left to refund"
        return f"{_counted(self.requested)} to refund, {_show(self.refundable)} left to refund"


@dataclass(eq=False)
class IdempotencyKeyReused(Refusal):
    code = "IdempotencyKeyReused"
    key: str
    differing: tuple[str, ...]

    @property
    def message(self) -> str:
        return (
            f"idempotency key {self.key!r} was used with another body; these fields differ: {', '.join(self.differing)}"
        )


@dataclass(eq=False)
class ExecutionCreditNotFound(Refusal):
    code = "ExecutionCreditNotFound"
    credit: str

    @property
    def message(self) -> str:
        return f"no execution credit {self.credit}"


@dataclass(eq=False)
class ExecutionCreditDeleted(Refusal):
    code = "ExecutionCreditDeleted"
    credit: str

    @property
    def message(self) -> str:
        return f"execution credit {self.credit} is deleted"


@dataclass(eq=False)
class RollupTypeStays(Refusal):
    """A credit that renews never becomes an ADDON, nor an ADDON one that renews."""

    code = "RollupTypeStays"
    rollup_type: str
    requested: str

    @property
    def message(self) -> str:
        return f"rollupType cannot be changed from {self.rollup_type} to {self.requested}"


@dataclass(eq=False)
class ExecutionCreditExists(Refusal):
    code = "ExecutionCreditExists"
    company: str
    credit_type: str
    renewing: bool

    @property
    def message(self) -> str:
        sort = "renewing credit" if self.renewing else "ADDON"
        return f"company {self.company} already has a live {sort} for {self.credit_type}"


@dataclass(eq=False)
class CreditsBelowUsed(Refusal):
    code = "CreditsBelowUsed"
    AMOUNTS = frozenset({"credits", "used"})
    credits: int
    used: int

    @property
    def message(self) -> str:
        return f"credits cannot be lowered to {_show(self.credits)}: {_show(self.used)} are used"


@dataclass(eq=False)
class AllocationRuleNotFound(Refusal):
    """There is no such rule, or it was removed."""

    code = "AllocationRuleNotFound"
    rule: str

    @property
    def message(self) -> str:
        return f"no allocation rule {self.rule}"


@dataclass(eq=False)
class AllocationRuleExists(Refusal):
    code = "AllocationRuleExists"
    name: str

    @property
    def message(self) -> str:
        return f"name must be unique: there is already an allocation rule {self.name!r}"


@dataclass(eq=False)
class QueueFull(Refusal):
    code = "QueueFull"
    commands_max: int

    @property
    def message(self) -> str:
        return f"more than {self.commands_max} commands are waiting: try again"


@dataclass(eq=False)
class NotStorable(Refusal):
    """This command's events cannot be decided or written, for a reason in it alone; its neighbours were written."""

    code = "NotStorable"
    reason: str

    @property
    def message(self) -> str:
        return f"the log cannot hold this command: {self.reason}"


@dataclass(eq=False)
class ClockWouldGoBack(Refusal):
    """The test clock was given an earlier instant than it, or the log, has seen."""

    code = "ClockWouldGoBack"

    @property
    def message(self) -> str:
        return "the clock never goes back: this is earlier than what it, or the log, has seen"


@dataclass(eq=False)
class PositionNotReached(Refusal):
    code = "PositionNotReached"
    wanted: int
    reached: int

    @property
    def message(self) -> str:
        return f"position {self.wanted} is not reached yet; the read model is at {self.reached}"
