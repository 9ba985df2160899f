"""Pages of a list: together they are the list as it was when the first was asked for, whatever happens meanwhile.

Some tests move the clock, forward only.
"""

import itertools
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from ledger.application import CreditLedger, DefineAllocationRule, Receipt
from ledger.store.clock import settable_clock
from ledger.store.database import Database
from tests.service.rules import LIST, Rules, ToldRules
from tests.service.serving import Service, serving
from tests.service.test_graphql_clock import MICROSECOND, move, now

MANY = 1050
HOUR = {"type": "relative", "value": {"unit": "hour", "amount": 1}}
MONTH = {"type": "relative", "value": {"unit": "month", "amount": 1}}


@pytest.fixture
def rules(service: Service, customer: str) -> Rules:
    return Rules(service, customer)


@pytest.fixture(scope="module")
def many(schema: Database, service: Service) -> str:
    """More rules than a page may have, which share an account group."""
    with CreditLedger(schema, clock=settable_clock()) as ledger:
        commands = [
            DefineAllocationRule(name=f"many {number}", account_groups=["many"], allocated=1, alarm_threshold=1)
            for number in range(MANY)
        ]
        assert all(isinstance(outcome, Receipt) for outcome in ledger.execute_many_blocking(commands))
    return "many"


def pages_of(rules: Rules, limits: Iterable[int | None], **request: Any) -> Iterator[ToldRules]:
    """One page after the other, each of its own size, each asked for when it is wanted."""
    token = None
    for limit in limits:
        page = rules.list(limit=limit, pageToken=token, **request)
        yield page["rules"]
        token = page["pageToken"]
        if token is None:
            return


def own_pages(rules: Rules, limits: Iterable[int | None] = itertools.repeat(2), **request: Any) -> Iterator[ToldRules]:
    """Pages of the rules for the customer's own group."""
    return pages_of(rules, limits, accountGroupIds=[rules.group], **request)


def test_a_page_has_as_many_rules_as_asked_for_up_to_1000(rules: Rules, many: str) -> None:
    for limit, length in [(None, 300), (1, 1), (2, 2), (999, 999), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)]:
        page = rules.list(limit=limit, accountGroupIds=[many])
        assert (len(page["rules"]), isinstance(page["pageToken"], str)) == (length, True)


@pytest.mark.parametrize("limits", [[None], [1000], [1001], [2**31 - 1], [351], [1, 250, None, 7, 1000]])
def test_pages_have_every_rule_once_and_in_order(rules: Rules, many: str, limits: list[int | None]) -> None:
    pages = list(pages_of(rules, itertools.cycle(limits), accountGroupIds=[many]))
    assert [rule["name"] for page in pages for rule in page] == sorted(f"many {number}" for number in range(MANY))
    sizes = [
        min(300 if limit is None else limit, 1000) for limit in itertools.islice(itertools.cycle(limits), len(pages))
    ]
    assert [len(page) for page in pages[:-1]] == sizes[:-1]
    assert 0 < len(pages[-1]) <= sizes[-1]


def test_there_is_a_token_only_where_there_is_another_page(rules: Rules) -> None:
    for number in range(4):
        for limit in (1, 2, 3, 4, 1000):
            page = rules.list(limit=limit, accountGroupIds=[rules.group])
            assert (page["pageToken"] is not None) == (limit < number)
        sizes = [len(page or []) for page in own_pages(rules)]
        assert sizes == {0: [0], 1: [1], 2: [2], 3: [2, 1]}[number]
        rules.define()


def test_the_threshold_filter_applies_before_the_pages_are_cut(rules: Rules) -> None:
    group = f"used of {rules.customer}"
    rules.use(50, group)
    used = [rules.define(accountGroups=[rules.group, *[group] * (number % 3 == 0)])["name"] for number in range(15)][
        ::3
    ]
    above = [[rule["name"] for rule in page] for page in own_pages(rules, thresholdFilter="AboveThreshold")]
    below = [[rule["name"] for rule in page] for page in own_pages(rules, thresholdFilter="BelowThreshold")]
    assert above == [used[:2], used[2:4], used[4:]]
    assert [len(page) for page in below] == [2, 2, 2, 2, 2]
    assert sorted(used + [name for page in below for name in page]) == rules.names


@pytest.mark.parametrize(
    "request_", [{}, {"thresholdFilter": "AboveThreshold"}, {"timeRange": {"type": "to_now", "value": "year"}}]
)
def test_pages_tell_the_list_as_it_was_at_the_first(rules: Rules, request_: dict[str, Any]) -> None:
    called = f"{rules.customer} {{}}".format
    b, d, f, *_, ell, n, p, r = (rules.define(called(letter)) for letter in "bdfhjlnpr")
    use = rules.use("70.5", rules.group, at="2026-01-15T00:00:00Z")

    def others_appear() -> None:
        for letter in "aemqz":
            rules.define(called(letter))
        rules.use(1000, rules.group)

    def some_disappear() -> None:
        for rule in (b, f, ell):
            rules.remove(rule)
        rules.refund(use, "69.5")

    def some_change() -> None:
        rules.change(r, name=called("0"))
        rules.change(d, name=called("zz"))
        rules.change(p, accountGroups=["elsewhere"])
        rules.change(n, allocatedCredits=1, alarmThreshold=0, currencyId="tokens")
        rules.use(5, rules.group, at="2026-01-15T00:00:00Z")

    first = rules.list(accountGroupIds=[rules.group], **request_)["rules"]
    assert [(rule["name"], rule["usedCredits"]) for rule in first] == [(name, 71) for name in rules.names]
    meanwhile = iter((others_appear, some_disappear, some_change))
    found = []
    for page in own_pages(rules, **request_):
        found += page
        next(meanwhile, lambda: None)()
    assert found == first


def test_a_windows_instants_stay_while_the_clock_moves_on(service: Service, rules: Rules) -> None:
    move(service, now(service) + timedelta(minutes=30, microseconds=1))
    begins = now(service) - timedelta(hours=1)
    for number in range(3):
        rules.define(accountGroups=[rules.group, f"{number} of {rules.customer}"])
    rules.use(1, rules.group, at=(begins - MICROSECOND).isoformat())
    rules.use(10, rules.group, at=begins.isoformat())
    rules.use(20, rules.group)
    found = []
    for page in own_pages(rules, [1, 1, 1], timeRange=HOUR):
        found += [rule["usedCredits"] for rule in page]
        move(service, now(service) + MICROSECOND * 10 ** (3 * len(found)))
        rules.use(100, rules.group)
        rules.use(1000, rules.group, at=begins.isoformat())
    assert found == [30, 30, 30]
    assert [rule["usedCredits"] for page in own_pages(rules, timeRange=HOUR) for rule in page] == [320] * 3


def test_pages_from_now_on_stay_empty_when_now_has_come(service: Service, rules: Rules) -> None:
    rules.define()
    rules.define()
    found = []
    for page in own_pages(rules, [1, 1], timeRange={"type": "from_now", "value": "hour"}):
        found += [rule["usedCredits"] for rule in page]
        move(service, now(service) + MICROSECOND)
        rules.use(1, rules.group)
    assert found == [0, 0]


def test_a_rule_that_left_its_side_of_the_threshold_is_still_on_its_page(rules: Rules) -> None:
    rules.define(), rules.define(), rules.define()
    use = rules.use(50, rules.group)
    found = []
    for page in own_pages(rules, [1, 1, 1], thresholdFilter="AboveThreshold"):
        found += [(rule["name"], rule["usedCredits"]) for rule in page]
        if len(found) == 1:
            rules.refund(use, "0.000000001")
    assert found == [(name, 50) for name in rules.names]
    assert rules.own(thresholdFilter="AboveThreshold") == []


def test_a_page_token_belongs_to_its_request(rules: Rules) -> None:
    rules.define(), rules.define()
    names = [*rules.names, "other"]
    filters: dict[str, Any] = {
        "ruleNames": names,
        "accountGroupIds": [rules.group, "b"],
        "thresholdFilter": "BelowThreshold",
    }
    token = rules.list(limit=1, **filters)["pageToken"]
    for same in (
        {}, {"limit": 2}, {"limit": None}, {"limit": 2**31 - 1}, {"timeRange": MONTH}, {"timeRange": None},
        {"ruleNames": [*reversed(names), "other"]}, {"accountGroupIds": ["b", rules.group]},
    ):  # fmt: skip
        assert [rule["name"] for rule in rules.list(pageToken=token, **filters | same)["rules"]] == [rules.names[1]]
    others: list[dict[str, Any]] = [
        {"timeRange": HOUR}, {"timeRange": {"type": "relative", "value": {"unit": "month", "amount": 2}}},
        {"timeRange": {"type": "to_now", "value": "month"}}, {"timeRange": {"type": "from_now", "value": "month"}},
        {"timeRange": {"type": "absolute", "value": {"startTime": 0, "endTime": 1}}},
        {"ruleNames": rules.names}, {"ruleNames": []}, {"ruleNames": None}, {"ruleNames": [*names, "another"]},
        {"accountGroupIds": [rules.group]}, {"accountGroupIds": ["b"]}, {"accountGroupIds": None},
        {"thresholdFilter": "AboveThreshold"}, {"thresholdFilter": None},
        {"ruleNames": filters["accountGroupIds"], "accountGroupIds": names},
    ]  # fmt: skip
    for other in others:
        assert rules.refused(LIST, pageToken=token, **filters | other).startswith("pageToken must be")


def test_a_page_token_without_filters_is_that_of_empty_ones(rules: Rules, many: str) -> None:
    token = rules.list(limit=1)["pageToken"]
    empty: dict[str, Any] = {"ruleNames": [], "accountGroupIds": [], "thresholdFilter": None}
    for same in ({}, empty):
        assert len(rules.list(pageToken=token, limit=7, **same)["rules"]) == 7
    assert "pageToken must be" in rules.refused(LIST, pageToken=token, ruleNames=[""])


@pytest.mark.parametrize("token", ["", "x", "x" * 2000, "é", 5, [], "AAAA" * 30 + "="])
def test_what_is_no_page_token_is_named_with_whatever_else_is_wrong(rules: Rules, token: object) -> None:
    named = [each.split()[0] for each in rules.refused(LIST, pageToken=token, limit=0).split("; ")]
    assert sorted(named) == ["limit", "pageToken"]


def test_a_page_token_that_was_altered_is_refused(rules: Rules) -> None:
    rules.define("é\U0001f600 " + rules.customer), rules.define()
    token = rules.list(limit=1, accountGroupIds=[rules.group])["pageToken"]
    for place, letter in enumerate(token):
        other = "A" if letter != "A" else "B"
        altered = token[:place] + other + token[place + 1 :]
        assert "pageToken" in rules.refused(LIST, pageToken=altered, accountGroupIds=[rules.group])
    for altered in (
        token + "A",
        token + "=",
        f" {token}",
        token + "\n",
        token * 2,
        token.swapcase(),
        token[: len(token) // 2],
    ):
        assert "pageToken" in rules.refused(LIST, pageToken=altered, accountGroupIds=[rules.group])
    assert len(rules.list(pageToken=token, accountGroupIds=[rules.group])["rules"]) == 1


def test_a_page_token_is_good_with_any_process_of_its_ledger_and_with_no_other_ledger(
    rules: Rules, schema: Database, database: Database
) -> None:
    rules.define(), rules.define()
    wanted = {"limit": 1, "accountGroupIds": [rules.group]}
    token = rules.list(**wanted)["pageToken"]
    with serving(database_url=schema.dsn, schema=schema.schema, test_clock="1") as process:
        (found,) = Rules(process, rules.customer).list(pageToken=token, **wanted)["rules"]
    assert found["name"] == rules.names[1]
    with serving(database_url=database.dsn, schema=database.schema, test_clock="1") as process:
        assert "pageToken" in Rules(process, rules.customer).refused(LIST, pageToken=token, **wanted)
