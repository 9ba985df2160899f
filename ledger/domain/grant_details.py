"""What a credit grant is besides its lot: its cost and how that is collected, where it came from, its texts."""

import hashlib
from datetime import datetime
from decimal import Decimal
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from ledger.domain.credits import Credits, credits_column, credits_decimal, credits_from_column, credits_of
from ledger.domain.values import DocumentReference, InvoiceStatus, PaymentCollection, PaymentMethod, StreamId

ExactCredits: TypeAlias = Annotated[
    Credits,
    BeforeValidator(lambda value: credits_from_column(value) if isinstance(value, str) else value),
    PlainSerializer(credits_column, return_type=str, when_used="json"),
]
"""Whole billionths, of a credit or of money, that have no column of their own: in JSON text with 9 places."""

READABLE_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
READABLE_SYMBOLS = 16
READABLE_PREFIX = "cg-"


class Detail(BaseModel):
    """A frozen part of an event."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Cost(Detail):
    """Fiat cost of a whole grant: full units as an exact decimal, ISO 4217 currency."""

    amount: Decimal = Field(ge=0)
    currency: str = Field(pattern=r"^[A-Z]{3}$")


class Invoice(Detail):
    """The latest invoice of a grant, as the one who bills told it; `texts` are its message and addresses."""

    billing_id: str
    status: InvoiceStatus
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None = None
    currency: str | None = None
    total: Decimal | None = None
    amount_due: Decimal | None = None
    requires_action: bool = False
    texts: DocumentReference | None = None


class Payment(Detail):
    """How a grant's cost is collected, how far that has come, and when it was first recorded as paid."""

    method: PaymentMethod = PaymentMethod.NONE
    collection: PaymentCollection = PaymentCollection.NOT_REQUIRED
    paid_at: datetime | None = None
    invoice: Invoice | None = None


class ScheduledPart(Detail):
    """Which part of which schedule a SUBSCRIPTION grant is; parts count from 0 at the schedule's anchor."""

    schedule_id: StreamId
    part: int = Field(ge=0)


class Origin(Detail):
    """The grant whose remainder a ROLLOVER grant carries on."""

    grant_id: StreamId
    readable_id: str


class Recharge(Detail):
    """Which recharge of which configuration a grant is; they count from 1."""

    configuration_id: StreamId
    number: int = Field(ge=1)


class GrantDetails(Detail):
    """What a grant is besides its lot.

    `texts` is the document of its display name, comment and metadata in force; without it, they are in the document
    of the transaction that issued the grant.
    """

    readable_id: str
    cost: Cost
    payment: Payment = Payment()
    scheduled: ScheduledPart | None = None
    rolled_over_from: Origin | None = None
    recharge: Recharge | None = None
    texts: DocumentReference | None = None


def cost_share(cost: Decimal, granted: Credits, gone_before: Credits, gone_after: Credits) -> Decimal:
    """The part of a grant's cost, in full units, that goes with its credits from one to another.

    Rounded half to even at 9 places, cumulatively: whatever the cuts, the shares add up to the cost exactly.
    """
    units = credits_of(cost)
    return credits_decimal(half_even(units * gone_after, granted) - half_even(units * gone_before, granted))


def readable_grant_id(grant_id: StreamId) -> str:
    """A grant's id for people: `cg-` and 16 symbols, 80 bits of its id's hash, without letters that look alike."""
    digest = int.from_bytes(hashlib.sha256(grant_id.encode()).digest()[: READABLE_SYMBOLS * 5 // 8], "big")
    symbols = (READABLE_ALPHABET[digest >> 5 * place & 31] for place in range(READABLE_SYMBOLS))
    return READABLE_PREFIX + "".join(symbols)


def half_even(dividend: int, divisor: int) -> int:
    """The quotient as a whole number; halves go to the even one."""
    whole, rest = divmod(dividend, divisor)
    return whole + (2 * rest > divisor or (2 * rest == divisor and whole % 2 == 1))
