"""Questions to usage by account groups: what was used in a window, now or as it was at an earlier position."""

from collections import defaultdict
from typing import Any, NamedTuple

from ledger.domain.auto_recharge import month_of
from ledger.domain.credits import Credits
from ledger.domain.instants import Instant
from ledger.domain.threshold_watch import UsedIn
from ledger.store.sql import statement
from projections.group_sets.queries import GroupSet, groups_of_sets
from projections.group_usage.windows import parts
from projections.read_model import GROUP_USAGE
from projections.reading import Snapshot
from projections.usage.windows import UsageWindow

PACKAGE = "projections.group_usage"
EVENTS_AT_ONCE = 1_000_000
"""How much of the log one question looks at: there may be more than can be read in the time that one may take."""


class UsedSet(NamedTuple):
    """What uses are summed by: the currency, and the set of account groups that they name (NO_GROUPS: none)."""

    currency: str
    group_set: GroupSet


def used_by_sets(snapshot: Snapshot, window: UsageWindow, *, position: int | None = None) -> dict[UsedSet, Credits]:
    """What was used in a window, to the microsecond, by currency and set; sets without a net use are left out.

    With a `position` as it was there, not beyond the snapshot's: what was recorded since is read and taken away.
    """
    end = None if window.end > snapshot.now else window.end  # no use lies ahead of now: nothing has to be cut there
    wanted = parts(window.start, end)
    values = {
        "grains": [part.grain.value for part in wanted],
        "starts": [part.start for part in wanted],
        "ends": [part.end for part in wanted],
        "signs": [part.sign for part in wanted],
    }
    rows = snapshot.all(GROUP_USAGE, statement(PACKAGE, "used.sql"), values)
    used = {UsedSet(row["currency"], row["group_set"]): row["used"] for row in rows}
    reached = snapshot.positions[GROUP_USAGE.name]
    if position is not None and position < reached:
        later = {"position": position, "until": reached, "start": window.start, "end": end}
        for row in snapshot.connection.execute(statement(PACKAGE, "later.sql"), later):
            key = UsedSet(row["currency"], row["group_set"])
            used[key] = used.get(key, 0) - row["used"]
    return {key: amount for key, amount in used.items() if amount != 0}


def used_by_months(snapshot: Snapshot, position: int) -> dict[UsedIn, Credits]:
    """What was ever used under account groups by UTC calendar month, as it was at a position."""
    used: defaultdict[tuple[Instant, str, GroupSet], Credits] = defaultdict(int)
    for row in snapshot.all(GROUP_USAGE, statement(PACKAGE, "by_month.sql"), {}):
        used[_month_key(row)] += row["used"]
    reached = snapshot.positions[GROUP_USAGE.name]
    for start in range(position, reached, EVENTS_AT_ONCE):
        later = {"position": start, "until": min(start + EVENTS_AT_ONCE, reached)}
        for row in snapshot.connection.execute(statement(PACKAGE, "later_by_month.sql"), later):
            used[_month_key(row)] -= row["used"]
    groups = groups_of_sets(snapshot, {group_set for _, _, group_set in used})
    return {
        UsedIn(month_of(month_at), currency, groups[group_set]): amount
        for (month_at, currency, group_set), amount in used.items()
        if amount != 0
    }


def _month_key(row: dict[str, Any]) -> tuple[Instant, str, GroupSet]:
    return row["month_at"], row["currency"], row["group_set"]
