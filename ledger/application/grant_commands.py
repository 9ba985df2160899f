"""Commands on grants: issue, update, void."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from ledger.application.commands import Command, Known, PoolCommand
from ledger.application.inputs import (
    Document,
    choice,
    currency_of,
    exact,
    flag,
    id_of,
    json_object_of,
    plain,
    positive,
    priority_of,
)
from ledger.domain import credit_grant
from ledger.domain.credit_grant import Changes
from ledger.domain.credits import credits_text
from ledger.domain.decision import Decision
from ledger.domain.grant_details import Cost, GrantDetails, readable_grant_id
from ledger.domain.lots import Lot
from ledger.domain.refusals import CreditGrantNotFound, InvalidArgument, Refusal
from ledger.domain.values import (
    TEXT_CHARACTERS_MAX,
    GrantType,
    Kind,
    LotId,
    PaymentMethod,
    StreamId,
    Terms,
    optional_instant,
    text_of,
)

CLEARABLE = ("expireAt", "comment", "metadata")


@dataclass(slots=True, kw_only=True)
class IssueGrant(PoolCommand):
    """Issue a credit grant: one lot of `amount` credits, usable in [effective_at, expires_at)."""

    operation: ClassVar[str] = "issue_grant"
    kind: ClassVar[Kind] = Kind.CREDIT_GRANT

    amount: Any
    display_name: str
    grant_type: GrantType
    cost: str | int | Decimal = 0
    cost_currency: str = "USD"
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    priority: str | int | Decimal = 50
    comment: str | None = None
    metadata: Mapping[str, object] | None = None
    payment_method: PaymentMethod = PaymentMethod.NONE
    awaits_payment: bool = True
    """Whether the credits of a CHARGE wait until it is recorded as paid; those of an INVOICE always do."""

    def __post_init__(self) -> None:
        self.check_envelope()
        self.display_name = text_of(self.display_name, field="displayName")
        if self.comment is not None:
            self.comment = text_of(self.comment, field="comment", characters_max=TEXT_CHARACTERS_MAX)
        self.amount = positive(self.amount)
        self.grant_type = choice(GrantType, self.grant_type, field="grantType")
        self.cost = exact(self.cost, field="cost")
        self.cost_currency = currency_of(self.cost_currency, field="costCurrency")
        if self.grant_type is GrantType.PROMOTIONAL and self.cost > 0:
            raise InvalidArgument("cost", "must be 0 for a promotional grant")
        self.priority = priority_of(self.priority)
        self.payment_method = choice(PaymentMethod, self.payment_method, field="paymentCollectionMethod")
        self.awaits_payment = flag(self.awaits_payment, field="awaitPaymentConfirmation")
        self.effective_at = optional_instant(self.effective_at, field="effectiveAt")
        self.expires_at = optional_instant(self.expires_at, field="expireAt")
        if self.metadata is not None:
            self.metadata = json_object_of(self.metadata, field="metadata")

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
            "paymentMethod": None if self.payment_method is PaymentMethod.NONE else self.payment_method.value,
            "awaitsPayment": None if self.awaits_payment else False,
        }

    def document(self, known: Known) -> Document | None:
        return Document.of(display_name=self.display_name, comment=self.comment, metadata=self.metadata)

    def decide(self, decision: Decision, known: Known) -> None:
        now = decision.now
        effective_at = now if self.effective_at is None else self.effective_at
        credit_grant.check_terms(effective_at, self.expires_at, now)
        cost = Decimal(self.cost)
        payment, awaited = credit_grant.payment_of(self.payment_method, cost, awaiting_confirmation=self.awaits_payment)
        terms = Terms(
            effective_at=effective_at,
            expires_at=self.expires_at,
            created_at=now,
            priority=Decimal(self.priority),
            awaiting_payment=awaited,
        )
        grant_id = StreamId(decision.new_id())
        details = GrantDetails(
            readable_id=readable_grant_id(grant_id),
            cost=Cost(amount=cost, currency=self.cost_currency),
            payment=payment,
        )
        credit_grant.issue(decision, grant_id, self.grant_type, self.amount, terms, details)


@dataclass(slots=True, kw_only=True)
class GrantCommand(Command):
    """A command on one grant, named by its id or its readable id."""

    kind: ClassVar[Kind] = Kind.CREDIT_GRANT
    FIELD: ClassVar[str] = "id"

    grant: str

    def check_envelope(self) -> None:
        Command.check_envelope(self)
        self.grant = id_of(self.grant, field=self.FIELD)

    @property
    def scope(self) -> str:
        return self.grant

    @property
    def named(self) -> str:
        return self.grant

    def not_found(self) -> Refusal:
        return CreditGrantNotFound(self.grant)

    def lot_in(self, decision: Decision, known: Known) -> Lot:
        """The grant's lot as it is after what was due. Refuses: CreditGrantNotFound."""
        stream_id = known.streams.get(self.grant)
        if stream_id is None or not decision.pool.holds(LotId(stream_id)):
            raise self.not_found()
        return decision.present(decision.pool.lot(LotId(stream_id)))


@dataclass(slots=True, kw_only=True)
class UpdateGrant(GrantCommand):
    """Give a grant other terms or texts. None leaves a field as it is; `clears` names those that are taken away."""

    operation: ClassVar[str] = "update_grant"

    display_name: str | None = None
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    priority: Any = None
    comment: str | None = None
    metadata: Mapping[str, object] | None = None
    clears: tuple[str, ...] = ()
    """Some of expireAt, comment, metadata."""

    def __post_init__(self) -> None:
        self.check_envelope()
        if self.display_name is not None:
            self.display_name = text_of(self.display_name, field="displayName")
        self.effective_at = optional_instant(self.effective_at, field="effectiveAt")
        self.expires_at = optional_instant(self.expires_at, field="expireAt")
        self.priority = None if self.priority is None else priority_of(self.priority)
        if self.comment is not None:
            self.comment = text_of(self.comment, field="comment", characters_max=TEXT_CHARACTERS_MAX)
        if self.metadata is not None:
            self.metadata = json_object_of(self.metadata, field="metadata")
            if self.metadata is None:
                self.clears = (*self.clears, "metadata")
        clears: object = self.clears
        if not isinstance(clears, tuple) or not all(name in CLEARABLE for name in clears):
            raise InvalidArgument("clears", f"must name some of {', '.join(CLEARABLE)}")
        self.clears = tuple(sorted(set(self.clears)))
        given = {"expireAt": self.expires_at, "comment": self.comment, "metadata": self.metadata}
        for name in self.clears:
            if given[name] is not None:
                raise InvalidArgument(name, "must not be given and taken away")
        if not any(value is not None for value in self._wanted().values()):
            raise InvalidArgument("input", "must change something")

    def normalised(self) -> dict[str, object]:
        return self._wanted()

    def document(self, known: Known) -> Document | None:
        """The whole texts from now on; none where no text changes."""
        given = {"display_name": self.display_name, "comment": self.comment, "metadata": self.metadata}
        given = {name: value for name, value in given.items() if value is not None}
        cleared = {"comment", "metadata"} & set(self.clears)
        if not given and not cleared:
            return None
        stream_id = known.streams.get(self.grant)
        before = {} if stream_id is None else known.texts.get(stream_id, {})
        texts = {name: before.get(name) for name in ("display_name", "comment", "metadata")}
        return Document.of(**texts | dict.fromkeys(cleared) | given)

    def decide(self, decision: Decision, known: Known) -> None:
        lot = self.lot_in(decision, known)
        changes = Changes(
            effective_at=self.effective_at,
            expires_at=self.expires_at,
            never_expires="expireAt" in self.clears,
            priority=None if self.priority is None else Decimal(self.priority),
        )
        document = decision.transaction.document
        credit_grant.update(decision, lot, changes, lot.texts if document is None else document)

    def _wanted(self) -> dict[str, object]:
        return {
            "displayName": self.display_name,
            "effectiveAt": None if self.effective_at is None else self.effective_at.isoformat(),
            "expireAt": None if self.expires_at is None else self.expires_at.isoformat(),
            "priority": None if self.priority is None else plain(self.priority),
            "comment": self.comment,
            "metadata": self.metadata,
        } | dict.fromkeys(self.clears, False)


@dataclass(slots=True, kw_only=True)
class VoidGrant(GrantCommand):
    """End what is left of a grant."""

    operation: ClassVar[str] = "void_grant"

    reason: str | None = None

    def __post_init__(self) -> None:
        self.check_envelope()
        if self.reason is not None:
            self.reason = text_of(self.reason, field="reason", characters_max=TEXT_CHARACTERS_MAX)

    def normalised(self) -> dict[str, object]:
        return {"reason": self.reason}

    def document(self, known: Known) -> Document | None:
        return Document.of(reason=self.reason)

    def decide(self, decision: Decision, known: Known) -> None:
        credit_grant.void(decision, self.lot_in(decision, known))
