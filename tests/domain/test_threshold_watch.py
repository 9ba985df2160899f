"""Which use, or which change of a rule, first reaches a rule's threshold in a calendar month."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias

import pytest

from ledger.domain.credits import credits_text
from ledger.domain.instants import Instant
from ledger.domain.threshold_watch import Reached, Recorded, RuleTold, Step, ThresholdWatch, Used, UsedIn
from ledger.domain.values import StreamId, TransactionId
from tests.domain.rule_steps import details
from tests.domain.scenario import MICROSECOND, START, day, units

Happens: TypeAlias = Callable[[int], Step]
"""Something that happens at a position."""
FEB = day("2026-02-01")
HOUR = timedelta(hours=1)


def use(amount: int | str, *groups: str, at: Instant = START, currency: str = "c") -> Happens:
    """Credits are used by account groups (by g, where none is named) at an instant."""
    return lambda position: _used(position, units(amount), groups or ("g",), at, currency)


def back(amount: int | str, *groups: str, at: Instant = START, currency: str = "c") -> Happens:
    """Credits of a use at that instant come back."""
    return lambda position: _used(position, -units(amount), groups or ("g",), at, currency)


def told(rule: str = "R", **others: Any) -> Happens:
    """A rule is made or changed: 100 credits for g, to warn at 80 percent, but for what is told."""
    return lambda position: RuleTold(
        *(position, TransactionId(f"t{position}"), START + position * HOUR, StreamId(rule)),
        details(**{"name": rule} | others),
    )


def removed(rule: str = "R") -> Happens:
    return told(rule, removed_at=START)


def recorded(rule: str = "R", month: str = "2026-01") -> Happens:
    return lambda position: Recorded(StreamId(rule), month)


def _used(position: int, amount: int, groups: tuple[str, ...], at: Instant, currency: str) -> Used:
    return Used(position, TransactionId(f"t{position}"), START + position * HOUR, at, currency, groups, amount)


def alarm(reached: Reached) -> str:
    """At which position how much was used; and, where it is not R in January, of which rule in which month."""
    rule = "" if reached.rule == "R" else f" of {reached.rule}"
    month = "" if reached.month == "2026-01" else f" in {reached.month}"
    return f"{reached.position}: {credits_text(reached.used)}{rule}{month}"


CASES: list[tuple[str, list[Happens], list[str]]] = [
    ("below it by a billionth",         [told(), use("79.999999999")],                          []),
    ("and then that billionth",         [told(), use("79.999999999"), use("0.000000001")],      ["3: 80"]),
    ("just at it",                      [told(), use(80)],                                      ["2: 80"]),
    ("far above it at once",            [told(), use(500)],                                     ["2: 500"]),
    ("once, however much follows",      [told(), use(80), use(80), use(80)],                    ["2: 80"]),
    ("not again after a fall",          [told(), use(80), back(80), use(80)],                   ["2: 80"]),
    ("what came back counts no more",   [told(), use(79), back(40), use(40), use(1)],           ["5: 80"]),
    ("use by another group",            [told(), use(80, "h")],                                 []),
    ("two of its groups count once",    [told(account_groups=("g", "h")), use(40, "g", "h"), use(40, "h", "i")],
     ["3: 80"]),
    ("its groups together",             [told(account_groups=("g", "h")), use(40), use(40, "h")], ["3: 80"]),
    ("all currencies together",         [told(), use(40), use(40, currency="d")],               ["3: 80"]),
    ("a rule of one currency",          [told(currency="d"), use(80), use(79, currency="d"), use(1, currency="d")],
     ["4: 80"]),
    ("of one currency, made later",     [use(80), use(79, currency="d"), told(currency="d")],   []),
    ("each month by itself",            [told(), use(79), use(79, at=FEB), use(1, at=FEB), use(1)],
     ["4: 80 in 2026-02", "5: 80"]),
    ("the last instant of a month",     [told(), use(79), use(1, at=FEB - MICROSECOND)],        ["3: 80"]),
    ("the first of the next",           [told(), use(79), use(1, at=FEB)],                      []),
    ("the same month of another year",  [told(), use(79), use(80, at=day("2025-01-31"))],       ["3: 80 in 2025-01"]),
    ("and in the month of its use",     [told(), use(79, at=FEB), back(79, at=FEB), use(79), use(1, at=FEB)], []),
    ("of rules that share a group",     [told("S", alarm_threshold=50), told("R"), told("T", account_groups=("h",)),
                                         use(50), use(30)],                                    ["4: 50 of S", "5: 80"]),
    ("all at once, by their ids",       [told("S"), told("R"), use(80)],                       ["3: 80", "3: 80 of S"]),
    ("a rule made after the use",       [use(80), told()],                                      ["2: 80"]),
    ("for every month there was",       [use(80), use(79, at=FEB), use(90, at=day("2025-12-31")), told()],
     ["4: 90 in 2025-12", "4: 80"]),
    ("made after it came back",         [use(80), back(1), told()],                             []),
    ("a change of the threshold",       [told(), use(50), told(alarm_threshold=51), told(alarm_threshold=50)],
     ["4: 50"]),
    ("a change of what is allocated",   [told(), use(50), told(allocated=63), told(allocated=62)], ["4: 50"]),
    ("a change of its groups",          [told(), use(80, "h"), told(account_groups=("g", "h"))], ["3: 80"]),
    ("a group that it lost",            [told(), told(account_groups=("h",)), use(80), use(80, "h")], ["4: 80"]),
    ("a change of its currency",        [told(currency="d"), use(80), told(currency=None)],     ["3: 80"]),
    ("a change after it was reached",   [told(), use(80), told(alarm_threshold=10)],            ["2: 80"]),
    ("a name is nothing to it",         [told(), use(79), told(name="new"), use(1)],            ["4: 80"]),
    ("a rule that is removed",          [told(), removed(), use(80)],                           []),
    ("removed after it was reached",    [told(), use(80), removed(), use(80, at=FEB)],          ["2: 80"]),
    ("another in a removed one's place", [told(), use(80), removed(), told("S")],              ["2: 80", "4: 80 of S"]),
    ("0 percent: any use",              [told(alarm_threshold=0), use("0.000000001")],          ["2: 0.000000001"]),
    ("0 percent, and no use",           [told(alarm_threshold=0)],                              []),
    ("0 percent, and all came back",    [use(1), back(1), told(alarm_threshold=0)],             []),
    ("nothing allocated: any use",      [told(allocated=0), use("0.000000001")],                ["2: 0.000000001"]),
    ("nothing allocated, all came back", [use(1), back(1), told(allocated=0, alarm_threshold=0)], []),
    ("100 percent, but a billionth",    [told(alarm_threshold=100), use("99.999999999")],       []),
    ("100 percent",                     [told(alarm_threshold=100), use(100)],                  ["2: 100"]),
    ("half of an odd number, nearly",   [told(allocated=3, alarm_threshold=50), use("1.499999999")], []),
    ("half of an odd number",           [told(allocated=3, alarm_threshold=50), use("1.5")],    ["2: 1.5"]),
    ("another has recorded it",         [told(), use(79), recorded(), use(1)],                  []),
    ("recorded of another month",       [told(), recorded(month="2026-02"), use(80)],           ["3: 80"]),
    ("recorded of another rule",        [told(), recorded("S"), use(80)],                       ["3: 80"]),
]  # fmt: skip


@pytest.mark.parametrize(("history", "alarms"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_threshold_is_reached_by_the_first_event_that_comes_to_it(history: list[Happens], alarms: list[str]) -> None:
    watch = ThresholdWatch()
    reached = [each for place, happens in enumerate(history, 1) for each in watch.follow([happens(place)])]
    assert list(map(alarm, reached)) == alarms


def test_what_is_reached_is_told_with_the_rule_and_the_event_of_that_instant() -> None:
    watch = ThresholdWatch()
    for place, happens in enumerate([told(), use(40), told(alarm_threshold=50)], 1):
        assert list(watch.follow([happens(place)])) == []
    assert list(watch.follow([use(10, at=FEB - HOUR)(4)])) == [
        Reached(StreamId("R"), "2026-01", units(50), 100, 50, 4, START + 4 * HOUR, TransactionId("t4"))
    ]


def test_a_watch_that_begins_later_begins_with_what_was_used_and_reached_so_far() -> None:
    used = {
        UsedIn("2026-01", "c", ("g", "h")): units(70),
        UsedIn("2026-01", "d", ("g",)): units(9),
        UsedIn("2026-01", "c", ("h",)): units(50),
        UsedIn("2026-02", "c", ("g",)): units(79),
    }
    rules = {StreamId("R"): details(), StreamId("S"): details("S")}
    watch = ThresholdWatch(used, rules, [(StreamId("S"), "2026-01")])
    assert [(each.rule, each.used) for each in watch.follow([use(1)(9)])] == [("R", units(80))]
    assert [(each.rule, each.used) for each in watch.follow([use(1, at=FEB)(10)])] == [
        ("R", units(80)),
        ("S", units(80)),
    ]
