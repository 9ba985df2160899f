"""The ledger and the balances of a customer: every movement one row for each grant touched, and what is usable now."""

from typing import Any

import pytest

from tests.service.serving import Service

CREATE = """
mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id grantId effectiveAt createdAt } }
"""
CONSUME = "mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId position } }"
REFUND = """
mutation ($input: RefundCreditsInput!) {
  refundCredits(input: $input) {
    transactionId refundedTransactionId amountExact timestamp position draws { creditGrantId grantId amountExact }
  }
}
"""
VOID = """
mutation ($input: VoidCreditGrantInput!) {
  voidCreditGrant(input: $input) { id status voidedAt updatedAt amount consumedAmountExact remainingAmount }
}
"""
LEDGER = """
query ($input: CreditLedgerInput!) {
  creditsLedger(input: $input) {
    totalCount
    edges {
      node {
        timestamp eventType amount amountExact signedAmount balanceAfter grantBalanceAfter customerId resourceId
        creditGrantId creditCurrencyId eventId transactionId featureId position recordedAt actor reason
        grant { id displayName }
      }
    }
  }
}
"""
SUMMARY = """
query ($input: CreditBalanceSummaryInput!) {
  creditBalanceSummary(input: $input) {
    customerId resourceId
    balances {
      currencyId totalGranted totalGrantedExact totalConsumed totalConsumedExact currentBalance currentBalanceExact
      validUntil
    }
  }
}
"""
GRANTS = """
query ($input: GetCreditGrantsInput!) {
  creditGrants(input: $input) {
    edges { node { displayName status amountExact consumedAmount consumedAmountExact remainingAmount } }
  }
}
"""
NOW = "2026-01-31T12:00:00.000Z"
"""Where the test clock stands."""
TYPES = ("CREDITS_GRANTED", "CREDITS_CONSUMED", "CREDITS_REFUNDED", "CREDITS_VOIDED")


def grant_of(service: Service, customer: str, name: str, amount: int, **given: Any) -> Any:
    fields = {"customerId": customer, "currencyId": "credits", "displayName": name, "grantType": "PAID"}
    return service.data(CREATE, input=fields | {"amount": amount} | given)["createCreditGrant"]


def use_of(service: Service, customer: str, amount: int, **given: Any) -> Any:
    fields = {"customerId": customer, "currencyId": "credits", "amount": amount, "idempotencyKey": f"use {given}"}
    return service.data(CONSUME, input=fields | given)["consumeCredits"]


def refund_of(service: Service, transaction: str, **given: Any) -> Any:
    wanted = {"transactionId": transaction, "idempotencyKey": f"refund {given}"} | given
    return service.data(REFUND, input=wanted)["refundCredits"]


def read(service: Service, query: str, **variables: Any) -> Any:
    """The data of a read at the head of the log."""
    head = service.http.get("/readyz").json()["head"]
    return service.data(query, {"X-Ledger-At-Least": head}, **variables)


def ledger_of(service: Service, customer: str, **given: Any) -> list[Any]:
    page = read(service, LEDGER, input={"customerId": customer} | given)["creditsLedger"]
    rows = [edge["node"] for edge in page["edges"]]
    assert page["totalCount"] == len(rows)
    return rows


def balances_of(service: Service, customer: str, **given: Any) -> list[Any]:
    balances: list[Any] = read(service, SUMMARY, input={"customerId": customer} | given)["creditBalanceSummary"][
        "balances"
    ]
    return balances


def story_of(service: Service, customer: str) -> dict[str, Any]:
    """Two grants, a use of both, a refund of a part of it, and a void of what is left of the second."""
    first = grant_of(service, customer, "first", 30, priority=1)
    second = grant_of(service, customer, "second", 50, priority=2)
    use = use_of(service, customer, 40)
    refund = refund_of(service, use["transactionId"], amountExact="12.5", reason="too slow")
    voided = service.data(VOID, input={"id": second["grantId"], "reason": "by mistake"})["voidCreditGrant"]
    return {"first": first, "second": second, "use": use, "refund": refund, "voided": voided}


def test_the_ledger_tells_every_movement_newest_first(service: Service, customer: str) -> None:
    story = story_of(service, customer)
    rows = ledger_of(service, customer)
    told = [
        (
            row["eventType"],
            row["grant"]["displayName"],
            row["signedAmount"],
            row["balanceAfter"],
            row["grantBalanceAfter"],
        )
        for row in rows
    ]
    assert told == [
        ("CREDITS_VOIDED",   "second", "-50",  "2.5",  "0"),
        ("CREDITS_REFUNDED", "first",  "2.5",  "52.5", "2.5"),
        ("CREDITS_REFUNDED", "second", "10",   "50",   "50"),
        ("CREDITS_CONSUMED", "second", "-10",  "40",   "40"),
        ("CREDITS_CONSUMED", "first",  "-30",  "50",   "0"),
        ("CREDITS_GRANTED",  "second", "50",   "80",   "50"),
        ("CREDITS_GRANTED",  "first",  "30",   "30",   "30"),
    ]  # fmt: skip
    positions = [int(row["position"]) for row in rows]
    assert positions == sorted(positions, reverse=True)
    assert [row["grant"]["id"] for row in rows] == [row["creditGrantId"] for row in rows]
    assert {row["creditGrantId"] for row in rows} == {story["first"]["id"], story["second"]["id"]}
    for row in rows:
        assert row["amountExact"] == row["signedAmount"].lstrip("-")
        assert row["amount"] == float(row["amountExact"])
        assert (row["customerId"], row["resourceId"], row["creditCurrencyId"]) == (customer, None, "credits")


def test_rows_of_one_operation_share_its_id(service: Service, customer: str) -> None:
    story = story_of(service, customer)
    rows = ledger_of(service, customer)
    assert [row["eventId"] for row in rows] == [row["transactionId"] for row in rows]
    ids = [row["eventId"] for row in rows]
    assert ids[1:5] == [story["refund"]["transactionId"]] * 2 + [story["use"]["transactionId"]] * 2
    assert len(set(ids)) == 5
    assert (rows[1]["position"], rows[3]["position"]) == (story["refund"]["position"], story["use"]["position"])


def test_the_ledger_says_who_and_why(service: Service, customer: str) -> None:
    story_of(service, customer)
    rows = ledger_of(service, customer)
    assert [row["reason"] for row in rows] == ["by mistake", "too slow", "too slow", None, None, None, None]
    assert {row["actor"] for row in rows} == {"API_KEY:admin"}
    assert {row["recordedAt"] for row in rows} == {NOW}


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (None,                                     7),
        (["CREDITS_GRANTED"],                      2),
        (["CREDITS_CONSUMED"],                     2),
        (["CREDITS_REFUNDED"],                     2),
        (["CREDITS_VOIDED"],                       1),
        (["CREDITS_EXPIRED"],                      0),
        (["CREDITS_UPDATED"],                      0),
        (["CREDITS_ROLLED_OVER"],                  0),
        (["CREDITS_VOIDED", "CREDITS_GRANTED"],    3),
        (["CREDITS_GRANTED", "CREDITS_GRANTED"],   2),
        (["CREDITS_EXPIRED", "CREDITS_REFUNDED"],  2),
        ([*TYPES],                                 7),
    ],
)  # fmt: skip
def test_the_ledger_is_read_by_type(service: Service, customer: str, wanted: list[str] | None, count: int) -> None:
    story_of(service, customer)
    rows = ledger_of(service, customer, eventType=wanted)
    assert len(rows) == count
    assert {row["eventType"] for row in rows} <= set(wanted or TYPES)


@pytest.mark.parametrize("wanted", ["CREDITS_MADE_UP", ["granted"], [None], [5], 5, [["CREDITS_GRANTED"]], {}])
def test_a_type_that_there_is_not_is_refused(service: Service, customer: str, wanted: Any) -> None:
    refusal = service.graphql(LEDGER, input={"customerId": customer, "eventType": wanted}).json()["errors"][0]
    assert refusal["extensions"]["code"] == "InvalidArgumentError"


def test_a_row_is_dated_when_it_took_effect(service: Service, customer: str) -> None:
    grant_of(service, customer, "past", 10, effectiveAt="2025-06-01T00:00:00.5Z")
    use_of(service, customer, 1, createdAt="2025-12-24T18:00:00+01:00")
    use_of(service, customer, 1, createdAt="2025-01-01T00:00:00Z")
    future = grant_of(service, customer, "future", 10, effectiveAt="2027-01-01T00:00:00Z")
    service.data(VOID, input={"id": future["id"]})
    assert [(row["eventType"], row["timestamp"]) for row in ledger_of(service, customer)] == [
        ("CREDITS_VOIDED",   "2027-01-01T00:00:00.000Z"),
        ("CREDITS_GRANTED",  "2027-01-01T00:00:00.000Z"),
        ("CREDITS_CONSUMED", "2025-06-01T00:00:00.500Z"),
        ("CREDITS_CONSUMED", "2025-12-24T17:00:00.000Z"),
        ("CREDITS_GRANTED",  "2025-06-01T00:00:00.500Z"),
    ]  # fmt: skip


def test_pools_have_ledgers_of_their_own(service: Service, customer: str) -> None:
    for currency in ("credits", "tokens"):
        for resource in (None, "site-1"):
            grant_of(service, customer, f"{currency} {resource}", 10, currencyId=currency, resourceId=resource)
    use_of(service, customer, 4, resourceId="site-1")
    assert [row["balanceAfter"] for row in ledger_of(service, customer)] == ["10", "10"]
    of_resource = ledger_of(service, customer, resourceId="site-1")
    assert [(row["creditCurrencyId"], row["balanceAfter"]) for row in of_resource] == [
        ("credits", "6"), ("tokens", "10"), ("credits", "10"),
    ]  # fmt: skip
    assert {row["resourceId"] for row in of_resource} == {"site-1"}
    tokens = ledger_of(service, customer, resourceId="site-1", currencyId="tokens")
    assert [row["grant"]["displayName"] for row in tokens] == ["tokens site-1"]
    assert ledger_of(service, customer, resourceId="site-2") == []


def test_a_pool_never_draws_on_another(service: Service, customer: str) -> None:
    grant_of(service, customer, "own", 10)
    grant_of(service, customer, "site", 20, resourceId="site-1")
    grant_of(service, customer, "other currency", 40, currencyId="tokens")
    for resource, available in ((None, 10), ("site-1", 20), ("site-2", 0)):
        use = {"customerId": customer, "currencyId": "credits", "amount": 25, "idempotencyKey": "use"}
        refusal = service.refusal(CONSUME, input=use | {"resourceId": resource})
        assert (refusal["code"], refusal["available"]) == ("InsufficientCredits", available)


def test_balances_are_summed_by_currency(service: Service, customer: str) -> None:
    grant_of(service, customer, "a", 10, expireAt="2026-06-01T00:00:00Z")
    grant_of(service, customer, "b", 20, expireAt="2026-05-01T00:00:00Z")
    grant_of(service, customer, "later", 100, effectiveAt="2026-04-01T00:00:00Z")
    grant_of(service, customer, "tokens", 5, currencyId="tokens")
    grant_of(service, customer, "elsewhere", 7, resourceId="site-1")
    use_of(service, customer, 25)
    credits_row = {
        "currencyId": "credits", "totalGranted": 30, "totalGrantedExact": "30", "totalConsumed": 25,
        "totalConsumedExact": "25", "currentBalance": 5, "currentBalanceExact": "5",
        "validUntil": "2026-04-01T00:00:00.000Z",
    }  # fmt: skip
    tokens_row = {
        "currencyId": "tokens", "totalGranted": 5, "totalGrantedExact": "5", "totalConsumed": 0,
        "totalConsumedExact": "0", "currentBalance": 5, "currentBalanceExact": "5", "validUntil": None,
    }  # fmt: skip
    assert balances_of(service, customer) == [credits_row, tokens_row]
    assert balances_of(service, customer, currencyId="tokens") == [tokens_row]
    assert balances_of(service, customer, currencyId="none") == []
    assert [row["currentBalance"] for row in balances_of(service, customer, resourceId="site-1")] == [7]


def test_a_balance_is_valid_until_a_grant_begins_or_ends(service: Service, customer: str) -> None:
    def valid_until() -> Any:
        (row,) = balances_of(service, customer)
        return row["validUntil"]

    grant_of(service, customer, "for ever", 10)
    assert valid_until() is None
    soonest = grant_of(service, customer, "b", 10, priority=0, expireAt="2026-02-01T00:00:00.000001Z")
    grant_of(service, customer, "a", 10, expireAt="2026-03-01T00:00:00Z", effectiveAt="2026-02-15T00:00:00Z")
    assert valid_until() == "2026-02-01T00:00:00.000001Z"
    use = use_of(service, customer, 10)
    assert valid_until() == "2026-02-15T00:00:00.000Z"  # what is used up takes nothing away by ending
    refund_of(service, use["transactionId"])
    assert valid_until() == "2026-02-01T00:00:00.000001Z"
    service.data(VOID, input={"id": soonest["id"]})
    assert valid_until() == "2026-02-15T00:00:00.000Z"


def test_a_refund_gives_back_what_was_drawn_last_first(service: Service, customer: str) -> None:
    story = story_of(service, customer)
    draws = [
        {"creditGrantId": story[name]["id"], "grantId": story[name]["grantId"], "amountExact": amount}
        for name, amount in (("second", "10"), ("first", "2.5"))
    ]
    assert story["refund"]["draws"] == draws
    assert (story["refund"]["amountExact"], story["refund"]["timestamp"]) == ("12.5", NOW)
    assert story["refund"]["refundedTransactionId"] == story["use"]["transactionId"]
    first = read(service, GRANTS, input={"customerId": customer})["creditGrants"]["edges"][1]["node"]
    assert first == {
        "displayName": "first", "status": "ACTIVE", "amountExact": "30", "consumedAmount": 27.5,
        "consumedAmountExact": "27.5", "remainingAmount": "2.5",
    }  # fmt: skip


def test_a_void_ends_the_rest_and_keeps_what_was_consumed(service: Service, customer: str) -> None:
    grant = grant_of(service, customer, "grant", 10)
    use_of(service, customer, 4)
    voided = service.data(VOID, input={"id": grant["id"].upper()})["voidCreditGrant"]
    assert voided == {
        "id": grant["id"], "status": "VOIDED", "voidedAt": NOW, "updatedAt": NOW, "amount": 10,
        "consumedAmountExact": "4", "remainingAmount": "0",
    }  # fmt: skip
    assert [row["amountExact"] for row in ledger_of(service, customer, eventType="CREDITS_VOIDED")] == ["6"]


def test_credits_given_back_to_a_void_grant_do_not_come_back_to_life(service: Service, customer: str) -> None:
    grant = grant_of(service, customer, "grant", 10)
    use = use_of(service, customer, 4)
    service.data(VOID, input={"id": grant["id"]})
    refund = refund_of(service, use["transactionId"])
    ended, restored = ledger_of(service, customer)[:2]
    assert (restored["eventType"], restored["signedAmount"], restored["balanceAfter"]) == ("CREDITS_REFUNDED", "4", "4")
    assert (ended["signedAmount"], ended["balanceAfter"], ended["timestamp"]) == ("-4", "0", NOW)
    assert ended["eventId"] == restored["eventId"] == refund["transactionId"]
    (row,) = balances_of(service, customer)
    assert (row["currentBalanceExact"], row["totalGrantedExact"]) == ("0", "0")
    (only,) = read(service, GRANTS, input={"customerId": customer, "status": "VOIDED"})["creditGrants"]["edges"]
    assert only["node"]["consumedAmountExact"] == "0"
