"""The small values that events share: ids, pools, actors, transactions, terms."""

import re
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, NewType

from pydantic import BaseModel, ConfigDict, model_validator

from ledger.domain.credits import Credits
from ledger.domain.instants import Instant, instant_of
from ledger.domain.refusals import InvalidArgument

StreamId = NewType("StreamId", str)
"""One aggregate's events; canonical UUID text."""
LotId = NewType("LotId", str)
TransactionId = NewType("TransactionId", str)
DocumentId = NewType("DocumentId", str)

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
NAME_CHARACTERS_MAX = 200
TEXT_CHARACTERS_MAX = 200
METADATA_BYTES_MAX = 16 * 1024
KEY_CHARACTERS_MAX = 255
ACCOUNT_GROUPS_MAX = 1000


new_tuple = tuple.__new__
"""Makes a NamedTuple past its own constructor, which takes twice as long: for those that every debit needs."""


class Word(StrEnum):
    """A closed set of words. Hashes as its text: Enum's own hash is a Python call, and pools are looked up by it."""

    __hash__ = str.__hash__


class Kind(Word):
    """Which contract something belongs to; it keeps a customer apart from a company of the same name."""

    CREDIT_GRANT = "CREDIT_GRANT"
    EXECUTION_CREDIT = "EXECUTION_CREDIT"
    ALLOCATION_RULE = "ALLOCATION_RULE"


KINDS_OF_CREDITS = frozenset({Kind.CREDIT_GRANT, Kind.EXECUTION_CREDIT})
"""Those that have pools with credits in them."""


class GrantType(Word):
    PROMOTIONAL = "PROMOTIONAL"
    ROLLOVER = "ROLLOVER"
    SUBSCRIPTION = "SUBSCRIPTION"
    PAID = "PAID"


class CreditType(Word):
    AI_PENTEST = "AI_PENTEST"
    DAST = "DAST"


class RollupType(Word):
    """The renewal cycle of an execution credit; ADDON never renews."""

    MONTHLY = "MONTHLY"
    QUARTERLY = "QUARTERLY"
    SEMIANNUAL = "SEMIANNUAL"
    YEARLY = "YEARLY"
    ADDON = "ADDON"


MONTHS_PER_PERIOD = {
    RollupType.MONTHLY: 1,
    RollupType.QUARTERLY: 3,
    RollupType.SEMIANNUAL: 6,
    RollupType.YEARLY: 12,
}


class PaymentMethod(Word):
    """How the cost of a grant is collected."""

    NONE = "NONE"
    INVOICE = "INVOICE"
    CHARGE = "CHARGE"


class PaymentCollection(Word):
    """How far the collection of a grant's cost has come; NOT_REQUIRED also once it is paid."""

    NOT_REQUIRED = "NOT_REQUIRED"
    PROCESSING = "PROCESSING"
    FAILED = "FAILED"
    ACTION_REQUIRED = "ACTION_REQUIRED"


class InvoiceStatus(Word):
    OPEN = "OPEN"
    PAID = "PAID"
    CANCELED = "CANCELED"


class BillingPeriod(Word):
    MONTH = "MONTH"
    YEAR = "YEAR"


class Cadence(Word):
    """When a schedule grants: a billing period's amount at its beginning, or in equal monthly parts."""

    BEGINNING_OF_BILLING_PERIOD = "BEGINNING_OF_BILLING_PERIOD"
    MONTHLY = "MONTHLY"


MONTHS_PER_BILLING_PERIOD = {BillingPeriod.MONTH: 1, BillingPeriod.YEAR: 12}


class ExpirationPeriod(Word):
    """How long the grants of an automatic recharge last."""

    ONE_MONTH = "ONE_MONTH"
    ONE_YEAR = "ONE_YEAR"


MONTHS_PER_EXPIRATION_PERIOD = {ExpirationPeriod.ONE_MONTH: 1, ExpirationPeriod.ONE_YEAR: 12}


class Cause(Word):
    """Why an event happened to a lot."""

    ISSUED = "ISSUED"
    CONSUMED = "CONSUMED"
    REFUNDED = "REFUNDED"
    VOIDED = "VOIDED"
    LAPSED = "LAPSED"
    REFUND = "REFUND"  # the end of a lot that a refund had opened again
    RENEWED = "RENEWED"
    RESIZED = "RESIZED"
    DELETED = "DELETED"
    SCHEDULED = "SCHEDULED"
    ROLLED_OVER = "ROLLED_OVER"  # on both sides: out of the one grant, into the other
    RECHARGED = "RECHARGED"
    UPDATED = "UPDATED"
    PAYMENT_RECORDED = "PAYMENT_RECORDED"


class ActorKind(Word):
    API_KEY = "API_KEY"
    OPERATOR = "OPERATOR"
    SYSTEM = "SYSTEM"


class Actor(NamedTuple):
    """Who did it: the kind of actor and its key (an API key's id, an operator's name, a reactor's name)."""

    kind: ActorKind
    key: str


SYSTEM = Actor(ActorKind.SYSTEM, "ledger")


class PoolKey(NamedTuple):
    """The lots that may pay for the same use. Pools are fully isolated from each other."""

    kind: Kind
    holder: str
    currency: str
    resource: str | None


RULES = PoolKey(Kind.ALLOCATION_RULE, "", "", None)
"""Where allocation rules stand: they are nobody's in particular, and no credits are there."""


class DocumentReference(NamedTuple):
    """Where the free text of a transaction lives, and the SHA-256 of its body; the text can be erased, this stays."""

    document_id: DocumentId
    sha256: str


class Transaction(NamedTuple):
    """One command's events: one id, committed together. All its events share these facts."""

    transaction_id: TransactionId
    recorded_at: Instant
    actor: Actor
    correlation_id: str | None
    causation_id: str | None
    document: DocumentReference | None


class After(NamedTuple):
    """The state of the lot and of its pool after an event; all four are Credits, none below zero.

    `used` is debited less refunded; what is voided or expired is granted - used - balance.
    """

    granted: Credits
    used: Credits
    balance: Credits
    pool_balance: Credits


class Terms(BaseModel):
    """When and in which order a lot may be used: usable in [effective_at, expires_at), never-ending without the latter.

    Lower `priority` is used first. `awaiting_payment` keeps a lot unusable until its payment is recorded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    effective_at: datetime
    expires_at: datetime | None
    created_at: datetime
    priority: Decimal = Decimal(50)
    awaiting_payment: bool = False

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> "Terms":
        if self.expires_at is not None and self.expires_at <= self.effective_at:
            raise ValueError("expires_at must be later than effective_at")
        return self


def text_of(value: object, *, field: str, characters_max: int = NAME_CHARACTERS_MAX) -> str:
    """A bounded text that every later reader can hold, as a plain str: not empty, no U+0000, no lone surrogates."""
    if type(value) is str and 1 <= len(value) <= characters_max and value.isascii() and "\0" not in value:
        return value  # as nearly all are
    if not isinstance(value, str) or not 1 <= len(value) <= characters_max:
        raise InvalidArgument(field, f"must be a text of 1 to {characters_max} characters")
    if type(value) is not str:
        value = str.__str__(value)  # an enum's member, say, is kept as the text it stands for
    if "\0" in value:
        raise InvalidArgument(field, "must not contain U+0000")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidArgument(field, "must not contain lone surrogates") from None
    return value


def optional_instant(value: datetime | None, *, field: str) -> Instant | None:
    """`instant_of`, letting None through."""
    return None if value is None else instant_of(value, field=field)
