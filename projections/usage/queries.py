"""Questions to usage: what a holder used in a window, in points of the calendar, and under which dimensions."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ledger.domain.credits import Credits
from ledger.domain.instants import Instant
from ledger.domain.values import DocumentId, Kind
from ledger.store.sql import statement
from projections.read_model import USAGE
from projections.reading import Snapshot
from projections.usage.windows import PointSize, UsageWindow, stretches

PACKAGE = "projections.usage"
NO_DIMENSIONS = DocumentId("00000000-0000-0000-0000-000000000000")
"""Stands in the key for a use without dimensions."""


class UsageFilter(NamedTuple):
    """Whose use: of a resource, or with None of the holder's own pools; of one currency, or of all."""

    kind: Kind
    holder: str
    resource: str | None = None
    currency: str | None = None


class UsedSet(NamedTuple):
    """A currency, and the document of the dimensions under which it was used; None: without any."""

    currency: str
    dimension_set: DocumentId | None


class Used(NamedTuple):
    """What was used in one unit of the calendar, less what was refunded of it; Credits, 0 where all was."""

    currency: str
    series: int
    point_at: Instant
    used: Credits


def sets_used(
    snapshot: Snapshot, wanted: UsageFilter, window: UsageWindow, size: PointSize, *, limit: int
) -> list[UsedSet]:
    """Every currency and set of dimensions with a use in the window, in no order; at most `limit` of them."""
    values = _values(wanted, window, size) | {"limit": limit}
    rows = snapshot.all(USAGE, statement(PACKAGE, "sets.sql"), values)
    return [
        UsedSet(row["currency"], None if row["dimension_set"] == NO_DIMENSIONS else row["dimension_set"])
        for row in rows
    ]


def usage_series(
    snapshot: Snapshot,
    wanted: UsageFilter,
    window: UsageWindow,
    size: PointSize,
    series: Mapping[DocumentId | None, int] | None = None,
) -> list[Used]:
    """What was used in the window by currency, series and point: the points with a use alone, oldest first.

    Exact at both edges. `series` says by a number to which series the uses under each set of dimensions belong; those
    under other sets belong to series 0.
    """
    numbers = {NO_DIMENSIONS if name is None else name: number for name, number in (series or {}).items()}
    values = _values(wanted, window, size)
    values |= {"point": size.lower(), "sets": list(numbers), "numbers": list(numbers.values())}
    return [Used(**row) for row in snapshot.all(USAGE, statement(PACKAGE, "series.sql"), values)]


def _values(wanted: UsageFilter, window: UsageWindow, size: PointSize) -> dict[str, Any]:
    parts = stretches(window, size)
    return wanted._asdict() | {
        "resource": wanted.resource or "",
        "grains": [part.grain.value for part in parts],
        "starts": [part.start for part in parts],
        "ends": [part.end for part in parts],
    }
