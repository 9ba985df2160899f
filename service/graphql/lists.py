"""The contract's lists and sums: connections of grants and of ledger entries, and balances by currency."""

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Self

import strawberry

from ledger.domain.events import (
    Debited,
    Expired,
    Granted,
    GrantPaymentRecorded,
    GrantUpdated,
    Refunded,
    Voided,
)
from ledger.domain.instants import Instant, instant_text
from projections.entries.queries import ROLLED_OVER, EntriesFilter, Entry, count_entries
from projections.lots.queries import LotRow, LotsFilter, Usable, count_lots
from projections.paging import Page
from service.graphql.context import Info
from service.graphql.fields import shows
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
    ROLLED_OVER: CreditLedgerEventType.CREDITS_ROLLED_OVER,
    GrantUpdated.TOPIC: CreditLedgerEventType.CREDITS_UPDATED,
    GrantPaymentRecorded.TOPIC: CreditLedgerEventType.CREDITS_UPDATED,
}


def topics_of(wanted: list[CreditLedgerEventType] | None) -> tuple[str, ...] | None:
    """The types of entries that stand behind these."""
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

    timestamp: str = shows(lambda it: instant_text(it.entry.effective_at), "When it took effect.")
    event_type: CreditLedgerEventType = shows(lambda it: WIRE_TYPES[it.entry.type])
    amount: float = shows(lambda it: float_of(abs(it.entry.amount)), "A positive magnitude.")
    amount_exact: Decimal = shows(lambda it: exact_of(abs(it.entry.amount)))
    signed_amount: Decimal = shows(lambda it: exact_of(it.entry.amount))
    balance_after: Decimal = shows(lambda it: exact_of(it.entry.pool_balance), "Booked in the pool after this.")
    grant_balance_after: Decimal = shows(lambda it: exact_of(it.entry.lot_balance), "Booked on the grant after this.")
    customer_id: str = shows(lambda it: it.entry.holder)
    resource_id: str | None = shows(lambda it: it.entry.resource)
    credit_grant_id: str = shows(lambda it: it.entry.lot)
    credit_currency_id: str = shows(lambda it: it.entry.currency)
    event_id: str | None = shows(
        lambda it: it.entry.transaction_id, "The transaction; the same on all rows of one operation."
    )
    transaction_id: strawberry.ID = shows(lambda it: strawberry.ID(it.entry.transaction_id))
    feature_id: str | None = shows(lambda it: None)
    position: str = shows(lambda it: str(it.entry.position))
    recorded_at: datetime = shows(lambda it: it.entry.recorded_at)
    actor: str = shows(
        lambda it: f"{it.entry.actor_kind}:{it.entry.actor_key}", "Who did it: the kind of actor and its key."
    )

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

    currency_id: str = shows(lambda it: it.usable.currency)
    total_granted: float = shows(lambda it: float_of(it.usable.granted))
    total_granted_exact: Decimal = shows(lambda it: exact_of(it.usable.granted))
    total_consumed: float = shows(lambda it: float_of(it.usable.used))
    total_consumed_exact: Decimal = shows(lambda it: exact_of(it.usable.used))
    current_balance: float = shows(lambda it: float_of(it.usable.available))
    current_balance_exact: Decimal = shows(lambda it: exact_of(it.usable.available))
    valid_until: datetime | None = shows(
        lambda it: it.usable.valid_until, "The next instant at which the balance changes by itself."
    )


@strawberry.type
class CreditBalanceSummary:
    customer_id: str
    resource_id: str | None
    balances: list[CreditBalance]
