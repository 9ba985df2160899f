"""The burn-down case of the contract, asked through GraphQL, and the story around it: refund, void, expiry, replay."""

from typing import Any

from tests.service.serving import Service

CREATE = """
mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id grantId status amount amountExact } }
"""
CONSUME = """
mutation ($input: ConsumeCreditInput!) {
  consumeCredits(input: $input) {
    transactionId amount amountExact draws { creditGrantId grantId amount amountExact } position replayed
    credit { currencyId currentUsage usageLimit }
  }
}
"""
LEDGER = """
query ($customer: String!) {
  creditsLedger(input: {customerId: $customer}) {
    totalCount
    edges { node { eventType amount signedAmount eventId balanceAfter grantBalanceAfter grant { displayName } } }
  }
}
"""


def grant(service: Service, customer: str, name: str, **given: Any) -> dict[str, Any]:
    fields = {"customerId": customer, "currencyId": "credits", "displayName": name, **given}
    created: dict[str, Any] = service.data(CREATE, input=fields)["createCreditGrant"]
    return created


def test_the_worked_case_of_the_contract(service: Service, customer: str) -> None:
    """A(priority 1, Sep 1, paid, 50), B(priority 1, Sep 1, promotional, 20), C(priority 2, Aug 15, 100); use 60."""
    a = grant(
        service, customer, "A", priority=1, expireAt="2026-09-01T00:00:00Z", grantType="PAID", amount=50,
    )  # fmt: skip
    b = grant(
        service, customer, "B", priority=1, expireAt="2026-09-01T00:00:00Z", grantType="PROMOTIONAL", amount=20,
    )  # fmt: skip
    grant(service, customer, "C", priority=2, expireAt="2026-08-15T00:00:00Z", grantType="PROMOTIONAL", amount=100)

    use = {"customerId": customer, "currencyId": "credits", "amount": 60, "idempotencyKey": "use"}
    used = service.data(CONSUME, input=use)["consumeCredits"]

    assert [(draw["grantId"], draw["creditGrantId"], draw["amountExact"]) for draw in used["draws"]] == [
        (b["grantId"], b["id"], "20"),
        (a["grantId"], a["id"], "40"),
    ]
    assert used["credit"] == {"currencyId": "credits", "currentUsage": 60, "usageLimit": 170}
    rows = [edge["node"] for edge in service.data(LEDGER, customer=customer)["creditsLedger"]["edges"]]
    assert [(row["eventType"], row["amount"], row["grant"]["displayName"]) for row in rows] == [
        ("CREDITS_CONSUMED", 40, "A"),
        ("CREDITS_CONSUMED", 20, "B"),
        ("CREDITS_GRANTED", 100, "C"),
        ("CREDITS_GRANTED", 20, "B"),
        ("CREDITS_GRANTED", 50, "A"),
    ]
    assert {row["eventId"] for row in rows[:2]} == {used["transactionId"]}
    assert [row["balanceAfter"] for row in rows] == ["110", "150", "170", "70", "50"]
    assert [row["grantBalanceAfter"] for row in rows] == ["10", "0", "100", "20", "50"]


def test_a_request_sent_twice_happens_once(service: Service, customer: str) -> None:
    grant(service, customer, "A", grantType="PAID", amount=50)
    use = {"customerId": customer, "currencyId": "credits", "amount": 10, "idempotencyKey": "use"}
    first = service.data(CONSUME, input=use)["consumeCredits"]
    again = service.data(CONSUME, input=use | {"amount": None, "amountExact": "10.0"})["consumeCredits"]
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert {**again, "replayed": False} == first
    other = service.refusal(CONSUME, input=use | {"amount": 11})
    assert (other["code"], other["differing"]) == ("IdempotencyKeyReused", ["amount"])
