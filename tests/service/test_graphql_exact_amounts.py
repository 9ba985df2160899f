"""Amounts that the GraphQL door takes come back as what was sent, to the last of 28 digits, never with an exponent."""

import json
from typing import Any

import pytest

from tests.service.serving import Service

CREATE = """
mutation ($input: CreditGrantInput!) {
  createCreditGrant(input: $input) { id amount amountExact cost { amount amountExact } remainingAmount }
}
"""
CONSUME = """
mutation ($input: ConsumeCreditInput!) {
  consumeCredits(input: $input) {
    transactionId amount amountExact draws { amount amountExact } credit { currentUsageExact usageLimitExact }
  }
}
"""
REFUND = """
mutation ($input: RefundCreditsInput!) { refundCredits(input: $input) { amount amountExact draws { amountExact } } }
"""
READS = """
query ($customer: String!) {
  creditBalanceSummary(input: {customerId: $customer}) {
    balances { totalGranted totalGrantedExact totalConsumedExact currentBalance currentBalanceExact }
  }
  creditsLedger(input: {customerId: $customer}) {
    edges { node { amount amountExact signedAmount balanceAfter grantBalanceAfter } }
  }
}
"""
INLINE = """
mutation {
  consumeCredits(input: {customerId: %s, currencyId: "credits", idempotencyKey: "inline", %s}) { amountExact }
}
"""
GRANT = {"currencyId": "credits", "displayName": "grant", "grantType": "PAID"}
SMALLEST, LARGEST = "0.000000001", "9999999999999999999.999999999"


def granted(service: Service, customer: str, amount: str) -> dict[str, Any]:
    """A grant of a customer, by the JSON text of its amount fields, which its cost has too."""
    given = json.dumps(GRANT | {"customerId": customer})[:-1] + f', {amount}, "cost": {{{amount}}}}}'
    body = f'{{"query": {json.dumps(CREATE)}, "variables": {{"input": {given}}}}}'
    answer = service.http.post("/graphql", content=body).json()
    assert "errors" not in answer, answer
    created: dict[str, Any] = answer["data"]["createCreditGrant"]
    return created


def read(service: Service, query: str, **variables: Any) -> Any:
    """The data of a read at the head of the log."""
    head = service.http.get("/readyz").json()["head"]
    return service.data(query, {"X-Ledger-At-Least": head}, **variables)


@pytest.mark.parametrize(
    ("number", "exact"),
    [
        ("5",                   "5"),
        ("5.0",                 "5"),
        ("5e0",                 "5"),
        ("1E+3",                "1000"),
        ("0.1",                 "0.1"),
        ("1e-9",                "0.000000001"),
        ("0.000000001",         "0.000000001"),
        ("999999.999999999",    "999999.999999999"),
        ("999999999999999",     "999999999999999"),
        ("9999999999999990000", "9999999999999990000"),
        ("1e18",                "1000000000000000000"),
        ("1.0000000000",        "1"),
    ],
)  # fmt: skip
def test_a_float_is_read_by_its_shortest_text(service: Service, customer: str, number: str, exact: str) -> None:
    created = granted(service, customer, f'"amount": {number}')
    assert (created["amountExact"], created["cost"]["amountExact"], created["remainingAmount"]) == (exact,) * 3
    assert created["amount"] == created["cost"]["amount"] == float(number)


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("5",                  "5"),
        ("5.0",                "5"),
        ("0005",               "5"),
        ("5.000000000",        "5"),
        ("1e3",                "1000"),
        ("1E-9",               "0.000000001"),
        ("0.000000010",        "0.00000001"),
        ("9007199254740993",   "9007199254740993"),
        ("0.1234567",          "0.1234567"),
        ("12345678901.123456", "12345678901.123456"),
        (SMALLEST,             SMALLEST),
        (LARGEST,              LARGEST),
    ],
)  # fmt: skip
def test_an_exact_text_comes_back_in_its_shortest_spelling(
    service: Service, customer: str, text: str, exact: str
) -> None:
    created = granted(service, customer, f'"amountExact": "{text}"')
    assert (created["amountExact"], created["cost"]["amountExact"], created["remainingAmount"]) == (exact,) * 3
    assert created["amount"] == float(exact)


@pytest.mark.parametrize("amount", [SMALLEST, LARGEST])
def test_the_bounds_of_an_amount_go_all_the_way_through(service: Service, customer: str, amount: str) -> None:
    granted(service, customer, f'"amountExact": "{amount}"')
    use = {"customerId": customer, "currencyId": "credits", "amountExact": amount, "idempotencyKey": "use"}
    used = service.data(CONSUME, input=use)["consumeCredits"]
    refund = {"transactionId": used["transactionId"], "amountExact": amount, "idempotencyKey": "refund"}
    given_back = service.data(REFUND, input=refund)["refundCredits"]

    assert used["draws"] == [{"amount": float(amount), "amountExact": amount}]
    assert used["credit"] == {"currentUsageExact": amount, "usageLimitExact": amount}
    assert (used["amount"], used["amountExact"]) == (float(amount), amount)
    assert given_back == {"amount": float(amount), "amountExact": amount, "draws": [{"amountExact": amount}]}
    seen = read(service, READS, customer=customer)
    assert [edge["node"] for edge in seen["creditsLedger"]["edges"]] == [
        {
            "amount": float(amount), "amountExact": amount, "signedAmount": sign + amount,
            "balanceAfter": after, "grantBalanceAfter": after,
        }
        for sign, after in (("", amount), ("-", "0"), ("", amount))
    ]  # fmt: skip


def test_sums_beyond_one_amount_stay_exact(service: Service, customer: str) -> None:
    for amount in (LARGEST, LARGEST, SMALLEST, SMALLEST, SMALLEST):
        granted(service, customer, f'"amountExact": "{amount}"')
    (balance,) = read(service, READS, customer=customer)["creditBalanceSummary"]["balances"]
    assert balance == {
        "totalGranted": 2e19,
        "totalGrantedExact": "20000000000000000000.000000001",
        "totalConsumedExact": "0",
        "currentBalance": 2e19,
        "currentBalanceExact": "20000000000000000000.000000001",
    }


def test_what_is_missing_is_told_exactly(service: Service, customer: str) -> None:
    granted(service, customer, f'"amountExact": "{SMALLEST}"')
    use = {"customerId": customer, "currencyId": "credits", "amountExact": LARGEST, "idempotencyKey": "use"}
    assert service.refusal(CONSUME, input=use) == {
        "code": "InsufficientCredits",
        "available": 1e-9,
        "availableExact": SMALLEST,
        "requested": 1e19,
        "requestedExact": LARGEST,
        "shortfall": 1e19,
        "shortfallExact": "9999999999999999999.999999998",
    }


@pytest.mark.parametrize(
    ("literal", "exact"),
    [
        ("amount: 5",                      "5"),
        ("amount: 5.0",                    "5"),
        ("amount: 1e-9",                   "0.000000001"),
        ("amount: 0.000000001",            "0.000000001"),
        ("amount: 999999.999999999",       "999999.999999999"),
        ('amountExact: "0.000000001"',     "0.000000001"),
        ('amountExact: """12.5"""',        "12.5"),
        ('amount: null, amountExact: "5"', "5"),
    ],
)  # fmt: skip
def test_an_amount_may_stand_in_the_document(service: Service, customer: str, literal: str, exact: str) -> None:
    granted(service, customer, '"amount": 1000000')
    used = service.data(INLINE % (json.dumps(customer), literal))
    assert used["consumeCredits"] == {"amountExact": exact}


@pytest.mark.parametrize(
    ("literal", "message"),
    [
        ("amount: 0",                       "amount must be above zero"),
        ("amount: -1",                      "amount must not be below zero"),
        ("amount: 1e-10",                   "amount must have at most 9 places after the point"),
        ("amount: 10000000000000000000",    "amount must have at most 19 digits before the point"),
        ("amount: 1e400",                   "Float cannot represent a number that is not finite"),
        ("amount: NaN",                     "Float cannot represent non numeric value: NaN"),
        ('amount: "5"',                     'Float cannot represent non numeric value: "5"'),
        ("amount: true",                    "Float cannot represent non numeric value: true"),
        ("amount: [5]",                     "Float cannot represent non numeric value: [5]"),
        ("amount: " + "1" * 5_000,          "Float cannot represent this number: a number has too many digits"),
        ("amountExact: 5",                  "Decimal must be given as a string"),
        ("amountExact: 5.0",                "Decimal must be given as a string"),
        ("amountExact: FIVE",               "Decimal must be given as a string"),
        ("amountExact: true",               "Decimal must be given as a string"),
        ('amountExact: "1_000"',            "amountExact must be a decimal number"),
        ('amount: 5, amountExact: "5"',     "amount must be given once: as amount or as amountExact"),
        ("amount: null, amountExact: null", "amount must be given, as amount or as amountExact"),
        ("",                                "amount must be given, as amount or as amountExact"),
        ("amount: 05",                      "Syntax Error: Invalid number, unexpected digit after 0: '5'."),
        ("amount: 1_000",                   "Syntax Error: Invalid number, expected digit but got: '_'."),
    ],
)  # fmt: skip
def test_no_amount_may_stand_in_the_document_either(
    service: Service, customer: str, literal: str, message: str
) -> None:
    granted(service, customer, '"amount": 10')
    head = service.http.get("/readyz").json()["head"]
    (error,) = service.graphql(INLINE % (json.dumps(customer), literal)).json()["errors"]
    assert (error["extensions"]["code"], error["message"]) == ("InvalidArgumentError", message)
    assert service.http.get("/readyz").json()["head"] == head
