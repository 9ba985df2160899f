"""Questions to lots. What only time changes (status, availability) is computed from the row and the instant."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.credits import Credits, credits_of
from ledger.domain.events import Granted, LotEvent
from ledger.domain.grant_details import GrantDetails
from ledger.domain.instants import Instant
from ledger.domain.values import UUID, DocumentId, GrantType, Kind, LotId, PoolKey, StreamId
from ledger.store.sql import statement
from projections.paging import Page, Window
from projections.read_model import LOTS
from projections.reading import Snapshot
from projections.schedules.queries import next_grants
from projections.usage.windows import UsageWindow

PACKAGE = "projections.lots"


class LotStatus(StrEnum):
    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    CONSUMED = "CONSUMED"
    EXPIRED = "EXPIRED"
    VOIDED = "VOIDED"


class LotRow(NamedTuple):
    """A lot as it is booked; amounts, cost and priority in units of 10**-9, `used` net of refunds.

    `updated_at` is when its last event was recorded. What is a grant's own is None on an execution credit's period.
    """

    lot: LotId
    stream_id: StreamId
    kind: Kind
    holder: str
    currency: str
    resource: str | None
    grant_type: GrantType | None
    readable_id: str | None
    cost_amount: int | None
    cost_currency: str | None
    document_id: DocumentId | None
    effective_at: Instant
    expires_at: Instant | None
    created_at: Instant
    updated_at: Instant
    priority: int
    awaiting_payment: bool
    granted: Credits
    used: Credits
    voided: Credits
    expired: Credits
    balance: Credits
    voided_at: Instant | None
    details: GrantDetails | None
    rolled_over_to: StreamId | None
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

    def remaining(self, now: Instant) -> Credits:
        """What is left of the lot, usable now or later; none once it has ended, lapse recorded or not."""
        return 0 if self.status(now) in (LotStatus.EXPIRED, LotStatus.VOIDED) else self.balance


class LotsFilter(NamedTuple):
    """Which lots of one holder: those of a resource, or with None those of the holder's own pools."""

    kind: Kind
    holder: str
    resource: str | None = None
    currency: str | None = None
    status: LotStatus | None = None


class Usable(NamedTuple):
    """The usable lots of one currency, summed; Credits, with granted - used = available.

    `valid_until` is the next instant at which `available` changes by itself: a lot begins or ends, a schedule grants.
    """

    currency: str
    granted: Credits
    used: Credits
    available: Credits
    valid_until: Instant | None


def purchased(snapshot: Snapshot, window: UsageWindow) -> Credits:
    """The credits of all lots, of both kinds, that were usable at some instant of the window.

    Of a billing period its allotment, as the last update left it.
    """
    row = snapshot.one(LOTS, statement(PACKAGE, "purchased.sql"), window._asdict())
    assert row is not None
    amount: Credits = row["purchased"]
    return amount


def lots_of_pool(snapshot: Snapshot, pool: PoolKey) -> list[LotRow]:
    """The lots of one pool, oldest first."""
    return _rows(snapshot, "of_pool.sql", pool._asdict())


def lots_by_id(snapshot: Snapshot, lots: Iterable[LotId]) -> dict[LotId, LotRow]:
    """Lots by their ids; one that is not there is missing."""
    return {row.lot: row for row in _rows(snapshot, "by_id.sql", {"lots": list(lots)})}


def grant_named(snapshot: Snapshot, name: str) -> LotRow | None:
    """A grant by its id or its readable id. A UUID is an id, whatever somebody's readable id may look like."""
    if UUID.fullmatch(name):
        rows = [row for row in lots_by_id(snapshot, [LotId(name)]).values() if row.kind is Kind.CREDIT_GRANT]
    else:
        rows = _rows(snapshot, "by_readable_id.sql", {"readable_id": name})
    return rows[0] if rows else None


def grant_as_issued(event: Granted, position: int) -> LotRow:
    """A grant as its first event made it."""
    terms, grant, after = event.terms, event.grant, event.after
    assert grant is not None
    document = event.transaction.document
    return LotRow(
        lot=event.lot,
        stream_id=event.originator_id,
        **event.pool._asdict(),
        grant_type=event.grant_type,
        readable_id=grant.readable_id,
        cost_amount=credits_of(grant.cost.amount),
        cost_currency=grant.cost.currency,
        document_id=None if document is None else document.document_id,
        effective_at=terms.effective_at,
        expires_at=terms.expires_at,
        created_at=terms.created_at,
        updated_at=event.transaction.recorded_at,
        priority=credits_of(terms.priority),
        awaiting_payment=terms.awaiting_payment,
        granted=after.granted,
        used=after.used,
        voided=0,
        expired=0,
        balance=after.balance,
        voided_at=None,
        details=grant,
        rolled_over_to=None,
        first_position=position,
        last_position=position,
    )


def grant_as_of(connection: Connection[DictRow], event: LotEvent) -> LotRow:
    """A grant as one of its events left it, read from the log itself."""
    wanted = {"streams": [event.originator_id], "versions": [event.originator_version]}
    row = connection.execute(statement(PACKAGE, "as_of.sql"), wanted).fetchone()
    assert row is not None
    return _lot_row(row)


def names_of_grants(connection: Connection[DictRow], grants: Iterable[StreamId]) -> dict[StreamId, str]:
    """The readable ids of grants."""
    rows = connection.execute(statement(PACKAGE, "names.sql"), {"streams": list(grants)})
    return {row["stream_id"]: row["readable_id"] for row in rows}


def page_of_lots(snapshot: Snapshot, wanted: LotsFilter, window: Window) -> Page[LotRow]:
    """One page of a holder's lots, newest first; their places are their first positions."""
    values = wanted._asdict() | window.values() | {"now": snapshot.now}
    return window.page(_rows(snapshot, "page.sql", values), lambda row: row.first_position)


def count_lots(snapshot: Snapshot, wanted: LotsFilter) -> int:
    """How many lots the filter lets through."""
    row = snapshot.one(LOTS, statement(PACKAGE, "count.sql"), wanted._asdict() | {"now": snapshot.now})
    assert row is not None
    total: int = row["total"]
    return total


def usable_by_currency(snapshot: Snapshot, wanted: LotsFilter) -> list[Usable]:
    """What is usable now, one for each currency that the holder ever had, or is to get, credits of there."""
    found = _usable(snapshot, wanted.kind, [(wanted.holder, wanted.resource, wanted.currency)])
    for pool, beginning in next_grants(snapshot, wanted.holder).items():
        if pool.resource == wanted.resource and wanted.currency in (None, pool.currency):
            usable = found.get(pool, Usable(pool.currency, 0, 0, 0, None))
            found[pool] = usable._replace(valid_until=min(usable.valid_until or beginning, beginning))
    return sorted(found.values(), key=lambda usable: usable.currency)


def usable_of_pools(snapshot: Snapshot, pools: Sequence[PoolKey]) -> dict[PoolKey, Usable]:
    """What is usable now in each of some pools of grants, schedules left aside; one without any lot is missing."""
    return _usable(snapshot, Kind.CREDIT_GRANT, [(pool.holder, pool.resource, pool.currency) for pool in pools])


def _usable(
    snapshot: Snapshot, kind: Kind, wanted: Sequence[tuple[str, str | None, str | None]]
) -> dict[PoolKey, Usable]:
    holders, resources, currencies = map(list, zip(*wanted, strict=True))
    values = {"kind": kind, "holders": holders, "resources": resources, "currencies": currencies, "now": snapshot.now}
    found: dict[PoolKey, Usable] = {}
    for row in snapshot.all(LOTS, statement(PACKAGE, "summary.sql"), values):
        pool = PoolKey(kind, row.pop("holder"), row["currency"], row.pop("resource"))
        found[pool] = Usable(**row)
    return found


def available(lots: Iterable[LotRow], now: Instant) -> Credits:
    """What of these lots is usable at `now`."""
    return sum(lot.available(now) for lot in lots)


def _rows(snapshot: Snapshot, name: str, values: Mapping[str, Any]) -> list[LotRow]:
    return [_lot_row(row) for row in snapshot.all(LOTS, statement(PACKAGE, name), values)]


def _lot_row(row: DictRow) -> LotRow:
    grant_type = None if row["grant_type"] is None else GrantType(row["grant_type"])
    details = None if row["details"] is None else GrantDetails.model_validate(row["details"])
    return LotRow(**row | {"kind": Kind(row["kind"]), "grant_type": grant_type, "details": details})
