"""A lot: credits drawn down until empty, void or ended. A grant is one; an execution credit has one per period."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol, TypeAlias

from ledger.domain.credits import Credits
from ledger.domain.events import Event, GrantChangeEvent, Movement
from ledger.domain.grant_details import GrantDetails
from ledger.domain.instants import FOREVER, Instant
from ledger.domain.values import Cause, DocumentReference, GrantType, LotId, PoolKey, StreamId, Terms

BurnDownKey: TypeAlias = tuple[Decimal, Instant, int, Instant, Instant, str, str]

TYPE_RANK = {
    None: 0,
    GrantType.PROMOTIONAL: 1,
    GrantType.ROLLOVER: 2,
    GrantType.SUBSCRIPTION: 3,
    GrantType.PAID: 4,
}
"""PROMOTIONAL, then ROLLOVER, then SUBSCRIPTION, then PAID; lots of execution credits have no type."""

ENDS_FOR_GOOD = frozenset({Cause.VOIDED, Cause.DELETED})


class LawBroken(Exception):
    """An event contradicts the state it is applied to. The log or the code is wrong; nothing may go on from here."""


@dataclass(slots=True)
class Lot:
    """The state of one lot: what law 1 leaves on it and the terms it may be used under. Amounts are Credits."""

    lot_id: LotId
    stream_id: StreamId
    pool: PoolKey
    grant_type: GrantType | None
    terms: Terms
    terms_version: int
    granted: Credits = 0
    used: Credits = 0
    balance: Credits = 0
    voided: bool = False
    """Void as a whole, by a void or by the deletion of its credit; not merely lowered."""
    details: GrantDetails | None = None
    """Present on grants."""
    texts: DocumentReference | None = None
    """Where a grant's display name, comment and metadata are."""
    effective_at: Instant = field(init=False)
    awaiting_payment: bool = field(init=False)
    expires_at: Instant = field(init=False)
    """FOREVER for a lot that never ends."""
    burn_down_key: BurnDownKey = field(init=False)

    def __post_init__(self) -> None:
        self.take_terms(self.terms, self.terms_version)

    def take_terms(self, terms: Terms, version: int) -> None:
        """Put new terms in force, and with them the lot's place in the burn-down order."""
        self.terms, self.terms_version = terms, version
        self.effective_at = terms.effective_at
        self.awaiting_payment = terms.awaiting_payment
        self.expires_at = terms.expires_at or FOREVER
        self.burn_down_key = burn_down_key(terms, self.grant_type, self.stream_id, self.lot_id)

    def usable_at(self, instant: Instant) -> bool:
        """Usable in [effective_at, expires_at), while no awaited payment is open. (A void lot has no balance.)"""
        return self.effective_at <= instant < self.expires_at and not self.awaiting_payment

    def ended_at(self, instant: Instant) -> bool:
        """Whether the lot has ended for good, so that nothing on it can be used any more."""
        return self.voided or self.expires_at <= instant

    def move(self, event: Movement) -> None:
        """Apply one movement by law 1 and hold the event to the state it says it left behind."""
        facts = event.__dict__  # whose values cost a third of a pydantic model's attributes
        amount = facts["amount"]
        balance = self.balance + amount
        used = self.used
        granted = self.granted
        ends_for_good = False
        if facts["debit_id"] is not None:
            used -= amount
        else:
            ends_for_good = event.cause in ENDS_FOR_GOOD
            if event.SIGN > 0:
                granted += amount
        recorded_granted, recorded_used, recorded_balance, _ = facts["after"]
        recorded = recorded_balance == balance and recorded_used == used and recorded_granted == granted
        if balance < 0 or used < 0 or not recorded:
            raise LawBroken(
                f"stream {event.originator_id} version {event.originator_version}: "
                f"granted {granted}, used {used}, balance {balance} computed, {event.after} recorded"
            )
        self.granted, self.used, self.balance = granted, used, balance
        if ends_for_good:
            self.voided = True


def change_lot(lots: dict[LotId, Lot], version: int, event: GrantChangeEvent) -> None:
    """Apply an event by which a grant becomes another; `version` is where the stream was."""
    lot = lots.get(event.lot)
    if lot is None:
        raise LawBroken(f"stream {event.originator_id} has no lot {event.lot}")
    check_version(version, event)
    if event.after[:3] != (lot.granted, lot.used, lot.balance):
        raise LawBroken(
            f"stream {event.originator_id} version {event.originator_version} moves no credit, but says {event.after}"
        )
    lot.take_terms(event.terms, event.originator_version)
    lot.details, lot.texts = event.grant, event.grant.texts


def check_version(version: int, event: Event) -> None:
    """A stream's versions are gapless: an event that is applied is the next one."""
    if event.originator_version != version + 1:
        raise LawBroken(f"stream {event.originator_id}: version {event.originator_version} follows {version}")


class OfLots(Protocol):
    """What grants and execution credits have in common: a stream with lots."""

    version: int
    lots: dict[LotId, Lot]


def move_lot(aggregate: OfLots, event: Movement) -> None:
    """Apply a movement to the one of a stream's lots that it is about."""
    facts = event.__dict__
    lot = aggregate.lots.get(facts["lot"])
    if lot is None:
        raise LawBroken(f"stream {event.originator_id} has no lot {event.lot}")
    version: int = facts["originator_version"]
    if version != aggregate.version + 1:
        check_version(aggregate.version, event)
    lot.move(event)
    aggregate.version = version


def burn_down_key(terms: Terms, grant_type: GrantType | None, stream_id: StreamId, lot_id: LotId) -> BurnDownKey:
    """Where a lot stands among the lots that may pay for the same use; the smallest pays first.

    Priority ascending; end ascending, never-ending last; type (TYPE_RANK); beginning ascending; creation ascending; id.
    Source: the contract of credit grants, 'Burn-down order'. For execution credits the end decides, so that a renewing
    credit pays before an ADDON.
    """
    return (
        terms.priority,
        terms.expires_at or FOREVER,
        TYPE_RANK[grant_type],
        terms.effective_at,
        terms.created_at,
        stream_id,
        lot_id,
    )
