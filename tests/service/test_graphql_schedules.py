"""Grant schedules at the GraphQL door: what they say, what they grant at which instant, and that each part comes once.

These tests move the clock, forward only: each begins on 31 January of a year that none has used.
"""

import calendar
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from ledger.store.database import Database, Role
from projections.runner import Runner
from tests.conftest import START, Hands
from tests.service.forking import forked
from tests.service.load import eventually
from tests.service.serving import ANSWER_SECONDS_MAX, Service, environment, exit_code, serving
from tests.service.test_api_keys import as_key, key_for
from tests.service.test_graphql_clock import MICROSECOND, move, now, read, wire

SCHEDULE = """
id customerId currencyId resourceId displayName amountPerPeriod amountPerPeriodExact billingPeriod cadence anchorAt
priority priorityExact cost { amount amountExact currency }
rollover { maxAmount maxAmountExact expiresAfterPeriods } status nextGrantAt createdAt endedAt
"""
CREATE = f"mutation ($input: CreateGrantScheduleInput!) {{ createGrantSchedule(input: $input) {{ {SCHEDULE} }} }}"
END = f"mutation ($input: EndGrantScheduleInput!) {{ endGrantSchedule(input: $input) {{ {SCHEDULE} }} }}"
LIST = f"query ($customer: String!) {{ grantSchedules(customerId: $customer) {{ {SCHEDULE} }} }}"
GRANTS = """
query ($input: GetCreditGrantsInput!) {
  creditGrants(input: $input) {
    totalCount
    edges {
      node {
        id grantId grantType status displayName amountExact consumedAmountExact remainingAmount priorityExact resourceId
        cost { amountExact currency } effectiveAt expireAt createdAt rolledOverFrom rolledOverTo
      }
    }
  }
}
"""
LEDGER = """
query ($input: CreditLedgerInput!) {
  creditsLedger(input: $input) {
    totalCount
    edges {
      node {
        eventType timestamp recordedAt signedAmount balanceAfter grantBalanceAfter creditGrantId eventId position actor
        grant { grantType automaticRechargeConfigurationId }
      }
    }
  }
}
"""
SUMMARY = """
query ($input: CreditBalanceSummaryInput!) {
  creditBalanceSummary(input: $input) { balances { currentBalanceExact validUntil } }
}
"""
CONSUME = """
mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId draws { grantId amountExact } } }
"""
ONE = "query ($id: String!) { creditGrant(id: $id) { status effectiveAt rolledOverTo } }"
ISSUE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id grantId } }"
LONG = "x" * 201


@pytest.fixture
def start(service: Service) -> datetime:
    """Now: noon of 31 January in a year that no test has used, and that has no 29 February."""
    year = now(service).year + 1
    year += calendar.isleap(year)
    instant = datetime(year, 1, 31, 12, tzinfo=UTC)
    move(service, instant)
    return instant


def step(anchor: datetime, months: int) -> datetime:
    """The anchor so many months later, or on the last day of that month where it is shorter."""
    years, month = divmod(anchor.month - 1 + months, 12)
    year = anchor.year + years
    return anchor.replace(year=year, month=month + 1, day=min(anchor.day, calendar.monthrange(year, month + 1)[1]))


def asked(customer: str, **given: Any) -> dict[str, Any]:
    fields = {
        "customerId": customer, "currencyId": "credits", "displayName": "Plan", "billingPeriod": "MONTH",
        "cadence": "BEGINNING_OF_BILLING_PERIOD", "amountPerPeriod": 10,
    }  # fmt: skip
    return fields | given


def schedule_of(service: Service, customer: str, **given: Any) -> Any:
    return service.data(CREATE, input=asked(customer, **given))["createGrantSchedule"]


def end(service: Service, schedule: str, **given: Any) -> Any:
    return service.data(END, input={"id": schedule} | given)["endGrantSchedule"]


def schedules(service: Service, customer: str) -> list[Any]:
    found: list[Any] = read(service, LIST, customer=customer)["grantSchedules"]
    return found


def grants_of(service: Service, customer: str, **given: Any) -> list[Any]:
    """A customer's grants, oldest first."""
    wanted = {"customerId": customer, "paging": {"first": 100}} | given
    page = read(service, GRANTS, input=wanted)["creditGrants"]
    assert page["totalCount"] == len(page["edges"])
    return [edge["node"] for edge in reversed(page["edges"])]


def ledger_of(service: Service, customer: str, *types: str, **given: Any) -> list[Any]:
    """A customer's ledger, oldest first."""
    wanted = {"customerId": customer, "eventType": list(types) or None, "paging": {"first": 100}} | given
    page = read(service, LEDGER, input=wanted)["creditsLedger"]
    assert page["totalCount"] == len(page["edges"])
    return [edge["node"] for edge in reversed(page["edges"])]


def balance_of(service: Service, customer: str, **given: Any) -> str:
    """What is usable at this instant."""
    balances = read(service, SUMMARY, input={"customerId": customer} | given)["creditBalanceSummary"]["balances"]
    return balances[0]["currentBalanceExact"] if balances else "0"


def valid_until(service: Service, customer: str) -> Any:
    (row,) = read(service, SUMMARY, input={"customerId": customer})["creditBalanceSummary"]["balances"]
    return row["validUntil"]


def use_of(service: Service, customer: str, amount: str, key: str = "use", **given: Any) -> Any:
    use = {"customerId": customer, "currencyId": "credits", "amountExact": amount, "idempotencyKey": key} | given
    return service.data(CONSUME, input=use)["consumeCredits"]


def grant_of(service: Service, customer: str, amount: int, **given: Any) -> Any:
    fields = {"customerId": customer, "currencyId": "credits", "displayName": "Bought", "grantType": "PAID"}
    return service.data(ISSUE, input=fields | {"amount": amount} | given)["createCreditGrant"]


def spans(grants: list[Any]) -> list[tuple[str, str, str]]:
    """Amount, beginning and end of each grant."""
    return [(grant["amountExact"], grant["effectiveAt"], grant["expireAt"]) for grant in grants]


def test_a_schedule_says_all_that_was_asked_for(service: Service, start: datetime, customer: str) -> None:
    created = schedule_of(
        service, customer, currencyId="tokens", resourceId="site-1", displayName="Größe L", billingPeriod="YEAR",
        cadence="MONTHLY", amountPerPeriod=1200.5, anchorAt=step(start, -2).isoformat(), priority=7.25,
        cost={"amount": 99.9, "currency": "EUR"}, rollover={"maxAmount": 5.5, "expiresAfterPeriods": 3},
    )  # fmt: skip
    identifier = created.pop("id")
    assert created == {
        "customerId": customer, "currencyId": "tokens", "resourceId": "site-1", "displayName": "Größe L",
        "amountPerPeriod": 1200.5, "amountPerPeriodExact": "1200.5", "billingPeriod": "YEAR", "cadence": "MONTHLY",
        "anchorAt": wire(step(start, -2)), "priority": 7.25, "priorityExact": "7.25",
        "cost": {"amount": 99.9, "amountExact": "99.9", "currency": "EUR"},
        "rollover": {"maxAmount": 5.5, "maxAmountExact": "5.5", "expiresAfterPeriods": 3},
        "status": "ACTIVE", "nextGrantAt": wire(step(step(start, -2), 3)), "createdAt": wire(start), "endedAt": None,
    }  # fmt: skip
    assert schedules(service, customer) == [created | {"id": identifier}]


def test_what_is_not_said_has_its_default(service: Service, start: datetime, customer: str) -> None:
    created = schedule_of(service, customer)
    assert created == {
        "id": created["id"], "customerId": customer, "currencyId": "credits", "resourceId": None, "displayName": "Plan",
        "amountPerPeriod": 10, "amountPerPeriodExact": "10", "billingPeriod": "MONTH",
        "cadence": "BEGINNING_OF_BILLING_PERIOD", "anchorAt": wire(start), "priority": 50, "priorityExact": "50",
        "cost": {"amount": 0, "amountExact": "0", "currency": "USD"}, "rollover": None, "status": "ACTIVE",
        "nextGrantAt": wire(step(start, 1)), "createdAt": wire(start), "endedAt": None,
    }  # fmt: skip
    assert schedules(service, customer) == [created]
    nulls = dict.fromkeys(["resourceId", "anchorAt", "priority", "cost", "rollover", "idempotencyKey"])
    again = schedule_of(service, customer, **nulls)
    assert again | {"id": created["id"]} == created
    no_cap = schedule_of(service, customer, rollover={"expiresAfterPeriods": 1})
    assert no_cap["rollover"] == {"maxAmount": None, "maxAmountExact": None, "expiresAfterPeriods": 1}


def test_exact_twins_say_the_same_and_more(service: Service, customer: str) -> None:
    exact = "1234567890.123456789"
    created = schedule_of(
        service, customer, amountPerPeriod=None, amountPerPeriodExact=exact, cost={"amountExact": exact},
        rollover={"maxAmountExact": exact, "expiresAfterPeriods": 1},
    )  # fmt: skip
    assert created["amountPerPeriodExact"] == created["cost"]["amountExact"] == exact
    assert created["rollover"]["maxAmountExact"] == exact
    assert created["amountPerPeriod"] == created["cost"]["amount"] == created["rollover"]["maxAmount"] == float(exact)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"customerId": ""},                                                "customerId"),
        ({"customerId": LONG},                                              "customerId"),
        ({"currencyId": ""},                                                "currencyId"),
        ({"currencyId": LONG},                                              "currencyId"),
        ({"resourceId": ""},                                                "resourceId"),
        ({"resourceId": LONG},                                              "resourceId"),
        ({"displayName": ""},                                               "displayName"),
        ({"displayName": LONG},                                             "displayName"),
        ({"displayName": "\0"},                                             "displayName"),
        ({"amountPerPeriod": None},                                         "amountPerPeriod"),
        ({"amountPerPeriod": 0},                                            "amountPerPeriod"),
        ({"amountPerPeriod": -1},                                           "amountPerPeriod"),
        ({"amountPerPeriod": 1.1234567890123456},                           "amountPerPeriod"),
        ({"amountPerPeriodExact": "10"},                                    "amountPerPeriod"),
        ({"amountPerPeriod": None, "amountPerPeriodExact": "0"},            "amountPerPeriodExact"),
        ({"amountPerPeriod": None, "amountPerPeriodExact": "1.1234567891"}, "amountPerPeriodExact"),
        ({"amountPerPeriod": None, "amountPerPeriodExact": "1" + "0" * 19}, "amountPerPeriodExact"),
        ({"billingPeriod": "WEEK"},                                         "billingPeriod"),
        ({"cadence": "DAILY"},                                              "cadence"),
        ({"anchorAt": "2026-01-31T12:00:00"},                               "anchorAt"),
        ({"anchorAt": "2026-01-31T12:00:00.1234567Z"},                      "anchorAt"),
        ({"anchorAt": "9999-12-01T00:00:00Z"},                              "anchorAt"),
        ({"anchorAt": "9999-01-01T00:00:00Z", "billingPeriod": "YEAR"},     "anchorAt"),
        ({"priority": -1},                                                  "priority"),
        ({"priority": 100.000000001},                                       "priority"),
        ({"cost": {"amount": -1}},                                          "cost.amount"),
        ({"cost": {"amount": 1, "amountExact": "1"}},                       "cost.amount"),
        ({"cost": {"amountExact": "1" + "0" * 19}},                         "cost.amountExact"),
        ({"cost": {"amount": 1, "currency": "usd"}},                        "cost.currency"),
        ({"rollover": {"expiresAfterPeriods": 0}},                          "rollover.expiresAfterPeriods"),
        ({"rollover": {"expiresAfterPeriods": 1201}},                       "rollover.expiresAfterPeriods"),
        ({"rollover": {"maxAmount": 1}},                                    "rollover"),
        ({"rollover": {"expiresAfterPeriods": 1, "maxAmount": 0}},          "rollover.maxAmount"),
        ({"rollover": {"expiresAfterPeriods": 1, "maxAmount": -1}},         "rollover.maxAmount"),
        ({"rollover": {"expiresAfterPeriods": 1, "maxAmount": 1, "maxAmountExact": "1"}}, "rollover.maxAmount"),
        ({"idempotencyKey": ""},                                            "idempotencyKey"),
        ({"idempotencyKey": "x" * 256},                                     "idempotencyKey"),
        (
            {"billingPeriod": "YEAR", "cadence": "MONTHLY", "amountPerPeriod": None,
             "amountPerPeriodExact": "0.000000011"},
            "amountPerPeriod",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused_by_its_field(
    service: Service, customer: str, given: dict[str, Any], field: str
) -> None:
    refusal = service.refusal(CREATE, input=asked(customer, **given))
    assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", field)
    assert schedules(service, customer) == []
    assert grants_of(service, customer) == []


@pytest.mark.parametrize(
    "given",
    [
        {"currencyId": LONG[1:], "resourceId": LONG[1:], "displayName": LONG[1:], "idempotencyKey": "x" * 255},
        {"amountPerPeriod": None, "amountPerPeriodExact": "9999999999999999999.999999999"},
        {"amountPerPeriod": None, "amountPerPeriodExact": "0.000000001", "cadence": "MONTHLY"},
        {"amountPerPeriod": None, "amountPerPeriodExact": "0.000000012", "cadence": "MONTHLY", "billingPeriod": "YEAR"},
        {"anchorAt": "9999-11-30T23:59:59.999999Z"},
        {"anchorAt": "9998-12-31T23:59:59.999999Z", "billingPeriod": "YEAR"},
        {"anchorAt": "1900-02-28T00:00:00Z"},
        {"priority": 0},
        {"priority": 100},
        {"cost": {"amount": 0}},
        {"cost": {"amountExact": "9999999999999999999.999999999", "currency": "JPY"}},
        {"rollover": {"expiresAfterPeriods": 1, "maxAmountExact": "0.000000001"}},
        {"rollover": {"expiresAfterPeriods": 1200, "maxAmount": 11}},
    ],
    ids=str,
)
def test_what_is_just_within_bounds_is_taken(service: Service, customer: str, given: dict[str, Any]) -> None:
    created = schedule_of(service, customer, **given)
    assert schedules(service, customer) == [created]
    assert end(service, created["id"])["status"] == "ENDED"


def test_schedules_are_listed_newest_first_for_their_customer_alone(service: Service, customer: str) -> None:
    made = [schedule_of(service, customer, **given) for given in ({}, {"resourceId": "r"}, {"currencyId": "tokens"})]
    schedule_of(service, f"{customer}-other")
    ended = end(service, made[1]["id"])
    assert schedules(service, customer) == [made[2], ended, made[0]]
    assert schedules(service, "nobody") == []
    assert service.refusal(LIST, customer="")["field"] == "customerId"


def test_a_schedule_that_is_ended_says_so_and_grants_nothing_more(
    service: Service, start: datetime, customer: str
) -> None:
    created = schedule_of(service, customer)
    move(service, step(start, 1))
    ended = end(service, created["id"], idempotencyKey="end")
    assert ended == created | {"status": "ENDED", "endedAt": wire(step(start, 1)), "nextGrantAt": None}
    assert end(service, created["id"].upper(), idempotencyKey="end") == ended
    assert balance_of(service, customer) == "10", "the grant that there is stays"
    move(service, step(start, 2) - MICROSECOND)
    assert balance_of(service, customer) == "10"
    move(service, step(start, 5))
    assert [grant["status"] for grant in grants_of(service, customer)] == ["EXPIRED", "EXPIRED"]
    assert balance_of(service, customer) == "0"
    assert schedules(service, customer) == [ended]


def test_what_is_no_schedule_that_still_grants_is_not_found(service: Service, schema: Database, customer: str) -> None:
    ended, running = schedule_of(service, customer)["id"], schedule_of(service, customer)["id"]
    end(service, ended)
    bought = grant_of(service, customer, 5)
    granted = grants_of(service, customer)[0]
    unknown = "00000000-0000-4000-8000-000000000000"
    for name in (unknown, "no id at all", ended, bought["id"], bought["grantId"], granted["id"], granted["grantId"]):
        assert service.refusal(END, input={"id": name}) == {"code": "GrantScheduleNotFound", "schedule": name}
    stranger = as_key(key_for(schema, "writer", "somebody-else"))
    for name in (running, unknown):
        refusal = service.refusal(END, stranger, input={"id": name})
        assert refusal == {"code": "GrantScheduleNotFound", "schedule": name}
    assert {found["id"]: found["status"] for found in schedules(service, customer)} == {
        ended: "ENDED", running: "ACTIVE",
    }  # fmt: skip


def test_a_month_begins_and_ends_where_the_calendar_has_it(service: Service, start: datetime, customer: str) -> None:
    """31 January, 28 February, 31 March: steps are counted from the anchor and do not drift."""
    schedule_of(service, customer, cost={"amount": 3}, priority=4)
    february, march, april = (
        start.replace(month=2, day=28), start.replace(month=3, day=31), start.replace(month=4, day=30)
    )  # fmt: skip
    move(service, march)
    grants = grants_of(service, customer)
    assert spans(grants) == [
        ("10", wire(start),    wire(february)),
        ("10", wire(february), wire(march)),
        ("10", wire(march),    wire(april)),
    ]  # fmt: skip
    assert [grant["status"] for grant in grants] == ["EXPIRED", "EXPIRED", "ACTIVE"]
    for grant in grants:
        assert (grant["grantType"], grant["displayName"], grant["priorityExact"]) == ("SUBSCRIPTION", "Plan", "4")
        assert grant["cost"] == {"amountExact": "3", "currency": "USD"}


def test_a_year_is_granted_whole_at_its_beginning(service: Service, start: datetime, customer: str) -> None:
    schedule_of(service, customer, billingPeriod="YEAR", cost={"amount": 120, "currency": "EUR"})
    move(service, step(start, 12) - MICROSECOND)
    assert spans(grants_of(service, customer)) == [("10", wire(start), wire(step(start, 12)))]
    move(service, step(start, 12))
    grants = grants_of(service, customer)
    assert spans(grants)[1] == ("10", wire(step(start, 12)), wire(step(start, 24)))
    assert [grant["cost"] for grant in grants] == [{"amountExact": "120", "currency": "EUR"}] * 2


@pytest.mark.parametrize(("amount", "cost"), [("100", "10"), ("0.000000013", "0.000000011"), ("1200", "0")])
def test_a_year_in_monthly_parts_adds_up_and_its_last_part_takes_the_remainder(
    service: Service, start: datetime, customer: str, amount: str, cost: str
) -> None:
    schedule_of(
        service, customer, billingPeriod="YEAR", cadence="MONTHLY", amountPerPeriod=None, amountPerPeriodExact=amount,
        cost={"amountExact": cost, "currency": "CHF"},
    )  # fmt: skip
    move(service, step(start, 14))
    grants = grants_of(service, customer)
    assert [(begins, ends) for _, begins, ends in spans(grants)] == [
        (wire(step(start, part)), wire(step(start, part + 1))) for part in range(15)
    ]
    for whole, parts in (
        (Decimal(amount), [Decimal(grant["amountExact"]) for grant in grants]),
        (Decimal(cost), [Decimal(grant["cost"]["amountExact"]) for grant in grants]),
    ):
        equal = (whole / 12).quantize(Decimal("1e-9"), ROUND_DOWN)
        assert parts == [equal] * 11 + [whole - 11 * equal] + [equal] * 3
    assert {grant["cost"]["currency"] for grant in grants} == {"CHF"}


def test_a_month_has_one_monthly_part(service: Service, start: datetime, customer: str) -> None:
    schedule_of(service, customer, cadence="MONTHLY", cost={"amount": 5})
    move(service, step(start, 2))
    grants = grants_of(service, customer)
    assert spans(grants) == [("10", wire(step(start, n)), wire(step(start, n + 1))) for n in range(3)]
    assert {grant["cost"]["amountExact"] for grant in grants} == {"5"}


def test_a_schedule_with_a_past_anchor_grants_the_part_that_has_begun(
    service: Service, start: datetime, customer: str
) -> None:
    """Not the ones before it: they were never promised. In a year's parts it is the one of this month."""
    anchor = start.replace(year=start.year - 1, month=3, day=1)
    schedule_of(service, customer, anchorAt=anchor.isoformat())
    parted = f"{customer}-parts"
    created = schedule_of(
        service, parted, anchorAt=anchor.isoformat(), billingPeriod="YEAR", cadence="MONTHLY", amountPerPeriod=20
    )
    january, february, march = start.replace(day=1), start.replace(month=2, day=1), start.replace(month=3, day=1)
    assert created["nextGrantAt"] == wire(february)
    assert spans(grants_of(service, customer)) == [("10", wire(january), wire(february))]
    assert balance_of(service, customer) == "10"
    move(service, march)
    assert spans(grants_of(service, parted)) == [
        ("1.666666666", wire(january),  wire(february)),
        ("1.666666674", wire(february), wire(march)),
        ("1.666666666", wire(march),    wire(march.replace(month=4))),
    ]  # fmt: skip


def test_a_schedule_with_a_future_anchor_grants_nothing_until_then(
    service: Service, start: datetime, customer: str
) -> None:
    """Its first grant is never PENDING: it is there from the instant that it begins."""
    anchor = start + timedelta(days=3)
    assert schedule_of(service, customer, anchorAt=anchor.isoformat())["nextGrantAt"] == wire(anchor)
    for instant in (start, anchor - MICROSECOND):
        move(service, instant)
        assert grants_of(service, customer) == []
        assert balance_of(service, customer) == "0"
        assert service.refusal(CONSUME, input={
            "customerId": customer, "currencyId": "credits", "amount": 1, "idempotencyKey": "use",
        })["code"] == "InsufficientCredits"  # fmt: skip
    move(service, anchor)
    (grant,) = grants_of(service, customer)
    assert (grant["status"], grant["effectiveAt"], grant["createdAt"]) == ("ACTIVE", wire(anchor), wire(anchor))
    assert use_of(service, customer, "1")["draws"] == [{"grantId": grant["grantId"], "amountExact": "1"}]


def test_a_part_ends_to_the_microsecond_where_the_next_begins(service: Service, start: datetime, customer: str) -> None:
    schedule_of(service, customer)
    move(service, step(start, 1) - MICROSECOND)
    first = use_of(service, customer, "4", "before")["draws"]
    assert balance_of(service, customer) == "6"
    move(service, step(start, 1))
    second = use_of(service, customer, "10", "at")["draws"]
    old, new = grants_of(service, customer)
    assert (old["status"], new["status"]) == ("EXPIRED", "CONSUMED")
    assert first == [{"grantId": old["grantId"], "amountExact": "4"}]
    assert second == [{"grantId": new["grantId"], "amountExact": "10"}]
    told = [
        (row["eventType"], row["timestamp"], row["signedAmount"], row["balanceAfter"])
        for row in ledger_of(service, customer)
    ]
    assert told == [
        ("CREDITS_GRANTED",  wire(start),                         "10",  "10"),
        ("CREDITS_CONSUMED", wire(step(start, 1) - MICROSECOND),  "-4",  "6"),
        ("CREDITS_EXPIRED",  wire(step(start, 1)),                "-6",  "0"),
        ("CREDITS_GRANTED",  wire(step(start, 1)),                "10",  "10"),
        ("CREDITS_CONSUMED", wire(step(start, 1)),                "-10", "0"),
    ]  # fmt: skip


def test_the_next_grant_is_told_at_every_instant(service: Service, start: datetime, customer: str) -> None:
    anchor = start + timedelta(days=1)
    schedule_of(service, customer, anchorAt=anchor.isoformat())
    for instant, following in [
        (start,                        anchor),
        (anchor - MICROSECOND,         anchor),
        (anchor,                       step(anchor, 1)),
        (step(anchor, 1) - MICROSECOND, step(anchor, 1)),
        (step(anchor, 1),              step(anchor, 2)),
    ]:  # fmt: skip
        move(service, instant)
        assert [found["nextGrantAt"] for found in schedules(service, customer)] == [wire(following)]


def test_a_balance_is_valid_until_a_schedule_grants_next(service: Service, start: datetime, customer: str) -> None:
    """Then a grant starts, also where nothing is left that could expire."""
    schedule = schedule_of(service, customer)["id"]
    assert valid_until(service, customer) == wire(step(start, 1))
    use_of(service, customer, "10")
    assert valid_until(service, customer) == wire(step(start, 1))
    later = f"{customer}-later"
    grant_of(service, later, 5)
    future = schedule_of(service, later, anchorAt=(start + timedelta(days=3)).isoformat())["id"]
    assert valid_until(service, later) == wire(start + timedelta(days=3))
    for ended in (schedule, future):
        end(service, ended)
    assert (valid_until(service, customer), valid_until(service, later)) == (None, None)


def test_months_that_nobody_was_there_for_are_caught_up_each_once(
    service: Service, start: datetime, customer: str
) -> None:
    schedule_of(service, customer)
    woken = step(start, 7) + timedelta(days=3)
    move(service, woken)
    assert spans(grants_of(service, customer)) == [
        ("10", wire(step(start, n)), wire(step(start, n + 1))) for n in range(8)
    ]
    rows = ledger_of(service, customer)
    expected = [("CREDITS_GRANTED", wire(start), "10")]
    for month in range(1, 8):
        begins = wire(step(start, month))
        expected += [("CREDITS_EXPIRED", begins, "0"), ("CREDITS_GRANTED", begins, "10")]
    assert [(row["eventType"], row["timestamp"], row["balanceAfter"]) for row in rows] == expected
    assert {row["recordedAt"] for row in rows[1:]} == {wire(woken)}
    assert len({row["eventId"] for row in rows if row["eventType"] == "CREDITS_GRANTED"}) == 8
    move(service, woken)
    assert ledger_of(service, customer) == rows


def test_a_schedule_for_a_resource_grants_to_that_pool_alone(service: Service, start: datetime, customer: str) -> None:
    schedule_of(service, customer, resourceId="site-1")
    schedule_of(service, customer, resourceId="site-2", amountPerPeriod=7)
    move(service, step(start, 1))
    assert (grants_of(service, customer), balance_of(service, customer)) == ([], "0")
    for resource, amount in (("site-1", "10"), ("site-2", "7")):
        grants = grants_of(service, customer, resourceId=resource)
        assert [(grant["resourceId"], grant["amountExact"]) for grant in grants] == [(resource, amount)] * 2
        assert balance_of(service, customer, resourceId=resource) == amount
    use_of(service, customer, "10", resourceId="site-1")
    assert balance_of(service, customer, resourceId="site-2") == "7"


def test_a_schedule_sent_again_under_its_key_answers_the_same_for_ever(
    service: Service, start: datetime, customer: str
) -> None:
    given = asked(customer, idempotencyKey="key", cost={"amount": 5}, rollover={"expiresAfterPeriods": 1})
    first = service.graphql(CREATE, input=given)
    respelt = given | {"amountPerPeriod": None, "amountPerPeriodExact": "10.0", "cost": {"amountExact": "5.00"}}
    schedule = first.json()["data"]["createGrantSchedule"]["id"]
    for later in (start, step(start, 2)):
        move(service, later)
        assert service.graphql(CREATE, input=given).text == first.text
        assert service.graphql(CREATE, input=respelt).text == first.text
    end(service, schedule)
    assert service.graphql(CREATE, input=given).text == first.text
    assert [found["id"] for found in schedules(service, customer)] == [schedule]
    assert len([grant for grant in grants_of(service, customer) if grant["grantType"] == "SUBSCRIPTION"]) == 3


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ({"amountPerPeriod": 11},                                          ["amountPerPeriod"]),
        ({"currencyId": "tokens"},                                         ["currencyId"]),
        ({"resourceId": "site-1"},                                         ["resourceId"]),
        ({"displayName": "plan"},                                          ["displayName"]),
        ({"billingPeriod": "YEAR"},                                        ["billingPeriod"]),
        ({"cadence": "MONTHLY"},                                           ["cadence"]),
        ({"anchorAt": "2026-01-31T12:00:00Z"},                             ["anchorAt"]),
        ({"priority": 51},                                                 ["priority"]),
        ({"cost": {"amount": 1}},                                          ["cost"]),
        ({"cost": {"currency": "EUR"}},                                    ["cost.currency"]),
        ({"rollover": {"expiresAfterPeriods": 2, "maxAmount": 5}},         ["rollover.expiresAfterPeriods"]),
        ({"rollover": {"expiresAfterPeriods": 1, "maxAmount": 6}},         ["rollover.maxAmount"]),
        ({"rollover": None},         ["rollover.expiresAfterPeriods", "rollover.maxAmount"]),
    ],
    ids=str,
)  # fmt: skip
def test_another_schedule_under_the_same_key_is_a_conflict(
    service: Service, customer: str, other: dict[str, Any], differing: list[str]
) -> None:
    given = asked(customer, idempotencyKey="key", rollover={"expiresAfterPeriods": 1, "maxAmount": 5})
    service.data(CREATE, input=given)
    refusal = service.refusal(CREATE, input=given | other)
    assert (refusal["code"], refusal["key"], refusal["differing"]) == ("IdempotencyKeyReused", "key", differing)
    assert len(schedules(service, customer)) == 1


# What follows has processes and a clock of its own: nobody acts but those that a test starts.

MANY = [f"many-{number}" for number in range(40)]
MONTHS = 24
WHOLE = len(MANY) * (MONTHS + 1)
COUNT = "SELECT count(*) AS count FROM movements WHERE type = 'ledger.granted'"


def only_serving(database: Database) -> AbstractContextManager[Service]:
    return serving("--no-worker", database_url=database.dsn, schema=database.schema, test_clock="1")


@contextmanager
def working(database: Database) -> Iterator[ForkServerProcess]:
    """`credit-ledger worker`; it may be killed meanwhile."""
    given = environment(database_url=database.dsn, schema=database.schema, test_clock="1")
    with Path(os.devnull).open("w") as nowhere:
        process = forked(["worker"], given, cwd=None, stdout=nowhere.fileno(), stderr=nowhere.fileno())
    try:
        yield process
    finally:
        process.terminate()
        assert exit_code(process) in (0, -signal.SIGTERM, -signal.SIGKILL)  # it may not have begun yet


def granted(database: Database) -> int:
    """How many grants the log has; asking the service instead would have it write what is due."""
    with database.connect(Role.WRITER) as connection:
        row = connection.execute(COUNT).fetchone()
    assert row is not None
    count: int = row["count"]
    return count


def make_many(service: Service) -> None:
    inputs = {f"i{number}": asked(name) for number, name in enumerate(MANY)}
    heads = ", ".join(f"${name}: CreateGrantScheduleInput!" for name in inputs)
    fields = " ".join(f"{name}: createGrantSchedule(input: ${name}) {{ id }}" for name in inputs)
    service.data(f"mutation ({heads}) {{ {fields} }}", **inputs)


def assert_each_month_once(database: Database) -> None:
    with Runner(database), only_serving(database) as service:
        for name in MANY:
            months = [("10", wire(step(START, n)), wire(step(START, n + 1))) for n in range(MONTHS + 1)]
            assert spans(grants_of(service, name)) == months
            rows = ledger_of(service, name)
            assert [row["eventType"] for row in rows] == ["CREDITS_GRANTED"] + [
                "CREDITS_EXPIRED", "CREDITS_GRANTED",
            ] * MONTHS  # fmt: skip
            assert {row["balanceAfter"] for row in rows[::2]} == {"10"}
    assert granted(database) == WHOLE


def test_workers_that_start_at_once_after_years_grant_each_month_once(database: Database, hands: Hands) -> None:
    with only_serving(database) as service:
        make_many(service)
        hands.set(step(START, MONTHS) + timedelta(days=1))
        with ExitStack() as workers:
            for _ in range(3):
                workers.enter_context(working(database))
            assert eventually(lambda: granted(database) >= WHOLE, ANSWER_SECONDS_MAX)
    assert_each_month_once(database)


def test_workers_that_are_killed_while_they_catch_up_grant_each_month_once(database: Database, hands: Hands) -> None:
    """Before, while and after they write: each lives longer than the one before, so a slow machine gets there too."""
    with only_serving(database) as service:
        make_many(service)
    hands.set(step(START, MONTHS) + timedelta(days=1))
    for doubled in range(12):
        with working(database) as worker:
            eventually(lambda: granted(database) == WHOLE, 0.03 * 2 ** (doubled / 2))
            worker.kill()
    with working(database):
        assert eventually(lambda: granted(database) >= WHOLE, ANSWER_SECONDS_MAX)
    assert_each_month_once(database)


def fresh(service: Service, query: str, **variables: Any) -> Any:
    """The data of the first answer that is not marked as stale."""
    deadline = time.monotonic() + ANSWER_SECONDS_MAX
    while True:
        answer = service.graphql(query, **variables)
        assert "errors" not in answer.json(), answer.json()
        if "X-Ledger-Stale" not in answer.headers:
            return answer.json()["data"]
        assert time.monotonic() < deadline


def about(customer: str, **given: Any) -> dict[str, Any]:
    return {"input": {"customerId": customer} | given}


LOOKS: dict[str, tuple[Callable[[Service, str, str], object], object, object]] = {
    "balance": (
        lambda service, customer, _: fresh(service, SUMMARY, **about(customer))["creditBalanceSummary"]["balances"],
        [{"currentBalanceExact": "10", "validUntil": wire(step(START, 1))}],
        [{"currentBalanceExact": "20", "validUntil": wire(step(START, 2))}],
    ),
    "grants": (
        lambda service, customer, _: [
            (edge["node"]["grantType"], edge["node"]["status"])
            for edge in fresh(service, GRANTS, **about(customer))["creditGrants"]["edges"]
        ],
        [("SUBSCRIPTION", "ACTIVE")],
        [("SUBSCRIPTION", "ACTIVE"), ("ROLLOVER", "ACTIVE"), ("SUBSCRIPTION", "EXPIRED")],
    ),
    "number of grants": (
        lambda service, customer, _: fresh(service, GRANTS, **about(customer, status="ACTIVE"))["creditGrants"][
            "totalCount"
        ],
        1,
        2,
    ),
    "a grant": (
        lambda service, _, grant: [
            (found["status"], found["rolledOverTo"] is None) for found in fresh(service, ONE, id=grant).values()
        ],
        [("ACTIVE", True)],
        [("EXPIRED", False)],
    ),
    "ledger": (
        lambda service, customer, _: [
            (edge["node"]["eventType"], edge["node"]["balanceAfter"])
            for edge in fresh(service, LEDGER, **about(customer))["creditsLedger"]["edges"]
        ],
        [("CREDITS_GRANTED", "10")],
        [("CREDITS_GRANTED", "20"), ("CREDITS_GRANTED", "10"), ("CREDITS_ROLLED_OVER", "0"), ("CREDITS_GRANTED", "10")],
    ),
    "schedules": (
        lambda service, customer, _: [
            found["nextGrantAt"] for found in fresh(service, LIST, customer=customer)["grantSchedules"]
        ],
        [wire(step(START, 1))],
        [wire(step(START, 2))],
    ),
}


def test_at_the_instant_of_a_part_every_read_is_right_though_no_worker_runs(database: Database, hands: Hands) -> None:
    """Each is the first that anybody makes on its pool. Somebody follows the log; nobody acts on what falls due."""
    with Runner(database), only_serving(database) as service:
        grants = {}
        for customer in LOOKS:
            schedule_of(service, customer, rollover={"expiresAfterPeriods": 1})
            grants[customer] = fresh(service, GRANTS, **about(customer))["creditGrants"]["edges"][0]["node"]["grantId"]
        hands.set(step(START, 1) - MICROSECOND)
        for customer, (look, before, _) in LOOKS.items():
            assert look(service, customer, grants[customer]) == before, customer
        assert granted(database) == len(LOOKS)
        hands.set(step(START, 1))
        for customer, (look, _, then) in LOOKS.items():
            assert look(service, customer, grants[customer]) == then, customer


def test_at_the_instant_of_a_part_a_use_draws_on_it_though_no_worker_runs(database: Database, hands: Hands) -> None:
    """Also where nobody follows the log; a read then says that it is behind."""
    with only_serving(database) as service:
        schedule_of(service, "acme")
        hands.set(step(START, 1) - MICROSECOND)
        (old,) = use_of(service, "acme", "3", "before")["draws"]
        hands.set(step(START, 1))
        too_much = {"customerId": "acme", "currencyId": "credits", "amount": 11, "idempotencyKey": "too much"}
        refusal = service.refusal(CONSUME, input=too_much)
        assert (refusal["code"], refusal["availableExact"]) == ("InsufficientCredits", "10")
        (new,) = use_of(service, "acme", "10", "at")["draws"]
        assert (old["amountExact"], new["amountExact"]) == ("3", "10")
        assert old["grantId"] != new["grantId"]
        assert service.graphql(SUMMARY, input={"customerId": "acme"}).headers["X-Ledger-Stale"] == "true"
    with Runner(database), only_serving(database) as service:
        found = fresh(service, ONE, id=new["grantId"])["creditGrant"]
        assert (found["status"], found["effectiveAt"]) == ("CONSUMED", wire(step(START, 1)))


def test_a_balance_that_is_yet_to_come_tells_when(service: Service, start: datetime, customer: str) -> None:
    """Of a pool that never had a credit, but has a schedule."""
    anchor = step(start, 1)
    schedule_of(service, customer, anchorAt=wire(anchor))
    (row,) = read(service, SUMMARY, input={"customerId": customer})["creditBalanceSummary"]["balances"]
    assert (row["currentBalanceExact"], row["validUntil"]) == ("0", wire(anchor))
    other = read(service, SUMMARY, input={"customerId": customer, "resourceId": "site"})
    assert other["creditBalanceSummary"]["balances"] == []
