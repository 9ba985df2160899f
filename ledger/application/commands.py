"""Commands: what may be asked of the ledger, checked and normalised when it is built.

A command that exists is well-formed; whether it may happen is decided by the domain. Amounts are given as text, int or
Decimal and kept as Credits. Every command takes an idempotency key of 1 to 255 characters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from ledger.application.ids import readable_grant_id
from ledger.application.inputs import (
    Document,
    account_groups_of,
    actor_of,
    canonical,
    choice,
    currency_of,
    dimensions_of,
    exact,
    id_of,
    json_object_of,
    plain,
    positive,
    quoted,
)
from ledger.domain import credit_grant
from ledger.domain.burn_down import RecordedDebit
from ledger.domain.credits import credits_text
from ledger.domain.decision import Decision
from ledger.domain.events import Cost, GrantDetails
from ledger.domain.instants import instant_of
from ledger.domain.refusals import (
    CreditGrantNotFound,
    ExpireAtMustBeLaterThanEffectiveAt,
    InvalidArgument,
    TransactionNotFound,
)
from ledger.domain.values import (
    KEY_CHARACTERS_MAX,
    SYSTEM,
    TEXT_CHARACTERS_MAX,
    Actor,
    GrantType,
    Kind,
    LotId,
    PoolKey,
    StreamId,
    Terms,
    optional_instant,
    text_of,
)

NORMALISER_VERSION = 1
USE_AHEAD_MAX = timedelta(seconds=5)
"""A use that lies up to this far ahead is taken as now (clocks of callers differ); more is refused."""


@dataclass(slots=True, kw_only=True)
class Command:
    """What all commands have.

    `correlation_id` ties the events to a request, `causation_id` to what brought the command about. `holders` are
    those that its caller knows of: a debit, grant or credit of any other is not there for him, not even as a replay.
    """

    operation: ClassVar[str]
    kind: ClassVar[Kind]

    idempotency_key: str | None = None
    actor: Actor = SYSTEM
    correlation_id: str | None = None
    causation_id: str | None = None
    holders: frozenset[str] | None = None
    pool: PoolKey | None = field(default=None, init=False)
    """The pool, where the command itself tells it."""

    def check_envelope(self) -> None:
        if self.idempotency_key is not None:
            self.idempotency_key = text_of(
                self.idempotency_key, field="idempotencyKey", characters_max=KEY_CHARACTERS_MAX
            )
        if self.actor is not SYSTEM:
            self.actor = actor_of(self.actor)
        if self.correlation_id is not None:
            self.correlation_id = text_of(self.correlation_id, field="correlationId")
        if self.causation_id is not None:
            self.causation_id = text_of(self.causation_id, field="causationId")

    @property
    def scope(self) -> str:
        """Whose keys this command's key is among: the holder's, or the grant's or credit's own where there is none."""
        raise NotImplementedError

    def normalised(self) -> dict[str, object]:
        """What the command asks for, by field, in one spelling (50 = 50.0, absent = null)."""
        raise NotImplementedError

    def body(self) -> str:
        return canonical(self.normalised())

    def document(self) -> Document | None:
        return None


@dataclass(slots=True, kw_only=True)
class ConsumeCredits(Command):
    """Use credits of one pool, all or nothing. `use_at` is when they were used; default: when it is recorded."""

    operation: ClassVar[str] = "consume"

    holder: str
    currency: str
    amount: Any
    resource: str | None = None
    use_at: datetime | None = None
    account_groups: tuple[str, ...] | None = None
    dimensions: Mapping[str, str] | None = None
    kind: Kind = Kind.CREDIT_GRANT  # type: ignore[misc]  # the one command that serves both kinds

    def __post_init__(self) -> None:
        self.check_envelope()
        self.holder = text_of(self.holder, field="holder")
        self.currency = text_of(self.currency, field="currency")
        if self.resource is not None:
            self.resource = text_of(self.resource, field="resource")
        if type(self.kind) is not Kind:
            self.kind = choice(Kind, self.kind, field="kind")
        self.amount = positive(self.amount)
        if self.use_at is not None:
            self.use_at = instant_of(self.use_at, field="useAt")
        if self.account_groups is not None:
            self.account_groups = account_groups_of(self.account_groups)
        if self.dimensions is not None:
            self.dimensions = dimensions_of(self.dimensions)
        self.pool = PoolKey(self.kind, self.holder, self.currency, self.resource)

    @property
    def scope(self) -> str:
        return self.holder

    def body(self) -> str:
        if (self.resource or self.use_at or self.account_groups or self.dimensions) is None:
            return f'{{"amount":"{credits_text(self.amount)}","currency":{quoted(self.currency)}}}'
        return canonical(self.normalised())

    def normalised(self) -> dict[str, object]:
        return {
            "amount": credits_text(self.amount),
            "currency": self.currency,
            "resource": self.resource,
            "useAt": None if self.use_at is None else self.use_at.isoformat(),
            "accountGroups": self.account_groups,
            "dimensions": self.dimensions,
        }

    def document(self) -> Document | None:
        return None if self.dimensions is None else Document.of(dimensions=self.dimensions)

    def decide(self, decision: Decision) -> None:
        now = decision.transaction.recorded_at
        use_at = self.use_at
        if use_at is None:
            use_at = now
        elif use_at > now:
            if use_at - now > USE_AHEAD_MAX:
                raise InvalidArgument("useAt", "must not be more than 5 seconds ahead")
            use_at = now
        decision.debit(self.amount, use_at, self.account_groups)


@dataclass(slots=True, kw_only=True)
class IssueGrant(Command):
    """Issue a credit grant: one lot of `amount` credits, usable in [effective_at, expires_at)."""

    operation: ClassVar[str] = "issue_grant"
    kind: ClassVar[Kind] = Kind.CREDIT_GRANT

    holder: str
    currency: str
    amount: Any
    display_name: str
    grant_type: GrantType
    resource: str | None = None
    cost: str | int | Decimal = 0
    cost_currency: str = "USD"
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    priority: str | int | Decimal = 50
    comment: str | None = None
    metadata: Mapping[str, object] | None = None
    readable_id: str = field(default_factory=readable_grant_id, init=False)

    def __post_init__(self) -> None:
        self.check_envelope()
        self.holder = text_of(self.holder, field="holder")
        self.currency = text_of(self.currency, field="currency")
        if self.resource is not None:
            self.resource = text_of(self.resource, field="resource")
        self.display_name = text_of(self.display_name, field="displayName")
        if self.comment is not None:
            self.comment = text_of(self.comment, field="comment", characters_max=TEXT_CHARACTERS_MAX)
        self.amount = positive(self.amount)
        self.grant_type = choice(GrantType, self.grant_type, field="grantType")
        self.cost = exact(self.cost, field="cost")
        self.cost_currency = currency_of(self.cost_currency, field="costCurrency")
        if self.grant_type is GrantType.PROMOTIONAL and self.cost > 0:
            raise InvalidArgument("cost", "must be 0 for a promotional grant")
        self.priority = exact(self.priority, field="priority")
        if self.priority > 100:
            raise InvalidArgument("priority", "must be from 0 to 100")
        self.effective_at = optional_instant(self.effective_at, field="effectiveAt")
        self.expires_at = optional_instant(self.expires_at, field="expireAt")
        if self.metadata is not None:
            self.metadata = json_object_of(self.metadata, field="metadata")
        self.pool = PoolKey(self.kind, self.holder, self.currency, self.resource)

    @property
    def scope(self) -> str:
        return self.holder

    def normalised(self) -> dict[str, object]:
        return {
            "amount": credits_text(self.amount),
            "currency": self.currency,
            "resource": self.resource,
            "displayName": self.display_name,
            "grantType": self.grant_type.value,
            "cost": plain(self.cost),
            "costCurrency": self.cost_currency,
            "effectiveAt": None if self.effective_at is None else self.effective_at.isoformat(),
            "expireAt": None if self.expires_at is None else self.expires_at.isoformat(),
            "priority": plain(self.priority),
            "comment": self.comment,
            "metadata": self.metadata,
        }

    def document(self) -> Document | None:
        return Document.of(display_name=self.display_name, comment=self.comment, metadata=self.metadata)

    def decide(self, decision: Decision) -> None:
        now = decision.now
        effective_at = now if self.effective_at is None else self.effective_at
        if self.expires_at is not None:
            if self.expires_at <= effective_at:
                raise ExpireAtMustBeLaterThanEffectiveAt
            if self.expires_at <= now:
                raise InvalidArgument("expireAt", "must be later than now")
        terms = Terms(
            effective_at=effective_at, expires_at=self.expires_at, created_at=now, priority=Decimal(self.priority)
        )
        details = GrantDetails(
            readable_id=self.readable_id, cost=Cost(amount=Decimal(self.cost), currency=self.cost_currency)
        )
        credit_grant.issue(decision, StreamId(decision.new_id()), self.grant_type, self.amount, terms, details)


@dataclass(slots=True, kw_only=True)
class RefundDebit(Command):
    """Give back a debit, or a part of it, last drawn first. Without an amount: all that is left to refund."""

    operation: ClassVar[str] = "refund"

    transaction_id: str
    amount: Any = None
    reason: str | None = None
    kind: Kind = Kind.CREDIT_GRANT  # type: ignore[misc]  # the door: a refund names a debit of the same door

    def __post_init__(self) -> None:
        self.check_envelope()
        self.transaction_id = id_of(self.transaction_id, field="transactionId")
        self.kind = choice(Kind, self.kind, field="kind")
        self.amount = None if self.amount is None else positive(self.amount)
        if self.reason is not None:
            self.reason = text_of(self.reason, field="reason", characters_max=TEXT_CHARACTERS_MAX)

    @property
    def scope(self) -> str:
        return self.transaction_id

    def normalised(self) -> dict[str, object]:
        return {"amount": None if self.amount is None else credits_text(self.amount), "reason": self.reason}

    def document(self) -> Document | None:
        return Document.of(reason=self.reason)

    def decide(self, decision: Decision, debit: RecordedDebit | None) -> RecordedDebit:
        """Returns the debit as it is after this refund."""
        if debit is None:
            raise TransactionNotFound(self.transaction_id)
        return debit.after(decision.refund(debit, self.amount))


@dataclass(slots=True, kw_only=True)
class VoidGrant(Command):
    """End what is left of a grant, named by its id or its readable id."""

    operation: ClassVar[str] = "void_grant"
    kind: ClassVar[Kind] = Kind.CREDIT_GRANT

    grant: str
    reason: str | None = None

    def __post_init__(self) -> None:
        self.check_envelope()
        self.grant = id_of(self.grant, field="id")
        if self.reason is not None:
            self.reason = text_of(self.reason, field="reason", characters_max=TEXT_CHARACTERS_MAX)

    @property
    def scope(self) -> str:
        return self.grant

    def normalised(self) -> dict[str, object]:
        return {"reason": self.reason}

    def document(self) -> Document | None:
        return Document.of(reason=self.reason)

    def decide(self, decision: Decision, stream_id: StreamId | None) -> None:
        if stream_id is None or not decision.pool.holds(LotId(stream_id)):
            raise CreditGrantNotFound(self.grant)
        credit_grant.void(decision, decision.pool.lot(LotId(stream_id)))


@dataclass(slots=True, kw_only=True)
class SettleDue(Command):
    """Write what has fallen due on one pool, and nothing else: what a reactor asks for when an instant has come."""

    operation: ClassVar[str] = "settle_due"

    due_pool: PoolKey
    kind: Kind = field(init=False)  # type: ignore[misc]  # the pool's

    def __post_init__(self) -> None:
        self.check_envelope()
        if not isinstance(self.due_pool, PoolKey):
            raise InvalidArgument("pool", "must be a PoolKey")
        kind, holder, currency, resource = self.due_pool
        self.kind = choice(Kind, kind, field="kind")
        self.pool = PoolKey(
            self.kind,
            text_of(holder, field="holder"),
            text_of(currency, field="currency"),
            None if resource is None else text_of(resource, field="resource"),
        )

    @property
    def scope(self) -> str:
        return self.due_pool.holder

    def normalised(self) -> dict[str, object]:
        return {"currency": self.due_pool.currency, "resource": self.due_pool.resource}
