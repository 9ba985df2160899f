"""Idempotency keys at the GraphQL door: the same request is the same answer for ever, another one a named conflict."""

import json
from typing import Any

import pytest

from tests.service.serving import Service

CREATE = """
mutation ($input: CreditGrantInput!) {
  createCreditGrant(input: $input) {
    id grantId displayName status amountExact consumedAmountExact remainingAmount cost { amountExact currency }
    effectiveAt expireAt createdAt updatedAt voidedAt priorityExact comment additionalMetaData
  }
}
"""
CONSUME = """
mutation ($input: ConsumeCreditInput!) {
  consumeCredits(input: $input) {
    transactionId customerId currencyId resourceId amount amountExact timestamp position
    draws { creditGrantId grantId amount amountExact } replayed
  }
}
"""
REFUND = """
mutation ($input: RefundCreditsInput!) {
  refundCredits(input: $input) {
    transactionId refundedTransactionId amountExact timestamp position replayed
    draws { creditGrantId grantId amountExact }
  }
}
"""
VOID = """
mutation ($input: VoidCreditGrantInput!) {
  voidCreditGrant(input: $input) { id grantId status voidedAt updatedAt consumedAmountExact remainingAmount }
}
"""
FULL_GRANT: dict[str, Any] = {
    "currencyId": "credits", "displayName": "grant", "grantType": "PAID", "amount": 50, "comment": "why",
    "cost": {"amount": 9.9, "currency": "EUR"}, "effectiveAt": "2026-01-01T00:00:00Z", "priority": 3,
    "expireAt": "2027-01-01T00:00:00Z", "additionalMetaData": {"b": 1, "a": [2]}, "idempotencyKey": "key",
}  # fmt: skip
FULL_USE: dict[str, Any] = {
    "currencyId": "credits", "amount": 5, "createdAt": "2026-01-15T12:00:00Z", "idempotencyKey": "key",
    "dimensions": {"feature": "search", "team": "blue"}, "accountGroupIds": ["b", "a"],
}  # fmt: skip


def grant_of(service: Service, customer: str, **given: Any) -> Any:
    fields = {"customerId": customer, "currencyId": "credits", "displayName": "g", "grantType": "PAID", "amount": 100}
    return service.data(CREATE, input=fields | given)["createCreditGrant"]


def use_of(service: Service, customer: str, **given: Any) -> Any:
    fields = {"customerId": customer, "currencyId": "credits", "amount": 5, "idempotencyKey": "use"}
    return service.data(CONSUME, input=fields | given)["consumeCredits"]


def head(service: Service) -> str:
    found: str = service.http.get("/readyz").json()["head"]
    return found


def test_every_mutation_sent_again_answers_byte_for_byte(service: Service, customer: str) -> None:
    """Also when the grant, the balance and the debit have changed since."""
    grant_input = FULL_GRANT | {"customerId": customer}
    use_input = FULL_USE | {"customerId": customer}
    created = service.graphql(CREATE, input=grant_input)
    used = service.graphql(CONSUME, input=use_input)
    transaction = used.json()["data"]["consumeCredits"]["transactionId"]
    refund_input = {"transactionId": transaction, "amount": 2, "reason": "why", "idempotencyKey": "key"}
    refunded = service.graphql(REFUND, input=refund_input)
    void_input = {"id": created.json()["data"]["createCreditGrant"]["id"], "reason": "why", "idempotencyKey": "key"}
    voided = service.graphql(VOID, input=void_input)

    before = head(service)
    for query, given, first in [
        (CREATE, grant_input, created),
        (CONSUME, use_input, used),
        (REFUND, refund_input, refunded),
        (VOID, void_input, voided),
    ]:
        assert "errors" not in first.json()
        again = service.graphql(query, input=given)
        assert again.text.replace('"replayed": true', '"replayed": false') == first.text
        assert ('"replayed": true' in again.text) == ('"replayed": false' in first.text)
    assert head(service) == before


@pytest.mark.parametrize(
    "same",
    [
        {"amount": 5.0},
        {"amount": None, "amountExact": "5"},
        {"amount": None, "amountExact": "5.000000000"},
        {"createdAt": "2026-01-15T13:00:00+01:00"},
        {"createdAt": "2026-01-15T12:00:00.000000Z"},
        {"resourceId": None},
        {"dimensions": {"team": "blue", "feature": "search"}},
        {"accountGroupIds": ["a", "b", "a"]},
    ],
    ids=str,
)
def test_another_spelling_is_the_same_request(service: Service, customer: str, same: dict[str, Any]) -> None:
    grant_of(service, customer)
    first = use_of(service, customer, **FULL_USE)
    assert use_of(service, customer, **FULL_USE | same) == first | {"replayed": True}


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ({"amount": 6},                                               ["amount"]),
        ({"amount": None, "amountExact": "5.000000001"},              ["amount"]),
        ({"currencyId": "tokens"},                                    ["currencyId"]),
        ({"resourceId": "site-1"},                                    ["resourceId"]),
        ({"createdAt": None},                                         ["createdAt"]),
        ({"createdAt": "2026-01-15T12:00:00.000001Z"},                ["createdAt"]),
        ({"dimensions": None},                                        ["dimensions"]),
        ({"dimensions": {"feature": "search"}},                       ["dimensions"]),
        ({"accountGroupIds": ["a"]},                                  ["accountGroupIds"]),
        ({"amount": 1_000, "currencyId": "x", "dimensions": {}},      ["amount", "currencyId", "dimensions"]),
    ],
    ids=str,
)  # fmt: skip
def test_another_use_under_the_same_key_is_a_conflict(
    service: Service, customer: str, other: dict[str, Any], differing: list[str]
) -> None:
    grant_of(service, customer)
    use_of(service, customer, **FULL_USE)
    before = head(service)
    refusal = service.refusal(CONSUME, input=FULL_USE | {"customerId": customer} | other)
    assert (refusal["code"], refusal["key"], sorted(refusal["differing"])) == ("IdempotencyKeyReused", "key", differing)
    assert head(service) == before


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ({"amount": 51},                                ["amount"]),
        ({"currencyId": "tokens"},                      ["currencyId"]),
        ({"resourceId": "site-1"},                      ["resourceId"]),
        ({"displayName": "Grant"},                      ["displayName"]),
        ({"grantType": "PROMOTIONAL", "cost": None},    ["cost", "cost.currency", "grantType"]),
        ({"cost": {"amount": 9.91, "currency": "EUR"}}, ["cost"]),
        ({"cost": {"amount": 9.9}},                     ["cost.currency"]),
        ({"effectiveAt": None},                         ["effectiveAt"]),
        ({"expireAt": None},                            ["expireAt"]),
        ({"priority": 4},                               ["priority"]),
        ({"comment": None},                             ["comment"]),
        ({"additionalMetaData": {"a": [2], "b": 2}},    ["additionalMetaData"]),
    ],
    ids=str,
)  # fmt: skip
def test_another_grant_under_the_same_key_is_a_conflict(
    service: Service, customer: str, other: dict[str, Any], differing: list[str]
) -> None:
    grant_of(service, customer, **FULL_GRANT)
    refusal = service.refusal(CREATE, input=FULL_GRANT | {"customerId": customer} | other)
    assert (refusal["code"], refusal["key"], sorted(refusal["differing"])) == ("IdempotencyKeyReused", "key", differing)


def test_another_refund_or_void_under_the_same_key_is_a_conflict(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    refund = {"transactionId": use_of(service, customer)["transactionId"], "idempotencyKey": "key"}
    void = {"id": grant["id"], "reason": "why", "idempotencyKey": "key"}
    service.data(REFUND, input=refund | {"amount": 2, "reason": "why"})
    service.data(VOID, input=void)
    for query, given, differing in [
        (REFUND, refund | {"amount": 3, "reason": "why"}, ["amount"]),
        (REFUND, refund | {"reason": "why"}, ["amount"]),
        (REFUND, refund | {"amount": 2}, ["reason"]),
        (REFUND, refund, ["amount", "reason"]),
        (VOID, void | {"reason": None}, ["reason"]),
        (VOID, void | {"reason": "Why"}, ["reason"]),
    ]:
        refusal = service.refusal(query, input=given)
        assert (refusal["code"], sorted(refusal["differing"])) == ("IdempotencyKeyReused", differing)


def test_a_void_is_the_same_by_either_name_of_its_grant(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    first = service.data(VOID, input={"id": grant["id"], "idempotencyKey": "key"})
    for name in (grant["grantId"], grant["id"].upper()):
        assert service.data(VOID, input={"id": name, "idempotencyKey": "key"}) == first


def test_a_key_is_free_for_another_customer(service: Service, customer: str) -> None:
    for name in (customer, f"{customer}-other"):
        grant_of(service, name, **FULL_GRANT)
        assert use_of(service, name, **FULL_USE)["replayed"] is False
    assert use_of(service, f"{customer}-other", **FULL_USE)["customerId"] == f"{customer}-other"


def test_a_key_is_free_for_another_operation(service: Service, customer: str) -> None:
    grant = grant_of(service, customer, idempotencyKey="key")
    used = use_of(service, customer, idempotencyKey="key")
    refund = {"transactionId": used["transactionId"], "idempotencyKey": "key"}
    refunded = service.data(REFUND, input=refund)["refundCredits"]
    voided = service.data(VOID, input={"id": grant["id"], "idempotencyKey": "key"})["voidCreditGrant"]
    assert (used["replayed"], refunded["replayed"], voided["status"]) == (False, False, "VOIDED")


def test_a_key_of_a_refund_is_the_holders_and_not_free_for_another_debit_of_his(
    service: Service, customer: str
) -> None:
    """Of two refunds under one key, one happens; it does not matter that the debits differ."""
    debits: list[str] = []
    for holder in (customer, customer, f"{customer}-2"):
        grant_of(service, holder)
        debits.append(use_of(service, holder, idempotencyKey=f"{len(debits)}")["transactionId"])
    asked = [{"transactionId": debit, "idempotencyKey": "key"} for debit in debits]
    assert service.data(REFUND, input=asked[0])["refundCredits"]["replayed"] is False
    refusal = service.refusal(REFUND, input=asked[1])
    assert (refusal["code"], refusal["differing"]) == ("IdempotencyKeyReused", ["transactionId"])
    assert service.data(REFUND, input=asked[0])["refundCredits"]["replayed"] is True
    assert service.data(REFUND, input=asked[2])["refundCredits"]["replayed"] is False


def test_a_key_is_free_for_another_grant(service: Service, customer: str) -> None:
    grants = [grant_of(service, customer)["id"] for _ in range(2)]
    for grant in grants:
        assert service.data(VOID, input={"id": grant, "idempotencyKey": "key"})["voidCreditGrant"]["id"] == grant


def test_keys_are_told_apart_to_the_character(service: Service, customer: str) -> None:
    grant_of(service, customer)
    keys = ["key", "Key", "key ", " key", "k\u00e9y", "ke\u0301y", "x" * 255, "x" * 254]
    assert [use_of(service, customer, idempotencyKey=key)["replayed"] for key in keys] == [False] * len(keys)
    assert [use_of(service, customer, idempotencyKey=key)["replayed"] for key in keys] == [True] * len(keys)


def test_a_refusal_keeps_no_key(service: Service, customer: str) -> None:
    use = {"customerId": customer, "currencyId": "credits", "amount": 5, "idempotencyKey": "key"}
    grant = {"customerId": customer, "currencyId": "credits", "displayName": "g", "grantType": "PAID", "amount": 10}
    ended = grant | {"idempotencyKey": "key", "expireAt": "2026-01-01T00:00:00Z"}
    assert service.refusal(CREATE, input=ended)["code"] == "ExpireAtMustBeLaterThanEffectiveAtError"
    assert service.refusal(CONSUME, input=use)["code"] == "InsufficientCredits"

    service.data(CREATE, input=ended | {"expireAt": None})
    used = service.data(CONSUME, input=use)["consumeCredits"]
    assert used["replayed"] is False
    refund = {"transactionId": used["transactionId"], "idempotencyKey": "key"}
    assert service.refusal(REFUND, input=refund | {"amount": 6})["code"] == "RefundExceedsDebit"
    assert service.data(REFUND, input=refund | {"amount": 4})["refundCredits"]["replayed"] is False


def test_one_document_may_send_a_request_twice(service: Service, customer: str) -> None:
    grant_of(service, customer)
    use = json.dumps(customer) + ', currencyId: "credits", amount: 5, idempotencyKey: "key"'
    document = (
        f"mutation {{ a: consumeCredits(input: {{customerId: {use}}}) {{ transactionId replayed }}"
        f" b: consumeCredits(input: {{customerId: {use}}}) {{ transactionId replayed }} }}"
    )
    answer = service.data(document)
    assert answer["b"] == {"transactionId": answer["a"]["transactionId"], "replayed": True}
    assert answer["a"]["replayed"] is False


@pytest.mark.parametrize("query", [CONSUME, REFUND])
def test_a_key_is_required_where_the_contract_says_so(service: Service, customer: str, query: str) -> None:
    use = {"customerId": customer, "currencyId": "credits", "amount": 5}
    given = use if query == CONSUME else {"transactionId": "unknown"}
    for key in ({}, {"idempotencyKey": None}):
        errors = service.graphql(query, input=given | key).json()["errors"]
        assert [error["extensions"]["code"] for error in errors] == ["InvalidArgumentError"]
        assert "idempotencyKey" in errors[0]["message"]


def test_metadata_is_compared_by_what_it_says_and_kept_as_it_was_given(service: Service, customer: str) -> None:
    """50 = 50.0, null = absent, at any depth; what was stored, and what a replay shows, is the first spelling."""
    first = {"count": 50.0, "list": [1.0, {"none": None, "x": 2}], "none": None}
    fields = {**FULL_GRANT, "customerId": customer, "additionalMetaData": first}
    created = service.data(CREATE, input=fields)["createCreditGrant"]
    again = service.data(CREATE, input=fields | {"additionalMetaData": {"list": [1, {"x": 2.0}], "count": 50}})
    assert json.dumps(again["createCreditGrant"]) == json.dumps(created)
    assert json.dumps(created["additionalMetaData"], sort_keys=True) == json.dumps(first, sort_keys=True)
    other = service.refusal(CREATE, input=fields | {"additionalMetaData": {**first, "count": 51}})
    assert (other["code"], other["differing"]) == ("IdempotencyKeyReused", ["additionalMetaData"])


@pytest.mark.parametrize("empty", [{"comment": ""}, {"comment": None}, {"additionalMetaData": {}}])
def test_what_says_nothing_is_absent(service: Service, customer: str, empty: dict[str, Any]) -> None:
    fields = {**FULL_GRANT, "customerId": customer} | empty
    created = service.data(CREATE, input=fields)
    assert created["createCreditGrant"][next(iter(empty))] is None
    assert service.data(CREATE, input=fields) == created
