"""Allocation rules as they were at any position: which there were, in their order, and what was used of each."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ledger.application import ChangeAllocationRule, DefineAllocationRule, Receipt, RemoveAllocationRule
from ledger.domain.credits import credits_of
from ledger.domain.events import RuleDetails
from ledger.domain.values import StreamId
from projections.allocation_rules.queries import (
    After,
    RuleRow,
    RulesFilter,
    details_at,
    names_of_rules,
    rule_by_id,
    rules_at,
    rules_with_usage,
)
from projections.read_model import ALLOCATION_RULES, RULE_MODELS
from projections.reading import Snapshot
from projections.usage.windows import DAY, UsageWindow
from tests.conftest import START
from tests.projections.followed import Followed, followed_ledger
from tests.projections.test_cuts import ends, folded, rows

GIVEN: Any = {"phases": [Phase.generate]}
GROUPS = ("a", "b", 'c "\\{},', "\u00e9\U0001f43b")
NAMES = ("A", "B", "Z z", "_", "a", "aa", "a a", "\u00e4", "\u00e9", "z", "\ue000", "\ufffd", "\U0001f43b", "%_", '"')
"""By code points neither as a dictionary has them, nor as UTF-16 does."""

names = st.sampled_from(NAMES)
group_sets = st.lists(st.sampled_from(GROUPS), min_size=1, max_size=3, unique=True)
allocated, thresholds = st.integers(0, 2**31 - 1), st.integers(0, 100)
which = st.integers(0, 10**6)
acts = st.one_of(
    st.tuples(st.just("define"), names, group_sets, allocated, thresholds, st.none() | st.just("credits")),
    st.tuples(st.just("change"), which, st.none() | names, st.none() | group_sets, st.none() | allocated),
    st.tuples(st.just("remove"), which),
)
histories = st.lists(acts, min_size=20, max_size=40)


@pytest.fixture(scope="module")
def followed(server_dsn: str) -> Iterator[Followed]:
    """A ledger to which each example adds its own history."""
    with followed_ledger(server_dsn) as followed:
        yield followed


def play(followed: Followed, acts: list[Any]) -> None:
    """Play acts, some of them together; what is refused (a name that is taken, a rule that is gone) is refused."""
    known: list[StreamId] = []
    with followed.at_head([ALLOCATION_RULES]) as snapshot:
        known += [rule.rule for rule in rules_at(snapshot, snapshot.position)]
    commands: list[Any] = []
    for number, act in enumerate(acts):
        match act:
            case ("define", name, groups, allocated, threshold, currency):
                commands.append(
                    DefineAllocationRule(
                        name=name, account_groups=groups, allocated=allocated, alarm_threshold=threshold,
                        currency=currency,
                    )
                )  # fmt: skip
            case ("change", which, name, groups, allocated) if known:
                rule = known[which % len(known)]
                commands.append(ChangeAllocationRule(rule=rule, name=name, account_groups=groups, allocated=allocated))
            case ("remove", which) if known:
                commands.append(RemoveAllocationRule(rule=known[which % len(known)]))
        if number % 3 == 0:
            outcomes = followed.books.ledger.execute_many_blocking(commands)
            known += [each.stream_id for each in outcomes if isinstance(each, Receipt)]
            commands = []


def naive_rules(snapshot: Snapshot, position: int) -> list[RuleRow]:
    """The rules there were at a position, from their events one by one."""
    there: dict[StreamId, RuleRow] = {}
    told = snapshot.connection.execute(
        "SELECT stream_id, definition -> 'rule' AS rule FROM movements"
        " WHERE kind = 'ALLOCATION_RULE' AND position <= %s ORDER BY position",
        [position],
    )
    for row in told:
        details = RuleDetails.model_validate(row["rule"])
        there.pop(row["stream_id"], None)
        if details.removed_at is None:
            fields = {name: value for name, value in dict(details).items() if name != "removed_at"}
            there[row["stream_id"]] = RuleRow(rule=row["stream_id"], **fields)
    return sorted(there.values(), key=lambda rule: (rule.name, rule.rule))


@settings(max_examples=8, **GIVEN)
@given(acts=histories, shares=st.lists(st.floats(0, 1), min_size=10, max_size=10))
def test_the_rules_at_any_position_are_those_that_the_log_tells_of_in_order_of_code_points(
    followed: Followed, acts: list[Any], shares: list[float]
) -> None:
    play(followed, acts)
    with followed.at_head([ALLOCATION_RULES]) as snapshot:
        for position in {0, snapshot.position, *(round(snapshot.position * share) for share in shares)}:
            rules = rules_at(snapshot, position)
            assert rules == naive_rules(snapshot, position)
            details = {
                rule: told.model_dump(exclude={"removed_at"}) for rule, told in details_at(snapshot, position).items()
            }
            assert [RuleRow(rule.rule, **details.pop(rule.rule)) for rule in rules] == rules
            assert details == {}
        assert names_of_rules(snapshot) == [rule.name for rule in rules_at(snapshot, snapshot.position)]
        for rule in {rule.rule for rule in rules_at(snapshot, snapshot.position // 2)}:
            now = [each for each in naive_rules(snapshot, snapshot.position) if each.rule == rule]
            assert rule_by_id(snapshot, rule) == (now[0] if now else None)


def test_the_order_of_names_is_the_same_whatever_the_servers_locale(followed: Followed) -> None:
    with followed.at_head([ALLOCATION_RULES]) as snapshot:
        ordered = snapshot.one(ALLOCATION_RULES, "SELECT pg_collation_for(max(name)) AS by FROM {table}", {})
    assert ordered == {"by": '"C"'}


@settings(max_examples=8, **GIVEN)
@given(
    acts=histories,
    share=st.floats(0.3, 1),
    named=st.none() | st.lists(names | st.just("nobody's"), min_size=1),
    groups=st.none() | st.lists(st.sampled_from([*GROUPS, "nobody's"]), min_size=1),
    limit=st.integers(1, 4),
)
def test_filters_let_through_what_they_name_and_pages_follow_one_another(
    followed: Followed, acts: list[Any], share: float, named: list[str] | None, groups: list[str] | None, limit: int
) -> None:
    play(followed, acts)
    with followed.at_head([ALLOCATION_RULES]) as snapshot:
        position = round(snapshot.position * share)
        wanted = RulesFilter(named, groups)
        whole = [
            rule
            for rule in naive_rules(snapshot, position)
            if (named is None or rule.name in named) and (groups is None or set(groups) & set(rule.account_groups))
        ]
        found: list[RuleRow] = []
        while page := rules_at(snapshot, position, wanted, after=_last(found), limit=limit):
            assert len(page) <= limit
            found += page
        assert found == whole == rules_at(snapshot, position, wanted)


def _last(rules: list[RuleRow]) -> After | None:
    return After(rules[-1].name, rules[-1].rule) if rules else None


@settings(max_examples=2, **GIVEN)
@given(acts=histories, data=st.data())
def test_the_cuts_of_the_windows_do_not_matter_to_rules(
    followed: Followed, acts: list[Any], data: st.DataObject
) -> None:
    """Whether a rule is made, changed and removed in one window or in three."""
    play(followed, acts)
    with followed.at_head([ALLOCATION_RULES]):
        kept, places = rows(followed.projector, ALLOCATION_RULES), ends(followed.projector)
    cuts = sorted(data.draw(st.sets(st.sampled_from(places), max_size=9)) | {places[-1]})
    for number, windows in enumerate(([places[-1]], places, cuts)):
        suffix = f"_{len(places)}_{number}"
        assert folded(followed.projector, ALLOCATION_RULES, windows, suffix) == kept


@pytest.fixture(scope="module")
def at_thresholds(server_dsn: str) -> Iterator[Followed]:
    """Rules of 80 % below, at and above it by a billionth, and such that allocate nothing; two have no use at all."""
    with followed_ledger(server_dsn) as followed:
        followed.books.issue_grant(holder="acme", currency="c", amount=100, display_name="g", grant_type="PAID")
        for name, used, allocated, threshold in CASES:
            followed.books.define_allocation_rule(
                name=name, account_groups=(name,), allocated=allocated, alarm_threshold=threshold
            )
            if used:
                followed.books.consume(holder="acme", currency="c", amount=used, account_groups=(name,))
        yield followed


CASES = [  # name, used, allocated, threshold
    ("1 below",                 "7.999999999", 10, 80),
    ("2 at",                    "8",           10, 80),
    ("3 above",                 "8.000000001", 10, 80),
    ("4 unused",                None,          10, 80),
    ("5 unused from 0",         None,          10, 0),
    ("6 of nothing",            "0.000000001", 0,  80),
    ("7 of nothing, unused",    None,          0,  80),
    ("8 unused nothing from 0", None,          0,  0),
]  # fmt: skip
ABOVE: Mapping[bool | None, str] = {True: "23568", False: "147", None: "12345678"}


@pytest.mark.parametrize("limit", [1, 2, 3, 9])
def test_a_threshold_parts_the_rules_before_they_are_paged(at_thresholds: Followed, limit: int) -> None:
    with at_thresholds.at_head(RULE_MODELS) as snapshot:
        window = UsageWindow(START - DAY, START + DAY)
        for above, cases in ABOVE.items():
            found: list[RuleRow] = []
            wanted = RulesFilter(above_threshold=above)
            while page := rules_with_usage(
                snapshot, window, wanted, position=snapshot.position, after=_last(found), limit=limit
            ):
                assert len(page) == min(limit, len(cases) - len(found))
                assert above is None or {each.above_threshold for each in page} == {above}
                found += [each.rule for each in page]
            assert "".join(rule.name[0] for rule in found) == cases


def test_use_is_told_of_the_window_and_in_percent(at_thresholds: Followed) -> None:
    percent = {"1": 79, "2": 80, "3": 80, "4": 0, "5": 0, "6": 100, "7": 0, "8": 0}
    with at_thresholds.at_head(RULE_MODELS) as snapshot:

        def told(start: datetime, end: datetime) -> dict[str, tuple[int, int]]:
            window = UsageWindow(start, end)
            found = rules_with_usage(snapshot, window, RulesFilter(), position=snapshot.position, limit=9)
            return {each.rule.name[0]: (each.used, each.percentage) for each in found}

        used = {name[0]: credits_of(used or 0) for name, used, _, _ in CASES}
        assert told(START, START + DAY) == {name: (used[name], percent[name]) for name in used}
        assert set(told(START - DAY, START).values()) == {(0, 0)}
