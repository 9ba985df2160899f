"""Commands: what may be asked of the ledger, checked and normalised when it is built.

A command that exists is well-formed; whether it may happen is decided by the domain. Amounts are given as text, int or
Decimal and kept as Credits. Every command takes an idempotency key of 1 to 255 characters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Protocol

from ledger.application.inputs import (
    Document,
    account_groups_of,
    actor_of,
    amount_of,
    canonical,
    dimensions_of,
    id_of,
    kind_of_credits,
)
from ledger.domain.burn_down import RecordedDebit
from ledger.domain.credits import Credits, credits_text
from ledger.domain.decision import Decision
from ledger.domain.due import settle_due
from ledger.domain.execution_credit import insufficient
from ledger.domain.instants import instant_of
from ledger.domain.refusals import InsufficientCredits, InvalidArgument, Refusal, TransactionNotFound
from ledger.domain.values import (
    KEY_CHARACTERS_MAX,
    SYSTEM,
    TEXT_CHARACTERS_MAX,
    Actor,
    Kind,
    PoolKey,
    StreamId,
    TransactionId,
    new_tuple,
    text_of,
)

NORMALISER_VERSION = 1
USE_AHEAD_MAX = timedelta(seconds=5)
"""A use that lies up to this far ahead is taken as now (clocks of callers differ); more is refused."""


class Known(Protocol):
    """What is known under the lock besides the pool: what commands named, and the texts of grants."""

    @property
    def debits(self) -> Mapping[TransactionId, RecordedDebit]: ...

    @property
    def streams(self) -> Mapping[str, StreamId]: ...

    @property
    def texts(self) -> Mapping[StreamId, Mapping[str, Any]]:
        """Display name, comment and metadata of the grants whose texts may change; of erased ones, none."""


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
        """Whose keys this command's key is among: the holder's, or those of the grant or credit that it names."""
        raise NotImplementedError

    def normalised(self) -> dict[str, object]:
        """What the command asks for, by field, in one spelling (50 = 50.0, absent = null)."""
        raise NotImplementedError

    def body(self) -> str:
        return canonical(self.normalised())

    def document(self, known: Known) -> Document | None:
        """The free text that its events name."""
        return None

    @property
    def named(self) -> str:
        """The debit, grant, schedule or credit that it is about, as it was named; for commands that tell no pool."""
        raise NotImplementedError

    def not_found(self) -> Refusal:
        """The refusal where there is nothing of that name."""
        raise NotImplementedError

    def decide(self, decision: Decision, known: Known) -> RecordedDebit | None:
        """Decide on the pool as it is. A refund returns its debit as it is afterwards."""
        raise NotImplementedError


@dataclass(slots=True, kw_only=True)
class PoolCommand(Command):
    """A command that tells its pool: a holder's credits of one currency, of one resource or his own."""

    holder: str
    currency: str
    resource: str | None = None

    def check_envelope(self) -> None:
        Command.check_envelope(self)  # super() does not work in dataclasses with slots
        self.holder = text_of(self.holder, field="holder")
        self.currency = text_of(self.currency, field="currency")
        if self.resource is not None:
            self.resource = text_of(self.resource, field="resource")
        self.pool = new_tuple(PoolKey, (self.kind, self.holder, self.currency, self.resource))

    @property
    def scope(self) -> str:
        return self.holder


@dataclass(slots=True, kw_only=True)
class ConsumeCredits(PoolCommand):
    """Use credits of one pool, all or nothing. `use_at` is when they were used; default: when it is recorded."""

    operation: ClassVar[str] = "consume"

    amount: Any
    use_at: datetime | None = None
    account_groups: tuple[str, ...] | None = None
    dimensions: Mapping[str, str] | None = None
    kind: Kind = Kind.CREDIT_GRANT  # type: ignore[misc]  # the one command that serves both kinds

    def __post_init__(self) -> None:
        if type(self.kind) is not Kind or self.kind is Kind.ALLOCATION_RULE:
            self.kind = kind_of_credits(self.kind)
        self.check_envelope()
        self.amount = amount_of(self.kind, self.amount)
        if self.use_at is not None:
            self.use_at = instant_of(self.use_at, field="useAt")
        if self.account_groups is not None:
            self.account_groups = account_groups_of(self.account_groups)
        if self.dimensions is not None:
            self.dimensions = dimensions_of(self.dimensions)

    def body(self) -> str:
        if (self.resource or self.use_at or self.account_groups or self.dimensions) is None:
            return _plain_body(self.amount, self.currency)
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

    def document(self, known: Known) -> Document | None:
        if self.dimensions is None:
            return None
        return Document.shared(self.kind, self.holder, dimensions=self.dimensions)

    def decide(self, decision: Decision, known: Known) -> None:
        now = decision.transaction.recorded_at
        use_at = self.use_at
        if use_at is None:
            use_at = now
        elif use_at > now:
            if use_at - now > USE_AHEAD_MAX:
                raise InvalidArgument("useAt", "must not be more than 5 seconds ahead")
            use_at = now
        try:
            decision.debit(self.amount, use_at, self.account_groups)
        except InsufficientCredits as refusal:
            if self.kind is Kind.CREDIT_GRANT:
                raise
            raise insufficient(decision.pool, refusal) from None


@lru_cache(maxsize=4096)
def _plain_body(amount: Credits, currency: str) -> str:
    """The canonical body of a use that tells nothing else, as most do; the same amounts come again and again."""
    return canonical({"amount": credits_text(amount), "currency": currency})


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
        self.kind = kind_of_credits(self.kind)
        self.amount = None if self.amount is None else amount_of(self.kind, self.amount)
        if self.reason is not None:
            self.reason = text_of(self.reason, field="reason", characters_max=TEXT_CHARACTERS_MAX)

    @property
    def scope(self) -> str:
        """The debit, which stands for its holder."""
        return self.transaction_id

    def normalised(self) -> dict[str, object]:
        return {
            "transactionId": self.transaction_id,
            "amount": None if self.amount is None else credits_text(self.amount),
            "reason": self.reason,
        }

    def document(self, known: Known) -> Document | None:
        return Document.of(reason=self.reason)

    @property
    def named(self) -> str:
        return self.transaction_id

    def not_found(self) -> Refusal:
        return TransactionNotFound(self.transaction_id)

    def decide(self, decision: Decision, known: Known) -> RecordedDebit:
        debit = known.debits.get(TransactionId(self.transaction_id))
        if debit is None:
            raise self.not_found()
        return debit.after(decision.refund(debit, self.amount))


@dataclass(slots=True, kw_only=True)
class SettleDue(Command):
    """Write what has fallen due on one pool, and nothing else: what a reactor asks for when an instant has come."""

    operation: ClassVar[str] = "settle_due"

    due_pool: PoolKey
    kind: Kind = field(init=False)  # type: ignore[misc]  # the pool's

    def __post_init__(self) -> None:
        self.check_envelope()
        if self.idempotency_key is not None:
            raise InvalidArgument(
                "idempotencyKey", "is not needed: what is due is written once, however often it is asked for"
            )
        if not isinstance(self.due_pool, PoolKey):
            raise InvalidArgument("pool", "must be a PoolKey")
        kind, holder, currency, resource = self.due_pool
        self.kind = kind_of_credits(kind)
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

    def decide(self, decision: Decision, known: Known) -> None:
        settle_due(decision)
        if not decision.events:
            decision.pool.look_for_due()
