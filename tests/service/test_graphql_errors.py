"""Refusals at the GraphQL door: a stable code, the facts as fields, and no neighbour hidden by them."""

import json
from typing import Any

import pytest

from tests.service.serving import Service

CREATE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id grantId } }"
CONSUME = "mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId } }"
REFUND = """
mutation ($input: RefundCreditsInput!) { refundCredits(input: $input) { transactionId amountExact draws { grantId } } }
"""
VOID = "mutation ($input: VoidCreditGrantInput!) { voidCreditGrant(input: $input) { status } }"
LEDGER = """
query ($customer: String!) {
  creditsLedger(input: {customerId: $customer}) { totalCount edges { node { eventType eventId } } }
}
"""


def grant_of(service: Service, customer: str, amount: str = "10") -> Any:
    fields = {"customerId": customer, "currencyId": "credits", "displayName": "g", "grantType": "PAID"}
    return service.data(CREATE, input=fields | {"amountExact": amount})["createCreditGrant"]


def use_of(service: Service, customer: str, amount: str = "10") -> str:
    use = {"customerId": customer, "currencyId": "credits", "amountExact": amount, "idempotencyKey": "use"}
    transaction: str = service.data(CONSUME, input=use)["consumeCredits"]["transactionId"]
    return transaction


def read(service: Service, query: str, **variables: Any) -> Any:
    """The data of a read at the head of the log."""
    head = service.http.get("/readyz").json()["head"]
    return service.data(query, {"X-Ledger-At-Least": head}, **variables)


def test_what_is_missing_is_told_with_exact_twins(service: Service, customer: str) -> None:
    grant_of(service, customer, "0.3")
    use = {"customerId": customer, "currencyId": "credits", "amount": 1, "idempotencyKey": "use"}
    answer = service.graphql(CONSUME, input=use)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "data": {"consumeCredits": None},
            "errors": [
                {
                    "message": "1 credit requested, 0.3 available, 0.7 short",
                    "path": ["consumeCredits"],
                    "locations": [{"line": 1, "column": 42}],
                    "extensions": {
                        "code": "InsufficientCredits",
                        "available": 0.3, "availableExact": "0.3",
                        "requested": 1.0, "requestedExact": "1",
                        "shortfall": 0.7, "shortfallExact": "0.7",
                    },
                }
            ],
        },
    )  # fmt: skip
    assert read(service, LEDGER, customer=customer)["creditsLedger"]["totalCount"] == 1


def test_a_grant_is_voided_once(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    service.data(VOID, input={"id": grant["id"]})
    for name in (grant["id"], grant["id"].upper(), grant["grantId"]):
        for key in (None, "new"):
            refusal = service.refusal(VOID, input={"id": name, "idempotencyKey": key})
            assert refusal == {"code": "CreditGrantAlreadyVoided", "grant": grant["id"]}


def test_a_consumed_grant_cannot_be_voided(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    use_of(service, customer)
    assert service.refusal(VOID, input={"id": grant["id"]}) == {
        "code": "CreditGrantCannotBeVoided",
        "grant": grant["id"],
    }


def test_a_void_grant_that_was_consumed_in_part_is_already_voided(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    use_of(service, customer, "9.999999999")
    service.data(VOID, input={"id": grant["id"]})
    assert service.refusal(VOID, input={"id": grant["id"]})["code"] == "CreditGrantAlreadyVoided"


@pytest.mark.parametrize("name", ["00000000-0000-4000-8000-000000000000", "cg-nosuchgrant12", "nobody's"])
def test_a_grant_that_is_not_there_cannot_be_voided(service: Service, name: str) -> None:
    assert service.refusal(VOID, input={"id": name}) == {"code": "CreditGrantNotFound", "grant": name}


def test_a_refund_never_exceeds_what_is_left(service: Service, customer: str) -> None:
    grant_of(service, customer)
    debit = use_of(service, customer)
    refund = {"transactionId": debit, "idempotencyKey": "a"}
    over = service.refusal(REFUND, input=refund | {"amountExact": "10.000000001"})
    assert over == {
        "code": "RefundExceedsDebit",
        "requested": 10.000000001, "requestedExact": "10.000000001",
        "refundable": 10.0, "refundableExact": "10",
    }  # fmt: skip
    service.data(REFUND, input=refund | {"amountExact": "9.999999999"})
    again = service.refusal(REFUND, input=refund | {"amount": 1, "idempotencyKey": "b"})
    assert (again["code"], again["refundableExact"]) == ("RefundExceedsDebit", "0.000000001")
    rest = service.data(REFUND, input=refund | {"idempotencyKey": "c"})["refundCredits"]
    assert rest["amountExact"] == "0.000000001"
    for amount in (None, "0.000000001"):
        none_left = service.refusal(REFUND, input=refund | {"amountExact": amount, "idempotencyKey": "d"})
        assert (none_left["code"], none_left["refundableExact"]) == ("RefundExceedsDebit", "0")


def test_only_a_debit_can_be_refunded(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    debit = use_of(service, customer)
    refund = service.data(REFUND, input={"transactionId": debit, "amount": 1, "idempotencyKey": "a"})["refundCredits"]
    granted = read(service, LEDGER, customer=customer)["creditsLedger"]["edges"][-1]["node"]
    assert granted["eventType"] == "CREDITS_GRANTED"
    for name in (refund["transactionId"], granted["eventId"], grant["id"], grant["grantId"], "unknown", "0" * 200):
        refusal = service.refusal(REFUND, input={"transactionId": name, "idempotencyKey": "a"})
        assert refusal == {"code": "TransactionNotFound", "transaction": name}
    upper_case = service.data(REFUND, input={"transactionId": debit.upper(), "amount": 1, "idempotencyKey": "b"})
    assert upper_case["refundCredits"]["amountExact"] == "1"


def test_a_mutation_that_fails_hides_no_neighbour(service: Service, customer: str) -> None:
    grant_of(service, customer)
    document = "mutation {" + "".join(
        f' {name}: consumeCredits(input: {{customerId: {json.dumps(customer)}, currencyId: "credits", amount: {amount},'
        f' idempotencyKey: "{name}"}}) {{ amountExact position }}'
        for name, amount in (("a", "6"), ("b", "6"), ("c", "0"), ("d", "4"), ("e", "1"))
    )
    answer = service.graphql(document + " }")
    body = answer.json()
    assert answer.status_code == 200
    assert {name: value and value["amountExact"] for name, value in body["data"].items()} == {
        "a": "6", "b": None, "c": None, "d": "4", "e": None,
    }  # fmt: skip
    assert [(error["path"], error["extensions"]["code"]) for error in body["errors"]] == [
        (["b"], "InsufficientCredits"),
        (["c"], "InvalidArgumentError"),
        (["e"], "InsufficientCredits"),
    ]
    assert answer.headers["X-Ledger-Position"] == body["data"]["d"]["position"]


def test_a_question_that_fails_hides_no_neighbour(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    head = service.http.get("/readyz").json()["head"]
    document = """
    query ($id: String!, $customer: String!) {
      unknown: creditGrant(id: "unknown") { id }
      found: creditGrant(id: $id) { id }
      tooMany: creditGrants(input: {customerId: $customer, paging: {first: 101}}) { totalCount }
      many: creditGrants(input: {customerId: $customer}) { totalCount }
    }
    """
    body = service.graphql(document, {"X-Ledger-At-Least": head}, id=grant["id"], customer=customer).json()
    found, many = {"id": grant["id"]}, {"totalCount": 1}
    assert body["data"] == {"unknown": None, "found": found, "tooMany": None, "many": many}
    assert sorted((error["path"][0], error["extensions"]["code"]) for error in body["errors"]) == [
        ("tooMany", "InvalidArgumentError"),
        ("unknown", "CreditGrantNotFound"),
    ]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{ noSuchField }",                                                          "noSuchField"),
        ('{ creditGrant(id: "x") { noSuchField } }',                                 "noSuchField"),
        ('{ creditGrant(id: "x", other: 1) { id } }',                                "other"),
        ('{ creditGrant(id: 5) { id } }',                                            "String"),
        ("{ creditGrant { id } }",                                                   "id"),
        ('{ creditGrant(id: "x") }',                                                 "subfields"),
        ("{ creditGrants { totalCount } }",                                          "input"),
        ("{ creditGrants(input: {}) { totalCount } }",                               "customerId"),
        ('{ creditGrants(input: {customerId: "x", other: 1}) { totalCount } }',      "other"),
        ('{ creditGrants(input: {customerId: "x", status: GONE}) { totalCount } }',  "GONE"),
        ('{ creditGrants(input: {customerId: "x", status: "ACTIVE"}) { totalCount } }', "CreditGrantStatus"),
        ("mutation { createPayment { id } }",                                        "createPayment"),
        ('mutation { createCreditGrant(input: {customerId: "x"}) { id } }',          "currencyId"),
        ("query ($x: NoSuchType) { __typename }",                                    "NoSuchType"),
        ("query ($x: String!) { creditGrant(id: $x) { id } }",                       "$x"),
        ("{ creditGrant(id: $x) { id } }",                                           "$x"),
        ("{ ...missing }",                                                           "missing"),
        ("subscription { x }",                                                       "subscription"),
        ("{",                                                                        "Syntax Error"),
        ("{ a b ! }",                                                                "Syntax Error"),
        ("# only a comment",                                                         "Syntax Error"),
    ],
)  # fmt: skip
def test_a_document_that_the_schema_does_not_have_is_an_invalid_argument(
    service: Service, document: str, says: str
) -> None:
    answer = service.graphql(document)
    errors = answer.json()["errors"]
    assert {error["extensions"]["code"] for error in errors} == {"InvalidArgumentError"}
    assert says in " ".join(error["message"] for error in errors)
    assert answer.json().get("data") is None
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("required", ["customerId", "currencyId", "displayName", "grantType"])
def test_a_required_field_that_is_missing_is_named(service: Service, customer: str, required: str) -> None:
    given: dict[str, Any] = {
        "customerId": customer, "currencyId": "credits", "displayName": "g", "grantType": "PAID", "amount": 1,
    }  # fmt: skip
    without = {name: value for name, value in given.items() if name != required}
    for wanted in (without, given | {required: None}, given | {required: 5}, given | {"other": 5, required: [5]}):
        errors = service.graphql(CREATE, input=wanted).json()["errors"]
        assert {error["extensions"]["code"] for error in errors} == {"InvalidArgumentError"}
        assert required in " ".join(error["message"] for error in errors)


def test_of_several_operations_one_must_be_named(service: Service, customer: str) -> None:
    grant_of(service, customer)
    use = f'(input: {{customerId: {json.dumps(customer)}, currencyId: "credits", amount: 1, idempotencyKey: "key"}})'
    document = f"mutation A {{ consumeCredits{use} {{ amountExact }} }} query B {{ __typename }}"
    for name in (None, "", "C"):
        body = {"query": document, "operationName": name}
        (error,) = service.http.post("/graphql", json=body).json()["errors"]
        assert error["extensions"]["code"] == "InvalidArgumentError"
    assert read(service, LEDGER, customer=customer)["creditsLedger"]["totalCount"] == 1
    named = service.http.post("/graphql", json={"query": document, "operationName": "A"}).json()
    assert named == {"data": {"consumeCredits": {"amountExact": "1"}}}


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("amount", {"amount": "5"}),
        ("createdAt", {"createdAt": "yesterday"}),
        ("accountGroupIds", {"accountGroupIds": [1]}),
        ("idempotencyKey", {"idempotencyKey": None}),
    ],
)
def test_a_value_that_cannot_be_read_names_its_field(
    service: Service, customer: str, field: str, given: dict[str, Any]
) -> None:
    """In a variable, and written in the document."""
    asked = {"customerId": customer, "currencyId": "credits", "amount": 5, "idempotencyKey": "k"} | given
    variable = "mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { amount } }"
    written = ", ".join(f"{name}: {json.dumps(value)}" for name, value in asked.items())
    for refusal in (
        service.refusal(variable, input=asked),
        service.refusal(f"mutation {{ consumeCredits(input: {{{written}}}) {{ amount }} }}"),
    ):
        assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", field)
