"""Automatic recharge: one PAID grant for every time that a customer's own pool falls below its threshold.

These tests move the clock, forward only.
"""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.store.database import Database
from tests.conftest import START, Hands
from tests.service.load import eventually
from tests.service.serving import ANSWER_SECONDS_MAX, Service, serving
from tests.service.test_graphql_clock import MICROSECOND, move, now, read, wire
from tests.service.test_graphql_schedules import (
    LEDGER,
    balance_of,
    ledger_of,
    schedule_of,
    start,
    step,
    use_of,
    working,
)

__all__ = ["start"]
SETTINGS = """
id customerId currencyId isEnabled thresholdValue thresholdValueExact targetBalance targetBalanceExact maxSpendLimit
maxSpendLimitExact grantExpirationPeriod unitPrice { amount amountExact currency } paymentCollectionMethod
currentMonthlySpend currentMonthlySpendExact createdAt updatedAt
"""
SAVE = (
    f"mutation ($input: SaveAutoRechargeSettingsInput!) {{ saveAutoRechargeSettings(input: $input) {{ {SETTINGS} }} }}"
)
GET = f"query ($input: GetAutoRechargeSettingsInput!) {{ getAutoRechargeSettings(input: $input) {{ {SETTINGS} }} }}"
ISSUE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id grantId } }"
VOID = "mutation ($input: VoidCreditGrantInput!) { voidCreditGrant(input: $input) { status } }"
PAY = """
mutation ($input: RecordGrantPaymentInput!) { recordGrantPayment(input: $input) { status paymentCollection } }
"""
CONSUME = "mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId } }"
GRANTS = """
query ($input: GetCreditGrantsInput!) {
  creditGrants(input: $input) {
    edges {
      node {
        id grantType status displayName amountExact cost { amountExact currency } effectiveAt expireAt createdAt
        paymentCollection automaticRechargeConfigurationId resourceId currencyId rolledOverFrom priority
      }
    }
  }
}
"""
SYSTEM = "SYSTEM:auto-recharge"


def grant_of(service: Service, customer: str, amount: int | Decimal, **given: Any) -> str:
    fields = {"customerId": customer, "currencyId": "credits", "displayName": "g", "grantType": "PAID"}
    made: str = service.data(ISSUE, input=fields | {"amountExact": str(amount)} | given)["createCreditGrant"]["id"]
    return made


def asked(customer: str, **given: Any) -> dict[str, Any]:
    fields = {"customerId": customer, "currencyId": "credits", "isEnabled": True}
    return fields | {"thresholdValue": 5, "targetBalance": 20, "unitPrice": {"amount": 0.1}} | given


def save(service: Service, customer: str, **given: Any) -> Any:
    return service.data(SAVE, input=asked(customer, **given))["saveAutoRechargeSettings"]


def settings(service: Service, customer: str, currency: str = "credits") -> Any:
    wanted = {"customerId": customer, "currencyId": currency}
    return read(service, GET, input=wanted)["getAutoRechargeSettings"]


def recharges(service: Service, customer: str, **given: Any) -> list[Any]:
    """The grants that recharges made, oldest first."""
    wanted = {"customerId": customer, "paging": {"first": 100}} | given
    edges = read(service, GRANTS, input=wanted)["creditGrants"]["edges"]
    nodes = [edge["node"] for edge in reversed(edges)]
    return [node for node in nodes if node["automaticRechargeConfigurationId"] is not None]


def amounts(service: Service, customer: str) -> list[str]:
    return [grant["amountExact"] for grant in recharges(service, customer)]


def comes_to(service: Service, customer: str, *wanted: str) -> bool:
    """Whether in the end these are the amounts of the recharges, of which none was made too many."""
    there = eventually(lambda: len(recharges(service, customer)) >= len(wanted), ANSWER_SECONDS_MAX)
    return there and stays_at(service, customer, *wanted)


def stays_at(service: Service, customer: str, *wanted: str) -> bool:
    """The same when everything is done that is to be done by now: setting the clock answers only then."""
    move(service, now(service))
    return amounts(service, customer) == list(wanted)


def test_settings_say_all_that_was_saved(service: Service, customer: str) -> None:
    saved = save(
        service, customer, currencyId="tokens", isEnabled=False, thresholdValue=5.5, targetBalance=20.25,
        maxSpendLimit=99.99, grantExpirationPeriod="OneYear", unitPrice={"amount": 0.015, "currency": "EUR"},
        paymentCollectionMethod="CHARGE",
    )  # fmt: skip
    instant = wire(now(service))
    assert saved == {
        "id": saved["id"], "customerId": customer, "currencyId": "tokens", "isEnabled": False,
        "thresholdValue": 5.5, "thresholdValueExact": "5.5", "targetBalance": 20.25, "targetBalanceExact": "20.25",
        "maxSpendLimit": 99.99, "maxSpendLimitExact": "99.99", "grantExpirationPeriod": "OneYear",
        "unitPrice": {"amount": 0.015, "amountExact": "0.015", "currency": "EUR"}, "paymentCollectionMethod": "CHARGE",
        "currentMonthlySpend": 0, "currentMonthlySpendExact": "0", "createdAt": instant, "updatedAt": instant,
    }  # fmt: skip
    assert settings(service, customer, "tokens") == saved
    assert settings(service, customer) is None, "each currency has its own"
    assert settings(service, f"{customer}-other", "tokens") is None


def test_what_is_not_said_has_its_default_and_settings_are_saved_whole(
    service: Service, start: datetime, customer: str
) -> None:
    first = save(service, customer, isEnabled=False, maxSpendLimit=5, grantExpirationPeriod="OneMonth")
    later = start + timedelta(hours=1)
    move(service, later)
    fields = {"customerId": customer, "currencyId": "credits", "isEnabled": False}
    saved = service.data(SAVE, input=fields)["saveAutoRechargeSettings"]
    assert saved == {
        "id": first["id"], "customerId": customer, "currencyId": "credits", "isEnabled": False,
        "thresholdValue": None, "thresholdValueExact": None, "targetBalance": None, "targetBalanceExact": None,
        "maxSpendLimit": None, "maxSpendLimitExact": None, "grantExpirationPeriod": None,
        "unitPrice": {"amount": 0, "amountExact": "0", "currency": "USD"}, "paymentCollectionMethod": "NONE",
        "currentMonthlySpend": 0, "currentMonthlySpendExact": "0", "createdAt": wire(start), "updatedAt": wire(later),
    }  # fmt: skip
    assert settings(service, customer) == saved


def test_exact_twins_say_the_same_and_more(service: Service, customer: str) -> None:
    exact = {"thresholdValueExact": "1234567890.123456789", "targetBalanceExact": "1234567890.12345679",
             "maxSpendLimitExact": "0.000000001"}  # fmt: skip
    floats = dict.fromkeys(["thresholdValue", "targetBalance", "maxSpendLimit"])
    saved = save(service, customer, **floats, **exact, isEnabled=False, unitPrice={"amountExact": "0.000000007"})
    assert {name: saved[name] for name in exact} == exact
    assert saved["unitPrice"] == {"amount": 7e-9, "amountExact": "0.000000007", "currency": "USD"}
    assert saved["thresholdValue"] == 1234567890.123456789


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"customerId": ""},                                            "customerId"),
        ({"customerId": "x" * 201},                                     "customerId"),
        ({"currencyId": ""},                                            "currencyId"),
        ({"currencyId": "x" * 201},                                     "currencyId"),
        ({"isEnabled": None},                                           "isEnabled"),
        ({"thresholdValue": None},                                      "thresholdValue"),
        ({"thresholdValue": 0},                                         "thresholdValue"),
        ({"thresholdValue": -1},                                        "thresholdValue"),
        ({"thresholdValue": 0, "isEnabled": False},                     "thresholdValue"),
        ({"thresholdValue": 1.1234567890123456},                        "thresholdValue"),
        ({"thresholdValueExact": "5"},                                  "thresholdValue"),
        ({"targetBalance": None},                                       "targetBalance"),
        ({"targetBalance": 4.999999999},                                "targetBalance"),
        ({"targetBalance": None, "targetBalanceExact": "1" + "0" * 19}, "targetBalanceExact"),
        ({"targetBalanceExact": "20"},                                  "targetBalance"),
        ({"maxSpendLimit": -1},                                         "maxSpendLimit"),
        ({"maxSpendLimit": 1, "maxSpendLimitExact": "1"},               "maxSpendLimit"),
        ({"maxSpendLimit": 1, "unitPrice": None},                       "unitPrice"),
        ({"grantExpirationPeriod": "OneWeek"},                          "grantExpirationPeriod"),
        ({"unitPrice": {"amount": -1}},                                 "unitPrice.amount"),
        ({"unitPrice": {"amount": 1, "amountExact": "1"}},              "unitPrice.amount"),
        ({"unitPrice": {"amount": 1, "currency": "dollars"}},           "unitPrice.currency"),
        ({"unitPrice": {"amountExact": "500000000000000000"}},          "unitPrice"),
        ({"paymentCollectionMethod": "CASH"},                           "paymentCollectionMethod"),
        ({"idempotencyKey": ""},                                        "idempotencyKey"),
        ({"idempotencyKey": "x" * 256},                                 "idempotencyKey"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused_by_its_field(
    service: Service, customer: str, given: dict[str, Any], field: str
) -> None:
    refusal = service.refusal(SAVE, input=asked(customer, **given))
    assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", field)
    assert settings(service, customer) is None


@pytest.mark.parametrize(
    "given",
    [
        {"currencyId": "x" * 200, "idempotencyKey": "x" * 255},
        {"thresholdValue": None, "thresholdValueExact": "0.000000001"},
        {"targetBalance": 5},
        {"maxSpendLimit": 0},
        {"unitPrice": None},
        {"unitPrice": {"amountExact": "499999999999999999.9"}},
        {"thresholdValue": 20, "targetBalance": 5, "isEnabled": False},
        {"maxSpendLimit": 1, "unitPrice": None, "isEnabled": False},
    ],
    ids=str,
)
def test_what_is_just_within_bounds_is_taken(service: Service, customer: str, given: dict[str, Any]) -> None:
    """Of a balance that is above the threshold: nothing is recharged meanwhile."""
    currency = given.get("currencyId", "credits")
    grant_of(service, customer, 1000, currencyId=currency)
    saved = save(service, customer, **given)
    assert settings(service, customer, currency) == saved


def test_settings_sent_again_under_their_key_answer_the_same(service: Service, customer: str) -> None:
    grant_of(service, customer, 1000)
    given = asked(customer, idempotencyKey="key")
    first = service.graphql(SAVE, input=given)
    saved = save(service, customer, targetBalance=30)
    assert service.graphql(SAVE, input=given).text == first.text
    respelt = given | {"thresholdValue": None, "thresholdValueExact": "5.00"}
    assert service.graphql(SAVE, input=respelt).text == first.text
    assert settings(service, customer) == saved, "a replay saves nothing"
    others: list[tuple[dict[str, Any], list[str]]] = [
        ({"isEnabled": False},                                 ["isEnabled"]),
        ({"thresholdValue": 6, "targetBalance": 21},           ["targetBalance", "thresholdValue"]),
        ({"maxSpendLimit": 1},                                 ["maxSpendLimit"]),
        ({"grantExpirationPeriod": "OneMonth"},                ["grantExpirationPeriod"]),
        ({"unitPrice": {"amount": 0.2}},                       ["unitPrice"]),
        ({"unitPrice": {"amount": 0.1, "currency": "EUR"}},    ["unitPrice.currency"]),
        ({"paymentCollectionMethod": "CHARGE"},                ["paymentCollectionMethod"]),
        ({"currencyId": "tokens"},                             ["currencyId"]),
    ]  # fmt: skip
    for other, differing in others:
        refusal = service.refusal(SAVE, input=given | other)
        assert (refusal["code"], refusal["differing"]) == ("IdempotencyKeyReused", differing)


def test_a_pool_is_recharged_strictly_below_its_threshold(service: Service, customer: str) -> None:
    grant_of(service, customer, 10)
    saved = save(service, customer, unitPrice={"amount": 0.1, "currency": "EUR"})
    use_of(service, customer, "5", "to the threshold")
    assert stays_at(service, customer)
    use_of(service, customer, "0.000000001", "below it")
    assert comes_to(service, customer, "15.000000001")
    assert balance_of(service, customer) == "20"
    (grant,) = recharges(service, customer)
    instant = wire(now(service))
    assert grant == grant | {
        "grantType": "PAID", "status": "ACTIVE", "automaticRechargeConfigurationId": saved["id"],
        "cost": {"amountExact": "1.5", "currency": "EUR"}, "effectiveAt": instant, "createdAt": instant,
        "expireAt": None, "paymentCollection": "NOT_REQUIRED", "resourceId": None, "currencyId": "credits",
        "priority": 50,
    }  # fmt: skip
    assert settings(service, customer) == saved | {"currentMonthlySpend": 1.5, "currentMonthlySpendExact": "1.5"}
    row = ledger_of(service, customer)[-1]
    assert (row["eventType"], row["actor"], row["balanceAfter"]) == ("CREDITS_GRANTED", SYSTEM, "20")


def test_a_use_that_a_recharge_would_have_covered_is_refused_and_the_next_one_finds_it(
    service: Service, customer: str
) -> None:
    """A recharge follows a fall below the threshold; a use that is too large makes nothing fall."""
    grant_of(service, customer, 10)
    save(service, customer)
    use = {"customerId": customer, "currencyId": "credits", "amount": 15, "idempotencyKey": "large"}
    assert service.refusal(CONSUME, input=use)["code"] == "InsufficientCredits"
    assert stays_at(service, customer)
    use_of(service, customer, "6")
    assert comes_to(service, customer, "16")
    assert service.data(CONSUME, input=use)["consumeCredits"]


@pytest.mark.parametrize(
    ("amount", "price", "cost"),
    [
        ("15.5",         "3",            "46.5"),
        ("19.999999999", "0.000000001",  "0.00000002"),
        ("20",           "0",            "0"),
        ("15.5",         "0.000000001",  "0.000000016"),
        ("16.5",         "0.000000001",  "0.000000016"),
    ],
)  # fmt: skip
def test_a_recharge_costs_its_amount_times_the_price_to_nine_places(
    service: Service, customer: str, amount: str, price: str, cost: str
) -> None:
    """Halves go to the even one. The balance is brought from what is left to the target of 20."""
    left = 20 - Decimal(amount)
    if left:
        grant_of(service, customer, left)
    save(service, customer, unitPrice={"amountExact": price})
    assert comes_to(service, customer, amount)
    assert [grant["cost"]["amountExact"] for grant in recharges(service, customer)] == [cost]
    assert settings(service, customer)["currentMonthlySpendExact"] == cost


@pytest.mark.parametrize(("period", "months"), [("OneMonth", 1), ("OneYear", 12), (None, None)])
def test_a_recharge_lasts_as_long_as_the_settings_say(
    service: Service, start: datetime, customer: str, period: str | None, months: int | None
) -> None:
    """A month from 31 January is to the end of February."""
    save(service, customer, grantExpirationPeriod=period)
    assert comes_to(service, customer, "20")
    (grant,) = recharges(service, customer)
    assert grant["expireAt"] == (None if months is None else wire(step(start, months)))
    save(service, customer, isEnabled=False)


def test_settings_that_are_saved_while_the_balance_is_below_recharge_at_once(service: Service, customer: str) -> None:
    grant_of(service, customer, 4)
    save(service, customer)
    assert comes_to(service, customer, "16")
    save(service, customer, thresholdValue=20)
    assert stays_at(service, customer, "16")
    save(service, customer, thresholdValue=20.5, targetBalance=20.5)
    assert comes_to(service, customer, "16", "0.5")


def test_a_customer_who_never_had_a_credit_is_recharged_from_nothing(service: Service, customer: str) -> None:
    save(service, customer)
    assert comes_to(service, customer, "20")


def test_a_recharge_that_is_not_enabled_does_nothing(service: Service, customer: str) -> None:
    grant_of(service, customer, 10)
    save(service, customer, isEnabled=False)
    use_of(service, customer, "10")
    assert stays_at(service, customer)
    save(service, customer)
    assert comes_to(service, customer, "20")
    save(service, customer, isEnabled=False)
    use_of(service, customer, "20", "again")
    assert stays_at(service, customer, "20")


def test_other_pools_of_a_customer_are_not_touched_and_do_not_count(service: Service, customer: str) -> None:
    for given in ({"resourceId": "site-1"}, {"currencyId": "tokens"}):
        grant_of(service, customer, 100, **given)
        use_of(service, customer, "100", f"{given}", **given)
    grant_of(service, customer, 10)
    save(service, customer)
    assert stays_at(service, customer)
    grant_of(service, customer, 100, resourceId="site-1")
    use_of(service, customer, "6")
    assert comes_to(service, customer, "16")
    assert recharges(service, customer, resourceId="site-1") == []
    assert [grant["currencyId"] for grant in recharges(service, customer)] == ["credits"]


def test_a_void_that_brings_the_balance_below_recharges(service: Service, customer: str) -> None:
    grant = grant_of(service, customer, 10)
    grant_of(service, customer, 3)
    save(service, customer)
    service.data(VOID, input={"id": grant})
    assert comes_to(service, customer, "17")


def test_time_alone_brings_a_balance_below_and_a_recharge_follows(
    service: Service, start: datetime, customer: str
) -> None:
    """A grant expires and nobody asks; what begins later, or was bought and is not paid, does not count."""
    ends = start + timedelta(days=1)
    grant_of(service, customer, 10, expireAt=ends.isoformat())
    grant_of(service, customer, 3)
    grant_of(service, customer, 50, effectiveAt=(ends + MICROSECOND).isoformat())
    grant_of(service, customer, 50, cost={"amount": 5}, paymentCollectionMethod="INVOICE")
    save(service, customer)
    move(service, ends - MICROSECOND)
    assert stays_at(service, customer)
    move(service, ends)
    assert comes_to(service, customer, "17")
    assert [grant["effectiveAt"] for grant in recharges(service, customer)] == [wire(ends)]
    assert balance_of(service, customer) == "20"


def test_a_schedule_that_grants_in_the_instant_of_a_fall_prevents_a_recharge(
    service: Service, start: datetime, customer: str
) -> None:
    """Its old grant ends where the new one begins: the balance was never below."""
    schedule_of(service, customer)
    save(service, customer)
    move(service, step(start, 3))
    assert stays_at(service, customer)


@pytest.mark.parametrize(("cap", "issued"), [(3.549999999, False), (3.55, True), (3.56, True)])
def test_what_would_pass_the_cap_of_a_month_is_not_issued_at_all(
    service: Service, start: datetime, customer: str, cap: float, issued: bool
) -> None:
    """Exactly at the cap it is. In the next UTC month spend begins anew, from its first instant."""
    save(service, customer, maxSpendLimit=cap)
    assert comes_to(service, customer, "20")
    use_of(service, customer, "15.5")
    spent = "3.55" if issued else "2"
    assert comes_to(service, customer, *["20", "15.5"][: 1 + issued])
    assert settings(service, customer)["currentMonthlySpendExact"] == spent
    move(service, datetime(start.year, 2, 1, tzinfo=UTC) - MICROSECOND)
    assert stays_at(service, customer, *["20", "15.5"][: 1 + issued])
    assert settings(service, customer)["currentMonthlySpendExact"] == spent
    move(service, datetime(start.year, 2, 1, tzinfo=UTC))
    assert stays_at(service, customer, "20", "15.5"), "a recharge that waited for the month is made, once"
    assert settings(service, customer)["currentMonthlySpendExact"] == ("0" if issued else "1.55")
    save(service, customer, isEnabled=False)


def test_a_larger_cap_lets_a_recharge_through_that_waited(service: Service, start: datetime, customer: str) -> None:
    save(service, customer, maxSpendLimit=1.99)
    assert stays_at(service, customer)
    save(service, customer, maxSpendLimit=2)
    assert comes_to(service, customer, "20")
    refusal = service.refusal(SAVE, input=asked(customer, unitPrice={"amount": 1, "currency": "EUR"}))
    assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", "unitPrice.currency")


@pytest.mark.parametrize("method", ["INVOICE", "CHARGE"])
def test_a_recharge_that_waits_for_its_payment_counts_in(service: Service, customer: str, method: str) -> None:
    """So there is no second one; and it can be used once its payment is recorded."""
    grant_of(service, customer, 10)
    save(service, customer, paymentCollectionMethod=method)
    use_of(service, customer, "6")
    assert comes_to(service, customer, "16")
    (grant,) = recharges(service, customer)
    assert (grant["status"], grant["paymentCollection"]) == ("PENDING", "PROCESSING")
    assert balance_of(service, customer) == "4"
    use_of(service, customer, "4", "the rest")
    assert stays_at(service, customer, "16"), "0 and an open 16 are not below 5"
    use = {"customerId": customer, "currencyId": "credits", "amount": 1, "idempotencyKey": "early"}
    assert service.refusal(CONSUME, input=use)["code"] == "InsufficientCredits"
    paid = service.data(PAY, input={"creditGrantId": grant["id"], "paymentCollection": "NOT_REQUIRED"})
    assert paid["recordGrantPayment"] == {"status": "ACTIVE", "paymentCollection": "NOT_REQUIRED"}
    assert balance_of(service, customer) == "16"
    use_of(service, customer, "12", "more")
    assert comes_to(service, customer, "16", "16")


def test_an_open_recharge_that_is_voided_counts_no_more(service: Service, customer: str) -> None:
    save(service, customer, paymentCollectionMethod="INVOICE")
    assert comes_to(service, customer, "20")
    service.data(VOID, input={"id": recharges(service, customer)[0]["id"]})
    assert comes_to(service, customer, "20", "20")


def test_a_recharge_without_a_price_waits_for_no_payment(service: Service, customer: str) -> None:
    save(service, customer, paymentCollectionMethod="INVOICE", unitPrice=None)
    assert comes_to(service, customer, "20")
    assert [grant["status"] for grant in recharges(service, customer)] == ["ACTIVE"]


# What follows has processes of its own.


def test_time_alone_moves_the_reactor_though_nobody_asks_it_to_act(database: Database, hands: Hands) -> None:
    """An expiry and the beginning of a UTC month; the clock is moved past the service."""
    ends, month = START + timedelta(hours=1), datetime(2026, 2, 1, tzinfo=UTC)
    with serving(database_url=database.dsn, schema=database.schema, test_clock="1") as service:
        grant_of(service, "expiring", 10, expireAt=ends.isoformat())
        save(service, "expiring")
        save(service, "capped", maxSpendLimit=3)
        assert eventually(lambda: amounts(service, "capped") == ["20"], ANSWER_SECONDS_MAX)
        use_of(service, "capped", "20")
        hands.set(ends)
        assert eventually(lambda: amounts(service, "expiring") == ["20"], ANSWER_SECONDS_MAX)
        hands.set(month - MICROSECOND)
        use_of(service, "expiring", "16")
        assert eventually(lambda: amounts(service, "expiring") == ["20", "16"], ANSWER_SECONDS_MAX)
        assert amounts(service, "capped") == ["20"]
        hands.set(month)
        assert eventually(lambda: amounts(service, "capped") == ["20", "20"], ANSWER_SECONDS_MAX)
        assert [grant["effectiveAt"] for grant in recharges(service, "capped")] == [wire(START), wire(month)]


THRESHOLD, TARGET = Decimal(50), Decimal(100)
THREADS, USES = 6, 40


def assert_the_law(service: Service, customer: str, configuration: str) -> int:
    """Every fall below the threshold was met by one recharge, decided on the balance as it was; returns how many."""
    balance, below, crossings, found = Decimal(0), False, 0, 0
    for row in whole_ledger(service, customer):
        amount = Decimal(row["signedAmount"])
        of_recharge = row["eventType"] == "CREDITS_GRANTED" and row["actor"] == SYSTEM
        assert of_recharge == (
            row["eventType"] == "CREDITS_GRANTED" and row["grant"]["automaticRechargeConfigurationId"] == configuration
        )
        if of_recharge:
            assert below, f"a recharge at a balance of {balance}"
            assert amount == TARGET - balance
            found += 1
        balance += amount
        assert Decimal(row["balanceAfter"]) == balance
        crossings += balance < THRESHOLD and not below
        below = balance < THRESHOLD
    assert not below
    assert found == crossings
    return found


def whole_ledger(service: Service, customer: str) -> list[Any]:
    """Oldest first. A grant that a use takes from first is in one row of it; uses of two are in two."""
    rows: list[Any] = []
    paging: dict[str, Any] = {"first": 100}
    document = LEDGER.replace("totalCount", "pageInfo { endCursor hasNextPage }")
    while True:
        page = read(service, document, input={"customerId": customer, "paging": paging})["creditsLedger"]
        rows += [edge["node"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            return rows[::-1]
        paging = {"first": 100, "after": page["pageInfo"]["endCursor"]}


def use_up(service: Service, customer: str, number: int, pay: Callable[[], None], uses: int = USES) -> Decimal:
    """One client's uses, each sent until it is taken; returns their sum."""
    chance = random.Random(number)
    total = Decimal(0)
    for step_number in range(uses):
        amount = Decimal(chance.randrange(1, 1500)) / 100
        use = {"customerId": customer, "currencyId": "credits", "idempotencyKey": f"{number}-{step_number}"}
        wanted = use | {"amountExact": str(amount)}
        assert eventually(lambda wanted=wanted: taken(service, wanted, pay), ANSWER_SECONDS_MAX)  # type: ignore[misc]
        total += amount
    return total


def taken(service: Service, use: dict[str, Any], pay: Callable[[], None]) -> bool:
    """Whether a use was taken; where credits are short, what is open is paid, so that they come."""
    answer = service.graphql(CONSUME, input=use).json()
    if "errors" not in answer:
        return True
    assert answer["errors"][0]["extensions"]["code"] == "InsufficientCredits", answer
    pay()
    return False


def pay_what_is_open(service: Service, customer: str) -> None:
    wanted = {"customerId": customer, "status": "PENDING"}
    for edge in service.data(GRANTS, input=wanted)["creditGrants"]["edges"]:
        service.graphql(PAY, input={"creditGrantId": edge["node"]["id"], "paymentCollection": "NOT_REQUIRED"})


def ready_to_use(service: Service, customer: str, method: str) -> str:
    """A customer with a balance above his threshold; returns his configuration."""
    grant_of(service, customer, TARGET)
    limits = {"thresholdValue": float(THRESHOLD), "targetBalance": float(TARGET)}
    saved: str = save(service, customer, **limits, paymentCollectionMethod=method)["id"]
    return saved


def booked_above(service: Service, customer: str) -> bool:
    """Whether the booked balance, in which open recharges count, is at the threshold or above."""
    rows = service.data(LEDGER, input={"customerId": customer, "paging": {"first": 1}})["creditsLedger"]["edges"]
    return Decimal(rows[0]["node"]["balanceAfter"]) >= THRESHOLD


@pytest.mark.parametrize("method", ["NONE", "INVOICE"])
def test_every_fall_below_is_met_by_one_recharge_while_many_use_and_two_processes_look(
    database: Database, method: str
) -> None:
    with serving(database_url=database.dsn, schema=database.schema) as service, working(database):
        configuration = ready_to_use(service, "acme", method)

        def pay() -> None:
            if method != "NONE":
                pay_what_is_open(service, "acme")

        with ThreadPoolExecutor(THREADS) as threads:
            used = sum(threads.map(lambda number: use_up(service, "acme", number, pay), range(THREADS)))
        assert eventually(lambda: booked_above(service, "acme"), ANSWER_SECONDS_MAX)
        found = assert_the_law(service, "acme", configuration)
        assert (used - TARGET) / TARGET < found <= used / (TARGET - THRESHOLD)
        costs = [Decimal(row["cost"]["amountExact"]) for row in recharges(service, "acme")]
        assert sum(costs) == Decimal(settings(service, "acme")["currentMonthlySpendExact"])


def test_every_fall_below_is_met_by_one_recharge_though_the_worker_is_killed_again_and_again(
    database: Database,
) -> None:
    chance = random.Random(3)
    with serving("--no-worker", database_url=database.dsn, schema=database.schema) as service:
        configuration = ready_to_use(service, "acme", "NONE")
        with ExitStack() as stack:
            threads = stack.enter_context(ThreadPoolExecutor(THREADS))
            using = [threads.submit(use_up, service, "acme", number, lambda: None, 12) for number in range(THREADS)]
            seconds = 0.1  # each worker lives a little longer than the one before: a slow machine gets on too
            while not all(client.done() for client in using):
                with working(database) as worker:
                    eventually(lambda: all(client.done() for client in using), seconds * chance.uniform(1, 3))
                    worker.kill()
                seconds *= 1.2
            used = sum(client.result() for client in using)
        with working(database):
            assert eventually(lambda: booked_above(service, "acme"), ANSWER_SECONDS_MAX)
            found = assert_the_law(service, "acme", configuration)
            assert (used - TARGET) / TARGET < found <= used / (TARGET - THRESHOLD)


def test_one_pool_that_cannot_be_recharged_holds_up_nobody_and_nothing(database: Database) -> None:
    """Its grants would end after the last year that can be written. The others go on, and the service is ready."""
    with serving(database_url=database.dsn, schema=database.schema, test_clock="1") as service:
        assert service.set_clock("9999-06-01T00:00:00Z").status_code == 200
        common = {"currencyId": "credits", "isEnabled": True, "thresholdValue": 10, "targetBalance": 20}
        service.data(SAVE, input=common | {"customerId": "stuck", "grantExpirationPeriod": "OneYear"})
        for number in range(3):
            service.data(SAVE, input=common | {"customerId": f"well-{number}"})
            assert eventually(lambda who=f"well-{number}": balance_of(service, who) == "20", 30)  # type: ignore[misc]
        assert service.http.get("/readyz").status_code == 200
        assert service.log().count("cannot be recharged") == 1
