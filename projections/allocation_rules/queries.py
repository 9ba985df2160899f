"""Questions to allocation rules: the rules there are, or were at a position, and what was used of each."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ledger.domain.allocation_rule import above_threshold, percentage
from ledger.domain.credits import Credits
from ledger.domain.events import RuleDetails
from ledger.domain.instants import Instant
from ledger.domain.values import StreamId
from ledger.store.sql import statement
from projections.group_sets.queries import groups_of_sets
from projections.group_usage.queries import UsedSet, used_by_sets
from projections.read_model import ALLOCATION_RULES
from projections.reading import Snapshot
from projections.usage.windows import UsageWindow

PACKAGE = "projections.allocation_rules"


class RuleRow(NamedTuple):
    """A rule: whole credits that are allocated to its account groups, and the percentage of them to warn from."""

    rule: StreamId
    name: str
    account_groups: tuple[str, ...]
    allocated: int
    alarm_threshold: int
    currency: str | None
    created_at: Instant


class RuleUsage(NamedTuple):
    """A rule and what was used of it in a window, in Credits; every decision is made on the exact amount."""

    rule: RuleRow
    used: Credits

    @property
    def percentage(self) -> int:
        return percentage(self.used, self.rule.allocated)

    @property
    def above_threshold(self) -> bool:
        return above_threshold(self.used, self.rule.allocated, self.rule.alarm_threshold)


class RulesFilter(NamedTuple):
    """Which rules: by name, by account group (any of them), by whether they are above their threshold; None: all."""

    names: Sequence[str] | None = None
    account_groups: Sequence[str] | None = None
    above_threshold: bool | None = None


class After(NamedTuple):
    """A place in the order of a list: the rule that comes before it."""

    name: str
    rule: StreamId


def rule_by_id(snapshot: Snapshot, rule: StreamId) -> RuleRow | None:
    """A rule that there is."""
    row = snapshot.one(ALLOCATION_RULES, statement(PACKAGE, "by_id.sql"), {"rule": rule})
    return None if row is None else RuleRow(**row | {"account_groups": tuple(row["account_groups"])})


def names_of_rules(snapshot: Snapshot) -> list[str]:
    """The names of all rules, in their order."""
    return [row["name"] for row in snapshot.all(ALLOCATION_RULES, statement(PACKAGE, "names.sql"), {})]


def rules_at(
    snapshot: Snapshot,
    position: int,
    wanted: RulesFilter | None = None,
    *,
    after: After | None = None,
    limit: int | None = None,
) -> list[RuleRow]:
    """The rules there were at a position, in order of name, then id; `wanted` but for its threshold."""
    wanted = wanted or RulesFilter()
    values = {
        "position": position,
        "names": None if wanted.names is None else list(wanted.names),
        "groups": None if wanted.account_groups is None else list(wanted.account_groups),
        "after_name": None if after is None else after.name,
        "after_rule": None if after is None else after.rule,
        "limit": limit,
    }
    rows = snapshot.all(ALLOCATION_RULES, statement(PACKAGE, "list.sql"), values)
    return [RuleRow(**row | {"account_groups": tuple(row["account_groups"])}) for row in rows]


def rules_with_usage(
    snapshot: Snapshot,
    window: UsageWindow,
    wanted: RulesFilter,
    *,
    position: int,
    after: After | None = None,
    limit: int,
) -> list[RuleUsage]:
    """At most `limit` rules in order of name, then id, each with what was used of it in the window.

    All of it as it was at `position`, which may lie before the snapshot's, never beyond.
    """
    above = wanted.above_threshold
    rules = rules_at(snapshot, position, wanted, after=after, limit=limit if above is None else None)
    if not rules:
        return []
    used = used_by_rules(snapshot, rules, used_by_sets(snapshot, window, position=position))
    found = [RuleUsage(rule, used[rule.rule]) for rule in rules]
    return [each for each in found if above is None or each.above_threshold is above][:limit]


def used_by_rules(
    snapshot: Snapshot, rules: Iterable[RuleRow], used: Mapping[UsedSet, Credits]
) -> Mapping[StreamId, Credits]:
    """What counts for each rule: the uses that name any of its account groups, each once, in its currency or in any."""
    groups = groups_of_sets(snapshot, {group_set for _, group_set in used})
    in_currency: dict[tuple[str, str | None], set[StreamId]] = defaultdict(set)
    """Rules by an account group, and by the one currency that they count."""
    for rule in rules:
        for group in rule.account_groups:
            in_currency[group, rule.currency].add(rule.rule)
    counted: dict[StreamId, Credits] = defaultdict(int)
    for (currency, group_set), amount in used.items():
        matching: set[StreamId] = set()
        for group in groups[group_set]:
            matching |= in_currency.get((group, None), set()) | in_currency.get((group, currency), set())
        for rule_id in matching:
            counted[rule_id] += amount
    return counted


def details_at(snapshot: Snapshot, position: int) -> dict[StreamId, RuleDetails]:
    """The rules there were at a position, as their events tell them."""
    return {
        row.rule: RuleDetails(**{name: value for name, value in row._asdict().items() if name != "rule"})
        for row in rules_at(snapshot, position)
    }
