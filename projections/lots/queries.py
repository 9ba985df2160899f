"""Questions to lots. What only time changes (status, availability) is computed from the row and the instant."""

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from ledger.domain.credits import Credits, credits_decimal
from ledger.domain.instants import Instant
from ledger.domain.values import Cause, GrantType, LotId, PoolKey, StreamId, TransactionId
from ledger.store.sql import statement
from projections.read_model import LOTS
from projections.reading import Snapshot

PACKAGE = "projections.lots"


class LotStatus(StrEnum):
    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    CONSUMED = "CONSUMED"
    EXPIRED = "EXPIRED"
    VOIDED = "VOIDED"


class LotRow(NamedTuple):
    """A lot as it is booked; amounts in Credits, `used` net of refunds."""

    lot: LotId
    stream_id: StreamId
    grant_type: GrantType | None
    readable_id: str | None
    effective_at: Instant
    expires_at: Instant | None
    created_at: Instant
    priority: Decimal
    awaiting_payment: bool
    granted: Credits
    used: Credits
    voided: Credits
    expired: Credits
    balance: Credits
    voided_at: Instant | None
    first_position: int
    last_position: int

    def status(self, now: Instant) -> LotStatus:
        """Derived, never stored. The first that holds: voided, consumed, expired, pending, active."""
        if self.voided_at is not None:
            return LotStatus.VOIDED
        if self.used == self.granted:
            return LotStatus.CONSUMED
        if self.expires_at is not None and self.expires_at <= now:
            return LotStatus.EXPIRED
        if self.effective_at > now or self.awaiting_payment:
            return LotStatus.PENDING
        return LotStatus.ACTIVE

    def available(self, now: Instant) -> Credits:
        """What of the lot is usable at this instant, job or no job."""
        return self.balance if self.status(now) is LotStatus.ACTIVE else 0


class Entry(NamedTuple):
    """One movement as a statement shows it: `amount` signed, balances after it; Credits."""

    position: int
    type: str
    cause: Cause
    recorded_at: Instant
    effective_at: Instant
    transaction_id: TransactionId
    lot: LotId
    readable_id: str | None
    amount: Credits
    lot_balance: Credits
    pool_balance: Credits
    actor_kind: str
    actor_key: str


def lots_of_pool(snapshot: Snapshot, pool: PoolKey) -> list[LotRow]:
    """The lots of one pool, oldest first."""
    rows = snapshot.all(LOTS.sql(statement(PACKAGE, "of_pool.sql")), pool._asdict())
    return [
        LotRow(
            **row
            | {
                "priority": credits_decimal(row["priority"]),
                "grant_type": None if row["grant_type"] is None else GrantType(row["grant_type"]),
            }
        )
        for row in rows
    ]


def available(lots: Iterable[LotRow], now: Instant) -> Credits:
    """What of these lots is usable at `now`."""
    return sum(lot.available(now) for lot in lots)


def statement_of_pool(snapshot: Snapshot, pool: PoolKey) -> list[Entry]:
    """Every movement of one pool up to the snapshot's position, oldest first, with its running balances."""
    values = pool._asdict() | {"position": snapshot.position}
    return [
        Entry(**row | {"cause": Cause(row["cause"])})
        for row in snapshot.all(LOTS.sql(statement(PACKAGE, "statement.sql")), values)
    ]
