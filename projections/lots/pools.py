"""The pools of a holder, each told from its lots: one table, so that every figure is of the same position."""

from typing import NamedTuple

from ledger.domain.credits import Credits
from ledger.domain.values import Kind
from ledger.store.sql import statement
from projections.read_model import LOTS
from projections.reading import Snapshot


class PoolFigures(NamedTuple):
    """One pool over all of its lots; Credits, with granted - used - voided - expired = booked.

    `used` is net of refunds. `available` is what of the booked is usable at the snapshot's instant.
    """

    currency: str
    resource: str | None
    granted: Credits
    used: Credits
    voided: Credits
    expired: Credits
    booked: Credits
    available: Credits


def pools_of_holder(
    snapshot: Snapshot, kind: Kind, holder: str, *, currency: str | None, resource: str | None, pools_max: int
) -> list[PoolFigures]:
    """A holder's pools that ever had a lot, by currency and resource; one more than `pools_max` where there are more.

    A `resource` that is empty means the pools of none; None means all.
    """
    wanted = {
        "kind": kind,
        "holder": holder,
        "currency": currency,
        "resource": resource,
        "pools_max": pools_max,
        "now": snapshot.now,
    }
    rows = snapshot.all(LOTS, statement("projections.lots", "of_holder.sql"), wanted)
    return [PoolFigures(**row) for row in rows]
