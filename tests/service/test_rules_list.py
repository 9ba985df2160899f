"""Which rules a list has, in which order, and what it tells of each: who used what, exactly, and when to warn."""

import itertools
from typing import Any

import pytest

from tests.service.executions import Company, refund
from tests.service.rules import Rule, Rules, ToldRules
from tests.service.serving import Service

INT32_MAX = 2**31 - 1
UNTIL_NOW = {"type": "relative", "value": {"unit": "year", "amount": 100}}
JANUARY = {"type": "absolute", "value": {"startTime": 1767225600000, "endTime": 1769904000000}}
"""2026-01-01 to 2026-02-01."""
NAME_ORDER = ["B", "B ", "B!", "BA", "Ba", "a", "z", "É", "é", "\uffff", "\U0001f600"]
"""As their code points have it."""
TOLD = [
    # used           allocated  usedCredits  percentage
    ("0.499999999",  100,       0,           0),
    ("0.5",          100,       1,           0),
    ("0.999999999",  100,       1,           0),
    ("1",            100,       1,           1),
    ("1.499999999",  3,         1,           49),
    ("1.5",          3,         2,           50),
    ("2",            3,         2,           66),
    ("2.5",          1,         3,           250),
    ("29.999999999", 100,       30,          29),
    ("0.29",         1,         0,           29),
    ("99.999999999", 100,       100,         99),
    ("100",          100,       100,         100),
    ("1000",         7,         1000,        14285),
    ("0.000000001",  0,         0,           100),
    ("12345",        0,         12345,       100),
    ("21474836.46",  1,         21474836,    INT32_MAX - 1),
    ("21474836.469999999", 1,   21474836,    INT32_MAX - 1),
    ("21474836.48",  1,         21474836,    INT32_MAX),
    ("2147483646.499999999", INT32_MAX, INT32_MAX - 1, 99),
    ("2147483646.5", INT32_MAX, INT32_MAX,   99),
    ("2147483647",   INT32_MAX, INT32_MAX,   100),
    ("2147483648",   INT32_MAX, INT32_MAX,   100),
    ("9999999999.123456789", 1_000_000_000, INT32_MAX, 999),
    ("999999999999999999.999999999", INT32_MAX, INT32_MAX, INT32_MAX),
]  # fmt: skip
THRESHOLDS = [
    # used          allocated  alarmThreshold  above
    (None,          100,       0,              True),
    (None,          100,       1,              False),
    (None,          0,         0,              True),
    (None,          0,         1,              False),
    (None,          0,         100,            False),
    ("0.000000001", 0,         0,              True),
    ("0.000000001", 0,         100,            True),
    ("0.000000001", 100,       0,              True),
    ("49.999999999", 100,      50,             False),
    ("50",          100,       50,             True),
    ("50.000000001", 100,      50,             True),
    ("0.989999999", 3,         33,             False),
    ("0.99",        3,         33,             True),
    ("1.98",        3,         67,             False),
    ("2.01",        3,         67,             True),
    ("99.999999999", 100,      100,            False),
    ("100",         100,       100,            True),
    ("2147483646.999999999", INT32_MAX, 100,   False),
    ("2147483647",  INT32_MAX, 100,            True),
    ("9999999999",  INT32_MAX, 100,            True),
]  # fmt: skip
TEXTS = "must be a list of texts"
WHOLE = f"must be a whole number from 1 to {INT32_MAX}"
ALARM = "must be one of AboveThreshold, BelowThreshold"
WRONG: dict[str, tuple[list[Any], str]] = {
    "ruleNames": (["a", 1, True, {}, {"a": 1}, [1], ["a", None], [["a"]], ["a\0"], ["\ud800"]], TEXTS),
    "accountGroupIds": (["a", 1, True, {}, {"a": 1}, [1], ["a", None], [["a"]], ["a\0"], ["\ud800"]], TEXTS),
    "thresholdFilter": (["", "above", "ABOVETHRESHOLD", "AboveThreshold ", 1, True, ["AboveThreshold"]], ALARM),
    "limit": ([0, -1, 0.5, 1.5, "5", True, [1], INT32_MAX + 1, 10**30, -(10**30)], WHOLE),
    "pageToken": (
        [1, "", "x", "=", True, ["x"], {}, "\u00e9", "\0", "\ud800", "A" * 5000],
        "must be the token of a page",
    ),
    "rulenames": ([[], None], "is not known"),
    "offset": ([0], "is not known"),
}


@pytest.fixture
def rules(service: Service, customer: str) -> Rules:
    return Rules(service, customer)


def ids(rules: ToldRules | None) -> list[str]:
    return [rule["id"] for rule in rules or []]


def test_where_there_are_no_rules_the_list_is_null(rules: Rules) -> None:
    assert rules.list() == {"rules": None, "pageToken": None}
    rule = rules.define()
    assert ids(rules.list()["rules"]) == [rule["id"]]
    for wanted in ({"ruleNames": ["other"]}, {"accountGroupIds": ["other"]}, {"thresholdFilter": "AboveThreshold"}):
        assert rules.list(**wanted) == {"rules": None, "pageToken": None}
    rules.remove(rule)
    assert rules.list() == {"rules": None, "pageToken": None}


def test_a_rule_is_told_as_it_was_made_and_with_its_usage(rules: Rules) -> None:
    made = rules.define(accountGroups=["z", rules.group, "a"], allocatedCredits=8, currencyId="credits")
    rules.use("4.2", rules.group)
    assert rules.own() == [made | {"usedCredits": 4, "percentage": 52}]
    assert made == {
        "id": made["id"], "customerId": None, "prismaId": None, "name": rules.names[0], "targetType": "AccountGroup",
        "allocatedCredits": 8, "alarmThreshold": 50, "accountGroups": ["z", rules.group, "a"], "currencyId": "credits",
    }  # fmt: skip
    assert type(rules.own()[0]["usedCredits"]) is type(rules.own()[0]["percentage"]) is int


def test_rules_come_in_order_of_their_names(rules: Rules) -> None:
    for name in reversed(NAME_ORDER):
        rules.define(name)
    assert [rule["name"] for rule in rules.own()] == NAME_ORDER
    told = [rule["name"] for rule in rules.list()["rules"]]
    assert told == sorted(told)


def test_filters_are_or_within_a_list_and_and_between_lists(rules: Rules) -> None:
    g, h, i = (f"{letter} of {rules.customer}" for letter in "ghi")
    both, one, other, idle = (rules.define(accountGroups=groups) for groups in ([g, h], [g], [h], [i]))
    rules.use(60, g)
    ours = ids([both, one, other, idle])
    by_name: list[tuple[list[Rule], list[str] | None]] = [
        ([both, one, other, idle], None), ([both, one, other, idle], []), ([one, idle], [one["name"], idle["name"]]),
        ([both], [both["name"], "unknown", both["name"]]), ([], [both["name"].upper(), f" {both['name']}", ""]),
    ]  # fmt: skip
    by_group: list[tuple[list[Rule], list[str] | None]] = [
        ([both, one, other, idle], None), ([both, one, other, idle], []), ([both, one], [g]), ([both, other], [h, h]),
        ([both, one, other], [h, g]), ([idle], [i, "unknown"]), ([], ["unknown", ""]),
    ]  # fmt: skip
    by_threshold = [
        ([both, one, other, idle], None),
        ([both, one], "AboveThreshold"),
        ([other, idle], "BelowThreshold"),
    ]
    for (named, n), (grouped, a), (alarmed, t) in itertools.product(by_name, by_group, by_threshold):
        found = rules.list(ruleNames=n, accountGroupIds=a, thresholdFilter=t, limit=1000)["rules"]
        wanted = set(ids(named)) & set(ids(grouped)) & set(ids(alarmed))
        assert [each for each in ids(found) if each in ours] == [each for each in ours if each in wanted], (n, a, t)


def test_a_filter_by_account_group_leaves_the_usage_whole(rules: Rules) -> None:
    g, h = f"g of {rules.customer}", f"h of {rules.customer}"
    rules.define(accountGroups=[g, h])
    rules.use(1, g)
    rules.use(10, h)
    assert rules.usage(accountGroupIds=[g]) == {rules.names[0]: (11, 11)}


def test_what_is_wrong_with_a_request_is_told_by_its_name(rules: Rules) -> None:
    for name, (values, told) in WRONG.items():
        for value in values:
            assert f"{name} {told}" in rules.refused(**{name: value}), value
    message = rules.refused(timeRange={}, **{name: values[0] for name, (values, _) in WRONG.items()})
    assert [name for name in (*WRONG, "timeRange.type") if f"{name} " not in message] == []


def test_use_is_rounded_half_up_and_its_percentage_down(rules: Rules) -> None:
    wanted = {}
    for number, (amount, allocated, used, percentage) in enumerate(TOLD):
        group = f"{number} of {rules.customer}"
        rule = rules.define(accountGroups=[group], allocatedCredits=allocated)
        rules.use(amount, group)
        wanted[rule["name"]] = (used, percentage)
    unused = rules.define(accountGroups=["nobody's"], allocatedCredits=0)
    assert rules.usage() == wanted | {unused["name"]: (0, 0)}


def test_a_rule_is_above_its_threshold_or_below_it(rules: Rules) -> None:
    above = []
    for number, (amount, allocated, threshold, is_above) in enumerate(THRESHOLDS):
        group = f"{number} of {rules.customer}"
        rule = rules.define(accountGroups=[group], allocatedCredits=allocated, alarmThreshold=threshold)
        if amount is not None:
            rules.use(amount, group)
        if is_above:
            above.append(rule["name"])
    assert list(rules.usage(thresholdFilter="AboveThreshold")) == above
    assert list(rules.usage(thresholdFilter="BelowThreshold")) == [each for each in rules.names if each not in above]


def test_the_threshold_is_held_against_the_window_that_is_asked_for(rules: Rules) -> None:
    rules.define()
    rules.use(50, rules.group, at="2025-06-01T00:00:00Z")
    assert rules.own(thresholdFilter="AboveThreshold") == []
    assert len(rules.own(thresholdFilter="AboveThreshold", timeRange=UNTIL_NOW)) == 1


def test_a_use_counts_once_for_each_rule_that_it_names_a_group_of(rules: Rules) -> None:
    g, h, i = (f"{letter} of {rules.customer}" for letter in "ghi")
    both, one, other = (rules.define(accountGroups=groups)["name"] for groups in ([g, h, i], [g], [i]))
    rules.use(1, g, h, i)
    rules.use(10, h, g, "elsewhere")
    rules.use(100, i)
    rules.use(1000)
    assert rules.usage() == {both: (111, 111), one: (11, 11), other: (101, 101)}


def test_a_refund_counts_where_its_use_did(rules: Rules) -> None:
    rule = rules.define()
    first = rules.use(50, rules.group, at="2025-12-31T23:59:59.999999Z")
    second = rules.use("50.25", rules.group, at="2026-01-01T00:00:00Z")
    assert (rules.used(rule, timeRange=UNTIL_NOW), rules.used(rule, timeRange=JANUARY)) == (100, 50)
    rules.refund(first, "49.5")
    assert (rules.used(rule, timeRange=UNTIL_NOW), rules.used(rule, timeRange=JANUARY)) == (51, 50)
    rules.refund(second, "0.250000001")
    assert rules.usage(timeRange=JANUARY) == {rule["name"]: (50, 49)}
    assert rules.own(timeRange=JANUARY, thresholdFilter="AboveThreshold") == []
    rules.refund(second)
    rules.refund(first)
    assert rules.usage(timeRange=UNTIL_NOW) == {rule["name"]: (0, 0)}


def test_execution_credits_and_grants_count_together(service: Service, rules: Rules) -> None:
    company = Company(service)
    company.create(credits=100)
    every = rules.define()["name"]
    coins, tokens, scans = (rules.define(currencyId=each)["name"] for each in ("credits", "tokens", "AI_PENTEST"))
    other = rules.define(accountGroups=["elsewhere"], currencyId="AI_PENTEST")["name"]
    rules.use(1, rules.group)
    rules.use(10, rules.group, currency="tokens")
    debit = company.debit(40, accountGroupIds=[rules.group])
    assert rules.usage() == {every: (51, 51), coins: (1, 1), tokens: (10, 10), scans: (40, 40), other: (0, 0)}
    refund(service, debit, 15)
    assert rules.usage() == {every: (36, 36), coins: (1, 1), tokens: (10, 10), scans: (25, 25), other: (0, 0)}


def test_a_changed_rule_counts_what_was_used_before(rules: Rules) -> None:
    g, h = f"g of {rules.customer}", f"h of {rules.customer}"
    rules.use(10, g)
    rules.use(20, h, currency="tokens")
    rules.use(40, g, h)
    rule = rules.define()
    changes: list[tuple[dict[str, Any], tuple[int, int]]] = [
        ({}, (0, 0)),
        ({"accountGroups": [g]}, (50, 50)),
        ({"accountGroups": [h, g]}, (70, 70)),
        ({"currencyId": "tokens"}, (20, 20)),
        ({"accountGroups": [g]}, (0, 0)),
        ({"currencyId": "credits", "allocatedCredits": 7}, (50, 714)),
        ({"name": f"changed {rules.customer}", "alarmThreshold": 100}, (50, 714)),
        ({"allocatedCredits": 0}, (50, 100)),
    ]
    for change, wanted in changes:
        rule = rules.change(rule, **change)
        assert rules.usage() == {rule["name"]: wanted}


def test_a_rule_that_is_removed_is_in_no_list_and_its_name_begins_anew(rules: Rules) -> None:
    rule = rules.define()
    rules.use(10, rules.group)
    rules.remove(rule)
    assert rules.list(ruleNames=[rule["name"]]) == {"rules": None, "pageToken": None}
    again = rules.define(rule["name"], allocatedCredits=1000)
    assert again["id"] != rule["id"]
    assert rules.usage() == {rule["name"]: (10, 1)}
