"""Amounts at the GraphQL door: what is no exact amount is refused by its name and writes nothing.

Amounts are sent as raw JSON, because a number that was read once is no longer the text that a client sent.
"""

import json
from typing import Any

import httpx
import pytest

from tests.service.serving import Service

CREATE = """
mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { amount amountExact cost { amountExact } } }
"""
CONSUME = """
mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId amount amountExact } }
"""
REFUND = """
mutation ($input: RefundCreditsInput!) { refundCredits(input: $input) { amount amountExact } }
"""
LEDGER = "query ($customer: String!) { creditsLedger(input: {customerId: $customer}) { totalCount } }"
GRANT = {"currencyId": "credits", "displayName": "grant", "grantType": "PAID"}
ALL_OF_THEM = ("create", "consume", "refund", "cost")
HERE = "the amount's place"


@pytest.fixture
def debit(service: Service, customer: str) -> str:
    """A debit of 10 on a grant of 100."""
    service.data(CREATE, input=GRANT | {"customerId": customer, "amount": 100})
    use = {"customerId": customer, "currencyId": "credits", "amount": 10, "idempotencyKey": "the debit"}
    transaction: str = service.data(CONSUME, input=use)["consumeCredits"]["transactionId"]
    return transaction


def asked(operation: str, customer: str, debit: str, field: str, number: str) -> str:
    """The body of a request with this JSON text as the amount."""
    amount = {field: HERE}
    query, given = {
        "create": (CREATE, GRANT | {"customerId": customer} | amount),
        "consume": (CONSUME, {"customerId": customer, "currencyId": "credits", "idempotencyKey": "this"} | amount),
        "refund": (REFUND, {"transactionId": debit, "idempotencyKey": "this"} | amount),
        "cost": (CREATE, GRANT | {"customerId": customer, "amount": 5, "cost": amount}),
    }[operation]
    return json.dumps({"query": query, "variables": {"input": given}}).replace(json.dumps(HERE), number)


def sent(service: Service, body: str) -> httpx.Response:
    return service.http.post("/graphql", content=body, headers={"Content-Type": "application/json"})


def refused(service: Service, customer: str, body: str) -> dict[str, Any]:
    """The one error of a request, which has written nothing."""
    before = written(service, customer)
    (error,) = sent(service, body).json()["errors"]
    assert written(service, customer) == before
    assert error["extensions"]["code"] == "InvalidArgumentError"
    told: dict[str, Any] = error
    return told


def written(service: Service, customer: str) -> tuple[str, int]:
    """The head of the log, and how many entries the customer has there."""
    head = service.http.get("/readyz").json()["head"]
    counted = service.data(LEDGER, {"X-Ledger-At-Least": head}, customer=customer)
    return head, counted["creditsLedger"]["totalCount"]


def wire_name(operation: str, field: str) -> str:
    return f"cost.{field}" if operation == "cost" else field


@pytest.mark.parametrize("operation", ALL_OF_THEM)
@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("-1",                   "must not be below zero"),
        ("-1e-9",                "must not be below zero"),
        ("1e-10",                "must have at most 9 places"),
        ("0.0000000001",         "must have at most 9 places"),
        ("0.1234567891",         "must have at most 9 places"),
        ("1e-400",               "must have at most 9 places"),
        ("10000000000000000000", "at most 19 digits before the point"),
        ("1e19",                 "at most 19 digits before the point"),
        ("1e300",                "at most 19 digits before the point"),
        ("1234567890123456",     "Exact"),
        ("9007199254740993",     "Exact"),
        ("9999999999999999999",  "Exact"),
        ("0.1234567890123456",   "Exact"),
        ("1000000.000000001",    "Exact"),
    ],
)  # fmt: skip
def test_a_float_that_is_no_exact_amount_is_refused(
    service: Service, customer: str, debit: str, operation: str, number: str, reason: str
) -> None:
    error = refused(service, customer, asked(operation, customer, debit, "amount", number))
    name = wire_name(operation, "amount")
    assert error["extensions"]["field"] == name
    assert (f"{name}Exact" if reason == "Exact" else reason) in error["message"]


@pytest.mark.parametrize("operation", ALL_OF_THEM)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-1",                            "must not be below zero"),
        ("-0.000000001",                  "must not be below zero"),
        ("0.0000000001",                  "must have at most 9 places"),
        ("1e-10",                         "must have at most 9 places"),
        ("10000000000000000000",          "at most 19 digits before the point"),
        ("99999999999999999999999999999", "at most 19 digits before the point"),
        ("1e19",                          "at most 19 digits before the point"),
        ("NaN",                           "must be a finite number"),
        ("Infinity",                      "must be a finite number"),
        ("-Infinity",                     "must be a finite number"),
        ("",                              "must be a decimal number"),
        (" 5",                            "must be a decimal number"),
        ("5 ",                            "must be a decimal number"),
        ("5\n",                           "must be a decimal number"),
        ("1 000",                         "must be a decimal number"),
        ("1_000",                         "must be a decimal number"),
        ("1,5",                           "must be a decimal number"),
        ("0x10",                          "must be a decimal number"),
        ("five",                          "must be a decimal number"),
        ("\u0665",                        "must be a decimal number"),
        ("\uff15",                        "must be a decimal number"),
        ("5\u0000",                       "must be a decimal number"),
        ("5\ud800",                       "must be a decimal number"),
        ("1e9999999999999999999",         "must be a decimal number"),
        ("0" * 2_000 + "5",               "must be a decimal number"),
    ],
    ids=ascii,
)  # fmt: skip
def test_a_text_that_is_no_exact_amount_is_refused(
    service: Service, customer: str, debit: str, operation: str, text: str, reason: str
) -> None:
    error = refused(service, customer, asked(operation, customer, debit, "amountExact", json.dumps(text)))
    assert error["extensions"]["field"] == wire_name(operation, "amountExact")
    assert reason in error["message"]


@pytest.mark.parametrize("operation", ["create", "consume", "refund"])
@pytest.mark.parametrize(
    ("field", "number"),
    [
        ("amount",      "0"),
        ("amount",      "0.0"),
        ("amount",      "-0.0"),
        ("amount",      "0e5"),
        ("amountExact", '"0"'),
        ("amountExact", '"0.000000000"'),
    ],
)  # fmt: skip
def test_nothing_is_no_amount_of_credits(
    service: Service, customer: str, debit: str, operation: str, field: str, number: str
) -> None:
    error = refused(service, customer, asked(operation, customer, debit, field, number))
    assert error["message"] == f"{field} must be above zero"
    assert error["extensions"]["field"] == field


@pytest.mark.parametrize("operation", ALL_OF_THEM)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount",      "1e400"),
        ("amount",      "-1e400"),
        ("amount",      "1" * 401),
        ("amount",      '"5"'),
        ("amount",      "true"),
        ("amount",      "[]"),
        ("amount",      "{}"),
        ("amountExact", "5"),
        ("amountExact", "5.0"),
        ("amountExact", "true"),
        ("amountExact", "[]"),
        ("amountExact", '["5"]'),
        ("amountExact", "{}"),
    ],
)  # fmt: skip
def test_an_amount_of_another_type_is_refused(
    service: Service, customer: str, debit: str, operation: str, field: str, value: str
) -> None:
    error = refused(service, customer, asked(operation, customer, debit, field, value))
    assert f"invalid value at .{wire_name(operation, field)}:" in error["message"]


@pytest.mark.parametrize("operation", ALL_OF_THEM)
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "05", "+5", ".5", "5.", "1_000", "1" * 5_000])
def test_a_number_that_json_does_not_have_is_refused_with_the_whole_body(
    service: Service, customer: str, debit: str, operation: str, value: str
) -> None:
    body = asked(operation, customer, debit, "amount", value)
    assert refused(service, customer, body)["extensions"]["field"] == "body"
    assert sent(service, body).status_code == 400


@pytest.mark.parametrize("operation", ALL_OF_THEM)
def test_an_amount_given_twice_is_refused(service: Service, customer: str, debit: str, operation: str) -> None:
    body = asked(operation, customer, debit, "amount", '5, "amountExact": "5"')
    error = refused(service, customer, body)
    name = wire_name(operation, "amount")
    assert error["message"] == f"{name} must be given once: as {name} or as {name}Exact"


@pytest.mark.parametrize("operation", ["create", "consume"])
@pytest.mark.parametrize("field", ["amount", "amountExact"])
def test_an_amount_must_be_given(service: Service, customer: str, debit: str, operation: str, field: str) -> None:
    error = refused(service, customer, asked(operation, customer, debit, field, "null"))
    assert error["message"] == "amount must be given, as amount or as amountExact"


def test_a_refund_without_an_amount_is_all_that_is_left(service: Service, customer: str, debit: str) -> None:
    sent(service, asked("refund", customer, debit, "amountExact", '"2.5"'))
    rest = service.data(REFUND, input={"transactionId": debit, "idempotencyKey": "rest"})
    assert rest["refundCredits"] == {"amount": 7.5, "amountExact": "7.5"}
