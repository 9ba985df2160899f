"""When the use of a month first reaches a rule's threshold, the log tells so, once for the rule and the month."""

import secrets
from collections.abc import Callable
from typing import Any

import pytest

from ledger.store.database import Database, Role
from tests.service.executions import Company, refund
from tests.service.rules import MUCH, Rule, Rules
from tests.service.serving import Service
from tests.service.test_graphql_clock import move, now
from tests.service.thresholds import Told, recorded

JANUARY, DECEMBER, NOVEMBER = "2026-01", "2025-12", "2025-11"
IN_DECEMBER, IN_NOVEMBER = "2025-12-05T00:00:00Z", "2025-11-05T00:00:00Z"
Reached = Callable[[Rule], list[Told]]


@pytest.fixture
def rules(service: Service, customer: str) -> Rules:
    return Rules(service, customer)


@pytest.fixture
def reached(service: Service, schema: Database) -> Reached:
    """What the log tells of a rule, once everything that has come up is written."""

    def told(rule: Rule) -> list[Told]:
        move(service, now(service))
        return recorded(schema, rule["id"])

    return told


def months(told: list[Told]) -> list[tuple[str, str]]:
    """Month and use of each; uses without their noughts."""
    return [(each.month, each.used.rstrip("0").rstrip(".")) for each in told]


def event(schema: Database, position: int) -> dict[str, Any]:
    with schema.connect(Role.READER) as connection:
        row = connection.execute("SELECT * FROM movements WHERE position = %s", [position]).fetchone()
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("allocated", "threshold", "just_below", "exactly"),
    [
        (100,        50,  "49.999999999",         "50"),
        (7,          33,  "2.309999999",          "2.31"),
        (1,          1,   "0.009999999",          "0.01"),
        (2147483647, 100, "2147483646.999999999", "2147483647"),
        (100,        0,   None,                   "0.000000001"),
        (0,          0,   None,                   "0.000000001"),
        (0,          100, None,                   "0.000000001"),
    ],
)  # fmt: skip
def test_a_threshold_is_reached_at_the_very_billionth(
    rules: Rules, reached: Reached, allocated: int, threshold: int, just_below: str | None, exactly: str
) -> None:
    rule = rules.define(allocatedCredits=allocated, alarmThreshold=threshold)
    assert reached(rule) == [], "of nothing that is used nobody is warned"
    if just_below is not None:
        rules.use(just_below, rules.group)
        assert reached(rule) == []
        rules.use("0.000000001", rules.group)
    else:
        rules.use(exactly, rules.group)
    assert months(reached(rule)) == [(JANUARY, exactly)]


def test_what_is_told_is_the_crossing_and_the_rule_as_it_is_known(
    rules: Rules, reached: Reached, schema: Database
) -> None:
    rule = rules.define(currencyId="credits")
    rules.use(30, rules.group)
    crossing = rules.use("20.5", rules.group, "another group")
    rules.use(100, rules.group)
    (told,) = reached(rule)
    assert told[:5] == (rule["id"], JANUARY, "50.500000000", 100, 50)
    debit = event(schema, told.position)
    assert (debit["type"], debit["transaction_id"], told.transaction) == ("ledger.debited", crossing, crossing)
    with schema.connect(Role.READER) as connection:
        row = connection.execute("SELECT * FROM movements WHERE causation_id = %s", [crossing]).fetchone()
    assert row is not None
    assert (row["type"], row["kind"], row["amount"]) == ("ledger.threshold-reached", "ALLOCATION_RULE", None)
    assert (row["actor_kind"], row["actor_key"]) == ("SYSTEM", "threshold")
    assert row["definition"]["reached_at"] == debit["recorded_at"].isoformat().replace("+00:00", "Z")
    details = row["definition"]["rule"]
    assert (details["name"], details["account_groups"], details["currency"]) == (rule["name"], [rules.group], "credits")


def test_a_debit_that_draws_on_several_lots_is_one_use(rules: Rules, reached: Reached, schema: Database) -> None:
    """Told is what was used when the debit had happened, whole."""
    for _ in range(3):
        rules.grant(40, "parts")
    rule = rules.define()
    debit = event(schema, reached_by(rules.use(100, rules.group, currency="parts"), reached, rule).position)
    assert (debit["position"], debit["amount"]) == (debit["transaction_last"], -20 * 10**9)
    assert months(reached(rule)) == [(JANUARY, "100")]


def reached_by(transaction: str, reached: Reached, rule: Rule) -> Told:
    """The one event about the rule, which this transaction is the cause of."""
    (told,) = reached(rule)
    assert told.transaction == transaction
    return told


def test_one_debit_may_reach_several_rules_and_counts_once_for_each(rules: Rules, reached: Reached) -> None:
    groups = [rules.group, f"{rules.group} 2"]
    both, first, none = rules.define(accountGroups=groups), rules.define(), rules.define(accountGroups=["nobody's"])
    other_currency = rules.define(currencyId="other")
    transaction = rules.use(50, *groups)
    for rule in (both, first):
        assert reached_by(transaction, reached, rule).used == "50.000000000"
    later = rules.define(currencyId="other")
    assert [reached(rule) for rule in (none, other_currency, later)] == [[], [], []]


def test_a_use_without_account_groups_reaches_nothing(rules: Rules, reached: Reached) -> None:
    rule = rules.define(allocatedCredits=0)
    rules.use(1000)
    assert reached(rule) == []


def test_a_rule_over_use_that_there_is_reaches_its_threshold_at_once_in_every_month_of_use(
    rules: Rules, reached: Reached, schema: Database
) -> None:
    rules.use(50, rules.group)
    rules.use("60.5", rules.group, at=IN_DECEMBER)
    rules.use("49.999999999", rules.group, at=IN_NOVEMBER)
    given_back = rules.use(500, rules.group, at="2025-10-31T23:59:59Z")
    rules.refund(given_back)
    rule = rules.define()
    told = reached(rule)
    assert sorted(months(told)) == [(DECEMBER, "60.5"), (JANUARY, "50")]
    for each in told:
        made = event(schema, each.position)
        assert (made["type"], made["stream_id"]) == ("ledger.allocation-rule-defined", rule["id"])
        assert each.transaction == made["transaction_id"]


def test_what_has_all_come_back_reaches_nothing(rules: Rules, reached: Reached) -> None:
    transaction = rules.use(50, rules.group)
    rules.refund(transaction)
    rule = rules.define(alarmThreshold=0)
    rules.change(rule, allocatedCredits=0)
    assert reached(rule) == []


@pytest.mark.parametrize(
    ("before", "change", "used"),
    [
        ({},                                            {"alarmThreshold": 20},      "20"),
        ({},                                            {"allocatedCredits": 40},    "20"),
        ({},                                            {"accountGroups": "other"},  "50"),
        ({"currencyId": "other", "alarmThreshold": 20}, {"currencyId": "credits"},   "20"),
    ],
)  # fmt: skip
def test_a_change_of_a_rule_may_reach_its_threshold(
    rules: Rules, reached: Reached, schema: Database, before: dict[str, Any], change: dict[str, Any], used: str
) -> None:
    other = f"other {rules.group}"
    if "accountGroups" in change:
        change = change | {"accountGroups": [other]}
    rule = rules.define(**before)
    rules.use(20, rules.group)
    rules.use(50, other)
    rules.change(rule, allocatedCredits=101)
    assert reached(rule) == []
    changed = rules.change(rule, **{"allocatedCredits": 100} | change)
    (told,) = reached(rule)
    assert months([told]) == [(JANUARY, used)]
    assert (told.allocated, told.alarm_threshold) == (changed["allocatedCredits"], changed["alarmThreshold"])
    row = event(schema, told.position)
    assert (row["type"], row["transaction_id"]) == ("ledger.allocation-rule-changed", told.transaction)


@pytest.mark.parametrize(
    ("at", "month"),
    [
        ("2026-01-01T00:00:00Z",             "2026-01"),
        ("2025-12-31T23:59:59.999999Z",      "2025-12"),
        ("2026-01-01T00:30:00+01:00",        "2025-12"),
        ("2025-12-31T23:30:00-01:00",        "2026-01"),
        ("2025-11-30T23:59:59.999999Z",      "2025-11"),
        ("2024-02-29T23:59:59.999999Z",      "2024-02"),
        ("1970-01-01T00:00:00Z",             "1970-01"),
    ],
)  # fmt: skip
def test_the_month_is_the_utc_month_of_the_use_to_the_microsecond(
    rules: Rules, reached: Reached, at: str, month: str
) -> None:
    rule = rules.define()
    rules.use(50, rules.group, at=at)
    assert months(reached(rule)) == [(month, "50")]


def test_the_uses_of_two_months_are_not_added(rules: Rules, reached: Reached) -> None:
    rule = rules.define()
    rules.use("49.999999999", rules.group, at="2025-12-31T23:59:59.999999Z")
    rules.use("49.999999999", rules.group, at="2026-01-01T00:00:00Z")
    assert reached(rule) == []
    rules.use(1, rules.group, at="2025-12-31T23:59:59.999999Z")
    rules.use(2, rules.group, at="2026-01-01T00:00:00Z")
    assert months(reached(rule)) == [(DECEMBER, "50.999999999"), (JANUARY, "51.999999999")]


def test_what_came_back_counts_against_its_use_and_its_month(rules: Rules, reached: Reached) -> None:
    rule = rules.define()
    december = rules.use(40, rules.group, at=IN_DECEMBER)
    rules.use(40, rules.group)
    rules.refund(december, "30.5")
    rules.use("40.499999999", rules.group, at=IN_DECEMBER)
    assert reached(rule) == []
    rules.use("0.000000001", rules.group, at=IN_DECEMBER)
    assert months(reached(rule)) == [(DECEMBER, "50")]


def test_a_month_is_told_once_whatever_comes_back_and_whatever_becomes_of_the_rule(
    rules: Rules, reached: Reached
) -> None:
    rule = rules.define()
    first = rules.use(50, rules.group)
    once = reached(rule)
    rules.refund(first)
    rules.use(80, rules.group)
    changed = rules.change(rule, alarmThreshold=100)
    rules.use(20, rules.group)
    rules.change(changed, alarmThreshold=1, allocatedCredits=0)
    rules.change(changed, accountGroups=["none"])
    rules.change(changed, accountGroups=[rules.group])
    assert (reached(rule), len(once)) == (once, 1)
    rules.use(80, rules.group, at=IN_DECEMBER)
    assert [each.month for each in reached(rule)] == [JANUARY, DECEMBER]


def test_a_rule_that_is_removed_tells_no_more_and_its_name_may_begin_anew(rules: Rules, reached: Reached) -> None:
    gone = rules.define()
    rules.use(49, rules.group)
    rules.remove(gone)
    rules.use(49, rules.group)
    anew = rules.define(gone["name"])
    assert reached(gone) == []
    assert months(reached(anew)) == [(JANUARY, "98")]
    rules.remove(anew)
    rules.use(49, rules.group, at=IN_DECEMBER)
    assert months(reached(anew)) == [(JANUARY, "98")], "what was told stays told"


def test_what_is_reached_before_a_rule_is_removed_is_told_all_the_same(rules: Rules, reached: Reached) -> None:
    rule = rules.define()
    transaction = rules.use(50, rules.group)
    rules.remove(rule)
    assert reached_by(transaction, reached, rule).month == JANUARY


def test_sums_may_be_larger_than_any_single_amount(service: Service, rules: Rules, reached: Reached) -> None:
    for customer in (rules, Rules(service, f"customer-{secrets.token_hex(6)}")):
        customer.use(MUCH, rules.group)
    assert months(reached(rules.define())) == [(JANUARY, str(2 * int(MUCH)))]


def test_execution_credits_count_as_well(service: Service, rules: Rules, reached: Reached) -> None:
    company = Company(service)
    company.create(credits=1000)
    rule = rules.define()
    refund(service, company.debit(30, accountGroupIds=[rules.group]), 5)
    company.debit(24, accountGroupIds=[rules.group])
    company.debit(500)
    assert reached(rule) == []
    debit = company.debit(1, accountGroupIds=[rules.group])
    assert reached_by(debit["transactionId"], reached, rule)[1:3] == (JANUARY, "50.000000000")


def test_when_the_clock_enters_a_month_uses_count_in_it_from_its_first_instant_on(
    service: Service, rules: Rules, reached: Reached
) -> None:
    """The last of this module: it moves the clock."""
    rule = rules.define()
    assert service.set_clock("2026-01-31T23:59:59.999999Z").status_code == 200
    rules.use(50, rules.group)
    assert service.set_clock("2026-02-01T00:00:00Z").status_code == 200
    assert months(reached(rule)) == [(JANUARY, "50")]
    rules.use("49.999999999", rules.group)
    rules.use(100, rules.group, at="2026-01-31T23:59:59.999999Z")
    assert months(reached(rule)) == [(JANUARY, "50")]
    rules.use(1, rules.group)
    assert months(reached(rule)) == [(JANUARY, "50"), ("2026-02", "50.999999999")]
