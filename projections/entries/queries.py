"""Questions to entries: a holder's ledger, as pages or whole. Balances after a movement are facts in its event."""

from typing import Any, NamedTuple

from ledger.domain.credits import Credits
from ledger.domain.instants import Instant
from ledger.domain.values import Cause, DocumentId, Kind, LotId, PoolKey, TransactionId
from ledger.store.sql import statement
from projections.paging import Page, Window
from projections.read_model import ENTRIES
from projections.reading import Snapshot

PACKAGE = "projections.entries"


ROLLED_OVER = "ledger.rolled-over"
"""The type of an entry that took out of a grant what another carries on."""


class Entry(NamedTuple):
    """One event of a lot as a statement shows it: `amount` signed, booked balances after it; Credits.

    `amount` is 0 where a grant became another. `type` is the event's topic, or ROLLED_OVER.
    """

    position: int
    type: str
    cause: Cause
    recorded_at: Instant
    effective_at: Instant
    transaction_id: TransactionId
    lot: LotId
    holder: str
    currency: str
    resource: str | None
    amount: Credits
    lot_balance: Credits
    pool_balance: Credits
    actor_kind: str
    actor_key: str
    document_id: DocumentId | None


class EntriesFilter(NamedTuple):
    """Which movements of one holder: on a resource, or with None on the holder's own pools; of some types, or all."""

    kind: Kind
    holder: str
    resource: str | None = None
    currency: str | None = None
    types: tuple[str, ...] | None = None


def page_of_entries(snapshot: Snapshot, wanted: EntriesFilter, window: Window) -> Page[Entry]:
    """One page of a ledger, newest first; the places are positions."""
    values = _values(wanted) | window.values()
    values["below"] = min(values["below"], snapshot.position + 1)
    return window.page(_rows(snapshot, values), lambda entry: entry.position)


def count_entries(snapshot: Snapshot, wanted: EntriesFilter) -> int:
    """How many movements the filter lets through."""
    row = snapshot.one(ENTRIES, statement(PACKAGE, "count.sql"), _values(wanted) | {"below": snapshot.position + 1})
    assert row is not None
    total: int = row["total"]
    return total


def statement_of_pool(snapshot: Snapshot, pool: PoolKey) -> list[Entry]:
    """Every movement of one pool up to the snapshot's position, oldest first."""
    wanted = EntriesFilter(pool.kind, pool.holder, pool.resource, pool.currency)
    window = {"limit": None, "below": snapshot.position + 1, "above": 0, "backward": True}
    return _rows(snapshot, _values(wanted) | window)


def _values(wanted: EntriesFilter) -> dict[str, Any]:
    types = None if wanted.types is None else list(wanted.types)
    return wanted._asdict() | {"resource": wanted.resource or "", "types": types}


def _rows(snapshot: Snapshot, values: dict[str, Any]) -> list[Entry]:
    rows = snapshot.all(ENTRIES, statement(PACKAGE, "page.sql"), values)
    return [Entry(**row | {"cause": Cause(row["cause"])}) for row in rows]
