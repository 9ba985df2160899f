"""Questions to recharges. What only time changes (the spend of the present month) is computed from the row."""

from typing import NamedTuple

from ledger.domain.auto_recharge import spent
from ledger.domain.events import AutoRechargeDefined, RechargesDone, RechargeSettings
from ledger.domain.instants import Instant
from ledger.domain.values import StreamId
from ledger.store.sql import statement
from projections.read_model import RECHARGES
from projections.reading import Snapshot


class RechargeRow(NamedTuple):
    """The automatic recharge of a customer's own pool."""

    configuration: StreamId
    holder: str
    currency: str
    settings: RechargeSettings
    done: RechargesDone
    created_at: Instant
    saved_at: Instant

    def spent(self, now: Instant) -> int:
        """What the recharges of this UTC month have cost, in billionths of the price's currency."""
        return spent(self.done, now)


def recharge_of(snapshot: Snapshot, holder: str, currency: str) -> RechargeRow | None:
    """The automatic recharge of a pool; None if it was never set up."""
    wanted = {"holder": holder, "currency": currency}
    row = snapshot.one(RECHARGES, statement("projections.recharges", "of_pool.sql"), wanted)
    if row is None:
        return None
    settings = RechargeSettings.model_validate(row["settings"])
    return RechargeRow(**row | {"settings": settings, "done": RechargesDone.model_validate(row["done"])})


def recharge_as_defined(event: AutoRechargeDefined) -> RechargeRow:
    """An automatic recharge as an event of its tells it."""
    return RechargeRow(
        event.originator_id,
        event.pool.holder,
        event.pool.currency,
        event.settings,
        event.done,
        event.created_at,
        event.saved_at,
    )
