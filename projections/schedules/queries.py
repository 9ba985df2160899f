"""Questions to schedules. What only time changes (the next grant) is computed from the row and the instant."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ledger.domain.events import GrantScheduleDefined, SchedulePlan
from ledger.domain.grant_schedule import next_grant_at
from ledger.domain.instants import Instant
from ledger.domain.values import DocumentId, Kind, PoolKey, StreamId
from ledger.store.sql import statement
from projections.read_model import SCHEDULES
from projections.reading import Snapshot

SCHEDULES_MAX = 1000


class ScheduleRow(NamedTuple):
    """A grant schedule; its display name is in its document."""

    schedule: StreamId
    holder: str
    currency: str
    resource: str | None
    plan: SchedulePlan
    document_id: DocumentId | None

    def next_grant_at(self, now: Instant) -> Instant | None:
        """When it grants next after this instant; None once it has ended."""
        return next_grant_at(self.plan, now)


def schedules_of(snapshot: Snapshot, holder: str) -> list[ScheduleRow]:
    """A holder's schedules, newest first, ended ones too; at most 1,000."""
    wanted = {"holder": holder, "limit": SCHEDULES_MAX}
    return _rows(snapshot, "of_holder.sql", wanted)


def next_grants(snapshot: Snapshot, holder: str) -> dict[PoolKey, Instant]:
    """When the next grant of a holder's schedules comes into each of his pools."""
    found: dict[PoolKey, Instant] = {}
    for row in _rows(snapshot, "living.sql", {"holder": holder}):
        next_at = row.next_grant_at(snapshot.now)
        if next_at is not None:
            pool = PoolKey(Kind.CREDIT_GRANT, row.holder, row.currency, row.resource)
            found[pool] = min(next_at, found.get(pool, next_at))
    return found


def schedule_as_defined(event: GrantScheduleDefined) -> ScheduleRow:
    """A schedule as an event of its tells it."""
    document = event.transaction.document
    return ScheduleRow(
        event.originator_id,
        event.pool.holder,
        event.pool.currency,
        event.pool.resource,
        event.plan,
        None if document is None else document.document_id,
    )


def _rows(snapshot: Snapshot, name: str, values: Mapping[str, Any]) -> list[ScheduleRow]:
    rows = snapshot.all(SCHEDULES, statement("projections.schedules", name), values)
    return [ScheduleRow(**row | {"plan": SchedulePlan.model_validate(row["plan"])}) for row in rows]
