"""The contract's lists and sums: connections of grants and of ledger entries, and balances by currency."""

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Self

import strawberry

from ledger.domain.events import Debited, Expired, Granted, Refunded, Voided
from ledger.domain.instants import Instant, instant_text
from projections.entries.queries import EntriesFilter, Entry, count_entries
from projections.lots.queries import LotRow, LotsFilter, Usable, count_lots
from projections.paging import Page
from service.graphql.context import Info
from service.graphql.paging import cursor_of, page_info
from service.graphql.scalars import exact_of, float_of
from service.graphql.types import CreditGrant, PageInfo


@strawberry.enum
class CreditLedgerEventType(Enum):
    CREDITS_GRANTED = "CREDITS_GRANTED"
    CREDITS_CONSUMED = "CREDITS_CONSUMED"
    CREDITS_EXPIRED = "CREDITS_EXPIRED"
    CREDITS_VOIDED = "CREDITS_VOIDED"
    CREDITS_UPDATED = "CREDITS_UPDATED"
    CREDITS_REFUNDED = "CREDITS_REFUNDED"
    CREDITS_ROLLED_OVER = "CREDITS_ROLLED_OVER"


WIRE_TYPES = {
    Granted.TOPIC: CreditLedgerEventType.CREDITS_GRANTED,
    Debited.TOPIC: CreditLedgerEventType.CREDITS_CONSUMED,
    Refunded.TOPIC: CreditLedgerEventType.CREDITS_REFUNDED,
    Voided.TOPIC: CreditLedgerEventType.CREDITS_VOIDED,
    Expired.TOPIC: CreditLedgerEventType.CREDITS_EXPIRED,
}


def topics_of(wanted: list[CreditLedgerEventType] | None) -> tuple[str, ...] | None:
    """The events that stand behind these types; those that nothing writes yet have none."""
    return None if wanted is None else tuple(topic for topic, wire in WIRE_TYPES.items() if wire in wanted)


@strawberry.type
class CreditGrantEdge:
    cursor: str
    node: CreditGrant


@strawberry.type
class CreditGrantConnection:
    edges: list[CreditGrantEdge]
    page_info: PageInfo
    wanted: strawberry.Private[LotsFilter]

    @strawberry.field
    async def total_count(self, info: Info) -> int:
        return await info.context.ask(lambda snapshot: count_lots(snapshot, self.wanted))

    @classmethod
    def of(cls, page: Page[LotRow], now: Instant, wanted: LotsFilter) -> Self:
        cursors = [cursor_of(row.first_position, "grant") for row in page.rows]
        edges = [
            CreditGrantEdge(cursor=cursor, node=CreditGrant(row=row, now=now))
            for cursor, row in zip(cursors, page.rows, strict=True)
        ]
        return cls(edges=edges, page_info=page_info(page, cursors), wanted=wanted)


@strawberry.type(description="One grant touched by one operation; rows of one consumption share their eventId.")
class CreditLedgerEntry:
    entry: strawberry.Private[Entry]
    now: strawberry.Private[Instant]

    @strawberry.field(description="When it took effect.")
    def timestamp(self) -> str:
        return instant_text(self.entry.effective_at)

    @strawberry.field
    def event_type(self) -> CreditLedgerEventType:
        return WIRE_TYPES[self.entry.type]

    @strawberry.field(description="A positive magnitude.")
    def amount(self) -> float:
        return float_of(abs(self.entry.amount))

    @strawberry.field
    def amount_exact(self) -> Decimal:
        return exact_of(abs(self.entry.amount))

    @strawberry.field
    def signed_amount(self) -> Decimal:
        return exact_of(self.entry.amount)

    @strawberry.field(description="Booked in the pool after this.")
    def balance_after(self) -> Decimal:
        return exact_of(self.entry.pool_balance)

    @strawberry.field(description="Booked on the grant after this.")
    def grant_balance_after(self) -> Decimal:
        return exact_of(self.entry.lot_balance)

    @strawberry.field
    def customer_id(self) -> str:
        return self.entry.holder

    @strawberry.field
    def resource_id(self) -> str | None:
        return self.entry.resource

    @strawberry.field
    def credit_grant_id(self) -> str:
        return self.entry.lot

    @strawberry.field
    def credit_currency_id(self) -> str:
        return self.entry.currency

    @strawberry.field(description="The transaction; the same on all rows of one operation.")
    def event_id(self) -> str | None:
        return self.entry.transaction_id

    @strawberry.field
    def transaction_id(self) -> strawberry.ID:
        return strawberry.ID(self.entry.transaction_id)

    @strawberry.field
    def feature_id(self) -> str | None:
        return None

    @strawberry.field
    def position(self) -> str:
        return str(self.entry.position)

    @strawberry.field
    def recorded_at(self) -> datetime:
        return self.entry.recorded_at

    @strawberry.field(description="Who did it: the kind of actor and its key.")
    def actor(self) -> str:
        return f"{self.entry.actor_kind}:{self.entry.actor_key}"

    @strawberry.field
    async def reason(self, info: Info) -> str | None:
        if self.entry.document_id is None:
            return None
        return (await info.context.documents.load(self.entry.document_id) or {}).get("reason")

    @strawberry.field
    async def grant(self, info: Info) -> CreditGrant | None:
        row = await info.context.lots.load(self.entry.lot)
        return None if row is None else CreditGrant(row=row, now=self.now)


@strawberry.type
class CreditLedgerEdge:
    cursor: str
    node: CreditLedgerEntry


@strawberry.type
class CreditLedgerConnection:
    edges: list[CreditLedgerEdge]
    page_info: PageInfo
    wanted: strawberry.Private[EntriesFilter]

    @strawberry.field
    async def total_count(self, info: Info) -> int:
        return await info.context.ask(lambda snapshot: count_entries(snapshot, self.wanted))

    @classmethod
    def of(cls, page: Page[Entry], now: Instant, wanted: EntriesFilter) -> Self:
        cursors = [cursor_of(entry.position, "entry") for entry in page.rows]
        edges = [
            CreditLedgerEdge(cursor=cursor, node=CreditLedgerEntry(entry=entry, now=now))
            for cursor, entry in zip(cursors, page.rows, strict=True)
        ]
        return cls(edges=edges, page_info=page_info(page, cursors), wanted=wanted)


@strawberry.type(description="The usable grants of one currency at the instant of the read.")
class CreditBalance:
    usable: strawberry.Private[Usable]

    @strawberry.field
    def currency_id(self) -> str:
        return self.usable.currency

    @strawberry.field
    def total_granted(self) -> float:
        return float_of(self.usable.granted)

    @strawberry.field
    def total_granted_exact(self) -> Decimal:
        return exact_of(self.usable.granted)

    @strawberry.field
    def total_consumed(self) -> float:
        return float_of(self.usable.used)

    @strawberry.field
    def total_consumed_exact(self) -> Decimal:
        return exact_of(self.usable.used)

    @strawberry.field
    def current_balance(self) -> float:
        return float_of(self.usable.available)

    @strawberry.field
    def current_balance_exact(self) -> Decimal:
        return exact_of(self.usable.available)

    @strawberry.field(description="The next instant at which the balance changes by itself.")
    def valid_until(self) -> datetime | None:
        return self.usable.valid_until


@strawberry.type
class CreditBalanceSummary:
    customer_id: str
    resource_id: str | None
    balances: list[CreditBalance]
