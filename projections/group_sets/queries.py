"""Questions to sets of account groups."""

from collections.abc import Iterable
from typing import NewType

from ledger.store.sql import statement
from projections.read_model import GROUP_SETS
from projections.reading import Snapshot

GroupSet = NewType("GroupSet", str)
NO_GROUPS = GroupSet("00000000-0000-0000-0000-000000000000")
"""Stands for the set of uses that name no account group."""


def groups_of_sets(snapshot: Snapshot, sets: Iterable[GroupSet]) -> dict[GroupSet, tuple[str, ...]]:
    """The account groups of each of these sets, sorted."""
    rows = snapshot.all(GROUP_SETS, statement("projections.group_sets", "groups.sql"), {"sets": list(sets)})
    return {NO_GROUPS: ()} | {row["group_set"]: tuple(row["account_groups"]) for row in rows}
