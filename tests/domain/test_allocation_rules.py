"""Allocation rules: what there is of them, whose a name is, and when use has come to a threshold."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from ledger.domain.allocation_rule import RuleBook, above_threshold, percentage
from ledger.domain.credits import UNITS_PER_CREDIT
from ledger.domain.events import (
    AllocationRuleChanged,
    AllocationRuleDefined,
    AllocationRuleRemoved,
    RuleDetails,
    ThresholdReached,
)
from ledger.domain.lots import LawBroken
from ledger.domain.refusals import AllocationRuleExists, AllocationRuleNotFound
from ledger.domain.values import RULES
from tests.domain import scenario
from tests.domain.rule_steps import change_rule, define_rule, details, reach, remove_rule
from tests.domain.scenario import START, Clock, Scenario, Step, at, changed, consume, day, fact, issue, units

LATER = day("2026-02-03")
LARGEST = 2**31 - 1


def given_rules(*steps: Step | Clock) -> Scenario:
    return scenario.given(*steps, pool=RULES)


def names_of(scenario: Scenario) -> dict[str, str]:
    """Which rule has which name, told by the rules and by the names alike."""
    book = scenario.book.pool
    assert isinstance(book, RuleBook)
    assert {rule.details.name: stream for stream, rule in book.rules.items() if rule.live} == book.names
    return {str(name): str(stream) for name, stream in book.names.items()}


def test_a_rule_is_told_whole_when_it_is_made() -> None:
    told = {"account_groups": ("g2", "g1"), "allocated": 7, "alarm_threshold": 9, "currency": "c"}
    defined = given_rules(at(LATER)).when(define_rule("R", "north", **told))
    defined.then(fact(AllocationRuleDefined, originator_id="R", originator_version=1, pool=RULES,
                      rule=RuleDetails(name="north", created_at=LATER, **told)))  # fmt: skip


CHANGES: list[dict[str, Any]] = [
    {"name": "north"},
    {"account_groups": ("h", "g")},
    {"allocated": 0},
    {"alarm_threshold": 0},
    {"currency": "tokens"},
    {"name": "north", "account_groups": ("h",), "allocated": 1, "alarm_threshold": 100, "currency": "tokens"},
    {},
]


@pytest.mark.parametrize("changes", CHANGES, ids=[" ".join(each) or "nothing" for each in CHANGES])
def test_a_change_tells_the_rule_whole_and_all_that_it_does_not_name_is_as_before(changes: dict[str, Any]) -> None:
    other = given_rules(define_rule("R"), at(LATER)).when(change_rule("R", **changes))
    other.then(fact(AllocationRuleChanged, originator_version=2, rule=details(**{"name": "rule"} | changes)))


def test_a_rule_that_is_removed_was_so_at_that_instant_and_is_no_more() -> None:
    removed = given_rules(define_rule("R"), at(LATER)).when(remove_rule("R"))
    removed.then(fact(AllocationRuleRemoved, originator_version=2, rule=details(removed_at=LATER)))
    for step in (change_rule("R", allocated=1), change_rule("R"), remove_rule("R")):
        removed.when(step).then_refused(AllocationRuleNotFound, rule="R")


@pytest.mark.parametrize("step", [change_rule("X"), remove_rule("X"), reach("X")], ids=["change", "remove", "reach"])
def test_a_rule_that_there_never_was_is_not_found(step: Step) -> None:
    given_rules(define_rule("R")).when(step).then_refused(AllocationRuleNotFound, rule="X")


NAMES: list[tuple[str, list[Step], str]] = [
    # what is done to R, called rule, and S, called other; whose the names are then, or which is refused
    ("a name that another has",         [define_rule("T", "rule")],                               "refused: rule"),
    ("one that is spelled otherwise",   [define_rule("T", "Rule"), define_rule("U", "rule ")],
     "Rule=T other=S rule=R rule =U"),
    ("renamed to what another has",     [change_rule("R", name="other")],                         "refused: other"),
    ("renamed to its own name",         [change_rule("R", name="rule")],                          "other=S rule=R"),
    ("renamed to a free one",           [change_rule("R", name="new")],                           "new=R other=S"),
    ("the name it had is free",         [change_rule("R", name="x"), define_rule("T")],           "other=S rule=T x=R"),
    ("there and back again",            [change_rule("R", name="x"), change_rule("R", name="rule")], "other=S rule=R"),
    ("two swap theirs by a third",      [change_rule("R", name="x"), change_rule("S", name="rule"),
                                         change_rule("R", name="other")],                         "other=R rule=S"),
    ("a removed one's name is free",    [remove_rule("R"), define_rule("T")],                     "other=S rule=T"),
    ("a removed one's name, to rename", [remove_rule("R"), change_rule("S", name="rule")],        "rule=S"),
    ("and then it is taken again",      [remove_rule("R"), define_rule("T"), define_rule("U")],   "refused: rule"),
    ("a threshold keeps the name",      [reach("R"), define_rule("T")],                           "refused: rule"),
    ("after a removal it takes none",   [remove_rule("R"), reach("R"), define_rule("T")],         "other=S rule=T"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "names"), [case[1:] for case in NAMES], ids=[case[0] for case in NAMES])
def test_no_two_rules_have_the_same_name(steps: list[Step], names: str) -> None:
    rules = given_rules(define_rule("R"), define_rule("S", "other")).when(*steps)
    if names.startswith("refused: "):
        rules.then_refused(AllocationRuleExists, name=names.removeprefix("refused: "))
    else:
        assert rules.refusal is None
        assert " ".join(f"{name}={rule}" for name, rule in sorted(names_of(rules).items())) == names


def test_a_threshold_is_recorded_once_for_a_rule_and_month() -> None:
    rules = given_rules(define_rule("R"), define_rule("S", "other")).when(
        reach("R"), reach("R", used=units(90)), reach("R", "2026-02"), reach("S"), reach("R", "2026-02")
    )
    rules.then(
        fact(ThresholdReached, originator_id="R", month="2026-01", used=units(80), rule=details()),
        fact(ThresholdReached, originator_id="R", originator_version=3, month="2026-02"),
        fact(ThresholdReached, originator_id="S", originator_version=2, month="2026-01", rule=details("other")),
    )


def test_a_threshold_is_recorded_of_the_rule_as_it_was_then_though_the_rule_is_another_or_gone() -> None:
    rules = given_rules(define_rule("R"), change_rule("R", allocated=5), remove_rule("R")).when(reach("R"))
    rules.then(fact(ThresholdReached, rule=details(allocated=5, removed_at=START), allocated=100, reached_position=7))


def test_what_a_book_lets_go_of_was_looked_up_for_one_batch_alone() -> None:
    book = given_rules(define_rule("R"), reach("R")).book.pool
    assert isinstance(book, RuleBook)
    book.forget_closed()
    assert (book.rules, book.names, book.reached) == ({}, {}, set())


def test_an_event_that_is_no_rules_or_leaves_out_a_version_stops_the_fold() -> None:
    book = given_rules(define_rule("R")).book
    grant = scenario.given(issue("A", 1)).book.log[0]
    with pytest.raises(LawBroken, match="not about an allocation rule"):
        book.pool.evolve(grant)
    with pytest.raises(LawBroken, match="version 3 follows 1"):
        book.pool.evolve(changed(book.log[0], originator_version=3))


def test_what_other_processes_write_about_rules_is_never_applied_to_what_is_known() -> None:
    book = given_rules(define_rule("R")).book
    assert [book.pool.follows(event) for event in book.log] == [False]


def test_nothing_can_be_used_where_rules_stand() -> None:
    assert given_rules(define_rule("R")).when(consume(1)).refusal is not None


@pytest.mark.parametrize(
    "wrong", [{"account_groups": ()}, {"allocated": -1}, {"alarm_threshold": -1}, {"alarm_threshold": 101}]
)
def test_what_is_out_of_bounds_is_no_rule(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        details(**wrong)


E9 = UNITS_PER_CREDIT
SHARES = [
    # used in billionths, allocated credits, threshold; percentage, whether above
    (0,                     100,     80, 0,               False),
    (80 * E9 - 1,           100,     80, 79,              False),
    (80 * E9,               100,     80, 80,              True),
    (80 * E9 + 1,           100,     80, 80,              True),
    (100 * E9 - 1,          100,    100, 99,              False),
    (100 * E9,              100,    100, 100,             True),
    (250 * E9,              100,    100, 250,             True),
    (1,                     100,      0, 0,               True),
    (0,                     100,      0, 0,               True),
    (E9 - 1,                  3,     34, 33,              False),
    (E9,                      3,     33, 33,              True),
    (E9,                      3,     34, 33,              False),
    (1_020_000_000 - 1,       3,     34, 33,              False),
    (1_020_000_000,           3,     34, 34,              True),
    (10_000_000 - 1,          1,      1, 0,               False),
    (10_000_000,              1,      1, 1,               True),
    (0,                       0,      0, 0,               True),
    (0,                       0,      1, 0,               False),
    (0,                       0,    100, 0,               False),
    (1,                       0,      0, 100,             True),
    (1,                       0,    100, 100,             True),
    (10**28 - 1,              0,    100, 100,             True),
    (LARGEST * E9 - 1,  LARGEST,    100, 99,              False),
    (LARGEST * E9,      LARGEST,    100, 100,             True),
    (10**28 - 1,              1,    100, 10**21 - 1,      True),
    (10**28 - 1,        LARGEST,    100, 465_661_287_524, True),
]  # fmt: skip


@pytest.mark.parametrize(("used", "allocated", "threshold", "percent", "above"), SHARES)
def test_percent_and_threshold_are_told_by_exact_figures(
    used: int, allocated: int, threshold: int, percent: int, above: bool
) -> None:
    assert (percentage(used, allocated), above_threshold(used, allocated, threshold)) == (percent, above)


@given(st.integers(0, 10**28 - 1) | st.integers(0, 10**12), st.integers(1, LARGEST), st.integers(0, 100))
@example(E9, 3, 33)
def test_a_threshold_is_reached_just_where_the_whole_percents_are(used: int, allocated: int, threshold: int) -> None:
    """Of anything allocated: rounding down to whole percents never hides a threshold, which is one."""
    assert above_threshold(used, allocated, threshold) == (percentage(used, allocated) >= threshold)


verbs = st.sampled_from(["define", "define", "change", "change", "remove"])


@given(st.lists(st.tuples(verbs, st.integers(0, 7), st.sampled_from(["a", "b", "c"])), max_size=25))
def test_any_history_of_rules_is_what_a_list_of_names_allows(acts: list[tuple[str, int, str]]) -> None:
    rules = given_rules()
    named: dict[str, str] = {}
    for number, (verb, which, name) in enumerate(acts):
        rule = f"R{number if verb == 'define' else which}"
        taken = name in named and named[name] != rule
        present = verb == "define" or rule in named.values()
        if verb == "remove":
            rules.when(remove_rule(rule))
        else:
            rules.when((define_rule if verb == "define" else change_rule)(rule, name=name))
        allowed = present and (verb == "remove" or not taken)
        assert (rules.refusal is None) == allowed
        if allowed:
            named = {held: holder for held, holder in named.items() if holder != rule}
            named |= {} if verb == "remove" else {name: rule}
        assert names_of(rules) == named
    for stream in {event.originator_id for event in rules.book.log}:
        versions = [event.originator_version for event in rules.book.log if event.originator_id == stream]
        assert versions == [*range(1, rules.book.pool.version(stream) + 1)]
