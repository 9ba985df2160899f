"""POST /v1/refunds, and GET /v1/balances/{holder}: what is given back, and what a holder has."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from ledger.store.database import Database
from projections.runner import Runner
from tests.conftest import Hands
from tests.service.debits import (
    BALANCES,
    DEBITS,
    NOW,
    REFUND,
    REFUNDS,
    allotted,
    balances,
    debit,
    done,
    execution,
    granted,
    refused,
    sent,
)
from tests.service.executions import CREATE
from tests.service.serving import Service, serving
from tests.service.test_api_keys import as_key, key_for

UNKNOWN = "00000000-0000-4000-8000-000000000000"
FIGURES = ("granted", "used", "voided", "expired", "booked", "available")
VOID = "mutation ($input: VoidCreditGrantInput!) { voidCreditGrant(input: $input) { id } }"


def figures(pool: dict[str, Any]) -> list[str]:
    return [pool[name] for name in FIGURES]


def test_a_refund_is_told_whole_and_as_through_graphql(service: Service, customer: str) -> None:
    first, second = granted(service, customer, 10, priority=1), granted(service, customer, 10)
    used = done(service, DEBITS, debit(customer, 12))
    answer = sent(service, REFUNDS, {"transactionId": used["transactionId"], "amount": "3.5"}, {"Idempotency-Key": "k"})
    told = answer.json()
    assert told == {
        "transactionId": told["transactionId"],
        "refundedTransactionId": used["transactionId"],
        "kind": "CREDIT_GRANT",
        "holder": customer,
        "currency": "credits",
        "resource": None,
        "amount": "3.5",
        "recordedAt": NOW,
        "draws": [{"lot": second, "amount": "2"}, {"lot": first, "amount": "1.5"}],
        "poolBalance": "11.5",
        "position": answer.headers["X-Ledger-Position"],
        "replayed": False,
    }
    given = {"transactionId": used["transactionId"], "amountExact": "3.50", "idempotencyKey": "k"}
    same = service.data(REFUND, input=given)["answer"]
    assert (same["transactionId"], same["amountExact"], same["replayed"]) == (told["transactionId"], "3.5", True)
    rest = done(service, REFUNDS, {"transactionId": used["transactionId"].upper(), "reason": "all of it"})
    assert (rest["amount"], rest["poolBalance"]) == ("8.5", "20")
    assert figures(balances(service, customer)[0]) == ["20", "0", "0", "0", "20", "20"]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"transactionId": UNKNOWN}, 404, "TransactionNotFound"),
        ({"transactionId": "no id"}, 404, "TransactionNotFound"),
        ({"kind": "EXECUTION_CREDIT"}, 404, "TransactionNotFound"),
        ({"amount": "1.000000001"}, 409, "RefundExceedsDebit"),
        ({"transactionId": None}, 400, "InvalidArgumentError"),
        ({"transactionId": 5}, 400, "InvalidArgumentError"),
        ({"amount": 0}, 400, "InvalidArgumentError"),
        ({"reason": "x" * 201}, 400, "InvalidArgumentError"),
        ({"reason": 0}, 400, "InvalidArgumentError"),
        ({"kind": "COINS"}, 400, "InvalidArgumentError"),
        ({"transaction": "x"}, 400, "InvalidArgumentError"),
    ],
    ids=str,
)
def test_a_refund_that_cannot_be(
    service: Service, customer: str, fields: dict[str, Any], status: int, code: str
) -> None:
    granted(service, customer)
    used = done(service, DEBITS, debit(customer))
    told = refused(service, REFUNDS, {"transactionId": used["transactionId"]} | fields)
    assert (told["status"], told["code"]) == (status, code)


def test_execution_credits_are_given_back_by_their_own_kind_alone(service: Service, customer: str) -> None:
    allotted(service, customer)
    used = done(service, DEBITS, execution(customer, 10))
    assert refused(service, REFUNDS, {"transactionId": used["transactionId"]})["code"] == "TransactionNotFound"
    given = {"kind": "EXECUTION_CREDIT", "transactionId": used["transactionId"], "amount": 4}
    assert done(service, REFUNDS, given)["poolBalance"] == "94"
    (pool,) = balances(service, customer, kind="EXECUTION_CREDIT")
    assert (pool["currency"], figures(pool)) == ("DAST", ["100", "6", "0", "0", "94", "94"])
    assert balances(service, customer) == []


def test_balances_are_told_by_pool(service: Service, customer: str) -> None:
    granted(service, customer, 10)
    gone = granted(service, customer, 5)
    granted(service, customer, 20, resourceId="r", effectiveAt="2026-02-01T00:00:00Z")
    granted(service, customer, 7, currencyId="coins")
    service.data(VOID, input={"id": gone})
    done(service, DEBITS, debit(customer, "2.5"))
    answer = service.http.get(f"{BALANCES}/{customer}")
    body = answer.json()
    assert (body["holder"], body["kind"], body["at"]) == (customer, "CREDIT_GRANT", NOW)
    assert body["position"] == answer.headers["X-Ledger-Position"] == service.http.get("/readyz").json()["head"]
    assert [(pool["currency"], pool["resource"], *figures(pool)) for pool in body["pools"]] == [
        ("coins", None, "7", "0", "0", "0", "7", "7"),
        ("credits", None, "15", "2.5", "5", "0", "7.5", "7.5"),
        ("credits", "r", "20", "0", "0", "0", "20", "0"),
    ]
    named = [{"currency": "coins"}, {"currency": "credits"}, {"resource": "r"}, {"resource": ""}]
    assert [len(balances(service, customer, **asked)) for asked in named] == [1, 2, 1, 2]
    assert balances(service, customer, currency="credits", resource="") == [body["pools"][1]]
    assert balances(service, "nobody") == []


@pytest.mark.parametrize("name", ["a/b", "a b", "50%", "%2F", "é", "?", "a+b", "#", "a\nb", "ü/%20"])
def test_a_holder_is_encoded_in_the_path(service: Service, name: str) -> None:
    holder = f"{name} {secrets.token_hex(4)}"
    granted(service, holder, 3)
    assert balances(service, quote(holder, safe=""))[0]["booked"] == "3"
    otherwise = service.http.get(f"/v1/%62alances/{quote(holder, safe='')}")  # as some clients and proxies encode
    assert otherwise.json()["pools"][0]["booked"] == "3"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("x?kind=COINS", "kind"),
        ("x?kind=", "kind"),
        ("x?currency=", "currency"),
        ("x?currency=a&currency=b", "currency"),
        ("x?resource=%00", "resource"),
        ("x?holder=y", "holder"),
        ("%00", "holder"),
        ("%FF", "holder"),
        ("x" * 201, "holder"),
    ],
)
def test_what_is_no_question_is_refused(service: Service, query: str, field: str) -> None:
    answer = service.http.get(f"{BALANCES}/{query}")
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_a_balance_waits_for_a_position_that_is_named(service: Service, schema: Database, customer: str) -> None:
    granted(service, customer)
    at = done(service, DEBITS, debit(customer))["position"]
    key = as_key(key_for(schema, "reader"))
    answer = service.http.get(f"{BALANCES}/{customer}", headers=key | {"X-Ledger-At-Least": at})
    assert int(answer.json()["position"]) >= int(at)
    assert answer.json()["pools"][0]["booked"] == "99"
    far = service.http.get(f"{BALANCES}/{customer}", headers={"X-Ledger-At-Least": "9" * 17})
    assert (far.status_code, far.json()["code"]) == (503, "PositionNotReached")
    bad = service.http.get(f"{BALANCES}/{customer}", headers={"X-Ledger-At-Least": "soon"})
    assert (bad.status_code, bad.json()["field"]) == (400, "X-Ledger-At-Least")


@pytest.fixture
def asleep(database: Database) -> Iterator[Service]:
    """A service that runs no job; its read models are followed."""
    with (
        Runner(database),
        serving("--no-worker", database_url=database.dsn, schema=database.schema, test_clock="1") as running,
    ):
        yield running


def test_what_has_ended_is_told_though_nobody_has_written_it_yet(
    asleep: Service, database: Database, customer: str
) -> None:
    hands = Hands(database)
    granted(asleep, customer, 10, expireAt="2026-02-28T00:00:00Z")
    given = {"companyId": customer, "creditType": "DAST", "rollupType": "MONTHLY", "credits": 50}
    assert asleep.data(CREATE, input=given)["answer"]["errors"] is None
    done(asleep, DEBITS, debit(customer, 4))
    done(asleep, DEBITS, execution(customer, 20))
    hands.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    (grants,) = balances(asleep, customer)
    assert figures(grants) == ["10", "4", "0", "6", "0", "0"]
    (periods,) = balances(asleep, customer, kind="EXECUTION_CREDIT")
    assert figures(periods) == ["100", "20", "0", "30", "50", "50"]
    assert refused(asleep, DEBITS, debit(customer, 1))["code"] == "InsufficientCredits"
