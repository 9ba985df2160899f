"""Texts and choices at the GraphQL door: bounded, storable, refused by the name that the contract gives them."""

import json
from typing import Any

import pytest

from tests.service.serving import Service

CREATE = """
mutation ($input: CreditGrantInput!) {
  createCreditGrant(input: $input) {
    id customerId currencyId resourceId displayName comment additionalMetaData grantType priority priorityExact
    cost { amount amountExact currency } paymentCollection
  }
}
"""
CONSUME = """
mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId customerId replayed } }
"""
REFUND = "mutation ($input: RefundCreditsInput!) { refundCredits(input: $input) { transactionId replayed } }"
VOID = "mutation ($input: VoidCreditGrantInput!) { voidCreditGrant(input: $input) { id status } }"
READ = {
    "creditGrants": "query ($input: GetCreditGrantsInput!) { creditGrants(input: $input) { totalCount } }",
    "creditBalanceSummary": "query ($input: CreditBalanceSummaryInput!) { creditBalanceSummary(input: $input) "
    "{ customerId } }",
    "creditsLedger": "query ($input: CreditLedgerInput!) { creditsLedger(input: $input) { totalCount } }",
}
GRANT: dict[str, Any] = {"currencyId": "credits", "displayName": "grant", "grantType": "PAID", "amount": 100}
KIBIBYTE = 1024
UNSTORABLE = [("a\0b", "must not contain U+0000"), ("a\ud800b", "must not contain lone surrogates")]


def grant_of(service: Service, customer: str, **given: Any) -> Any:
    return service.data(CREATE, input=GRANT | {"customerId": customer} | given)["createCreditGrant"]


def refusal(service: Service, query: str, **variables: Any) -> dict[str, Any]:
    """The extensions of the one error. Sent in ASCII, for a lone surrogate has no other spelling."""
    body = json.dumps({"query": query, "variables": variables})
    (error,) = service.http.post("/graphql", content=body).json()["errors"]
    extensions: dict[str, Any] = error["extensions"]
    return extensions


def refused(service: Service, query: str, **given: Any) -> tuple[str, str]:
    """Which field was refused and why; nothing was written."""
    head = service.http.get("/readyz").json()["head"]
    extensions = refusal(service, query, input=given)
    assert service.http.get("/readyz").json()["head"] == head
    assert extensions["code"] == "InvalidArgumentError"
    return extensions["field"], extensions["reason"]


@pytest.mark.parametrize(
    ("operation", "field", "characters_max"),
    [
        ("create",  "customerId",     200),
        ("create",  "currencyId",     200),
        ("create",  "resourceId",     200),
        ("create",  "displayName",    200),
        ("create",  "comment",        200),
        ("create",  "idempotencyKey", 255),
        ("consume", "customerId",     200),
        ("consume", "currencyId",     200),
        ("consume", "resourceId",     200),
        ("consume", "idempotencyKey", 255),
        ("refund",  "transactionId",  200),
        ("refund",  "idempotencyKey", 255),
        ("refund",  "reason",         200),
        ("void",    "id",             200),
        ("void",    "idempotencyKey", 255),
        ("void",    "reason",         200),
    ],
)  # fmt: skip
def test_texts_of_mutations_are_bounded_and_storable(
    service: Service, customer: str, operation: str, field: str, characters_max: int
) -> None:
    use = {"customerId": customer, "currencyId": "credits", "amount": 1}
    operations: dict[str, tuple[str, dict[str, Any]]] = {
        "create": (CREATE, GRANT | {"customerId": customer}),
        "consume": (CONSUME, use | {"idempotencyKey": "use"}),
        "refund": (REFUND, {"transactionId": "unknown", "idempotencyKey": "refund"}),
        "void": (VOID, {"id": "unknown"}),
    }
    query, given = operations[operation]
    bounds = f"must be a text of 1 to {characters_max} characters"
    for text, reason in [("x" * (characters_max + 1), bounds), *UNSTORABLE]:
        assert refused(service, query, **given | {field: text}) == (field, reason)
    answer = service.graphql(query, input=given | {field: "\U0001f600" * characters_max}).json()
    problems = [error["extensions"]["code"] for error in answer.get("errors", [])]
    assert "InvalidArgumentError" not in problems


@pytest.mark.parametrize(
    ("query", "given", "field"),
    [
        (CREATE,  GRANT,                                         "customerId"),
        (CREATE,  GRANT | {"customerId": "someone"},             "currencyId"),
        (CREATE,  GRANT | {"customerId": "someone"},             "resourceId"),
        (CREATE,  GRANT | {"customerId": "someone"},             "displayName"),
        (CREATE,  GRANT | {"customerId": "someone"},             "idempotencyKey"),
        (REFUND,  {"transactionId": "", "idempotencyKey": "k"},  "transactionId"),
        (REFUND,  {"transactionId": "x", "idempotencyKey": ""},  "idempotencyKey"),
        (VOID,    {"id": ""},                                    "id"),
    ],
)  # fmt: skip
def test_an_empty_text_names_nothing(service: Service, query: str, given: dict[str, Any], field: str) -> None:
    named, reason = refused(service, query, **given | {field: ""})
    assert named == field
    assert reason.startswith("must be a text of 1 to ")


@pytest.mark.parametrize("operation", list(READ))
@pytest.mark.parametrize("field", ["customerId", "currencyId", "resourceId"])
def test_texts_of_reads_are_bounded_and_storable(service: Service, customer: str, operation: str, field: str) -> None:
    bounds = "must be a text of 1 to 200 characters"
    for text, reason in [("", bounds), ("x" * 201, bounds), *UNSTORABLE]:
        assert refused(service, READ[operation], **{"customerId": customer, field: text}) == (field, reason)
    service.data(READ[operation], input={"customerId": customer, field: "x" * 200})


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "", "x" * 201], ids=ascii)
def test_the_id_of_a_grant_is_a_text(service: Service, text: str) -> None:
    told = refusal(service, "query ($id: String!) { creditGrant(id: $id) { id } }", id=text)
    assert (told["code"], told["field"]) == ("InvalidArgumentError", "id")


def test_texts_come_back_as_they_were_sent(service: Service) -> None:
    text = " e\u0301 \u00e9 \u202e \U0001f600\n\t\"'\\;-- "
    given = {"customerId": text, "currencyId": text, "resourceId": text, "displayName": text, "comment": text}
    created = service.data(CREATE, input=GRANT | given)["createCreditGrant"]
    assert {name: created[name] for name in given} == given


@pytest.mark.parametrize(
    "metadata",
    [
        {"text": "x" * (16 * KIBIBYTE - 12)},
        {"text": "\u00e9" * (8 * KIBIBYTE - 6)},
        {"nested": {"list": [1, 2.5, None, True, "\U0001f600", {}]}, "": ""},
        {"escaped": "\\u0000"},
        {"large": 9007199254740993},
    ],
    ids=lambda metadata: next(iter(metadata)),
)
def test_metadata_is_any_object_of_at_most_16_kib(service: Service, customer: str, metadata: Any) -> None:
    assert grant_of(service, customer, additionalMetaData=metadata)["additionalMetaData"] == metadata


@pytest.mark.parametrize(
    "metadata",
    [
        {"text": "x" * (16 * KIBIBYTE - 11)},
        {"text": "\u00e9" * (8 * KIBIBYTE - 5)},
        [],
        ["list"],
        "text",
        5,
        True,
        {"text": "a\0b"},
        {"a\0b": "name"},
        {"text": "a\ud800b"},
        {"a\ud800b": "name"},
        {"deep": [[{"text": "\0"}]]},
    ],
    ids=lambda metadata: ascii(metadata)[:16],
)
def test_metadata_that_is_no_such_object_is_refused(service: Service, customer: str, metadata: Any) -> None:
    field, _ = refused(service, CREATE, **GRANT | {"customerId": customer, "additionalMetaData": metadata})
    assert field == "additionalMetaData"


def test_metadata_holds_only_finite_numbers(service: Service, customer: str) -> None:
    given = json.dumps({"query": CREATE, "variables": {"input": GRANT | {"customerId": customer}}})
    body = given.replace('"amount": 100', '"amount": 100, "additionalMetaData": {"number": 1e400}')
    (error,) = service.http.post("/graphql", content=body).json()["errors"]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("InvalidArgumentError", "additionalMetaData")


@pytest.mark.parametrize(
    "dimensions",
    [
        [], ["feature"], "feature", 5, True,
        {"feature": 5}, {"feature": True}, {"feature": None}, {"feature": ["a"]}, {"feature": {}},
        {"feature": "a\0b"}, {"feature": "a\ud800b"}, {"a\0b": "value"}, {"": "value"},
        {"feature": "x" * 201}, {"x" * 201: "value"}, {f"{n:04}" + "x" * 196: "x" * 200 for n in range(41)},
    ],
    ids=lambda dimensions: ascii(dimensions)[:24],
)  # fmt: skip
def test_dimensions_are_texts_by_name(service: Service, customer: str, dimensions: Any) -> None:
    grant_of(service, customer)
    use = {"customerId": customer, "currencyId": "credits", "amount": 1, "idempotencyKey": "use"}
    assert refused(service, CONSUME, **use, dimensions=dimensions)[0] == "dimensions"
    kept = service.data(CONSUME, input=use | {"dimensions": {"feature": "search", "team": "\u00e9"}})
    assert kept["consumeCredits"]["replayed"] is False


@pytest.mark.parametrize("grant_type", ["ROLLOVER", "SUBSCRIPTION"])
def test_some_grant_types_are_the_systems_to_give(service: Service, customer: str, grant_type: str) -> None:
    field, _ = refused(service, CREATE, **GRANT | {"customerId": customer, "grantType": grant_type})
    assert field == "grantType"


@pytest.mark.parametrize("cost", [{"amount": 0.01}, {"amountExact": "0.000000001"}, {"amount": 1, "currency": "EUR"}])
def test_a_promotional_grant_costs_nothing(service: Service, customer: str, cost: dict[str, Any]) -> None:
    promotional = {"grantType": "PROMOTIONAL"}
    assert refused(service, CREATE, **GRANT | {"customerId": customer, "cost": cost} | promotional)[0] == "cost"
    free = grant_of(service, customer, cost={"amount": 0}, **promotional)
    assert free["cost"] == {"amount": 0, "amountExact": "0", "currency": "USD"}


@pytest.mark.parametrize("currency", ["eur", "EURO", "EU", "E1R", "\u20ac", "EUR ", ""])
def test_money_is_in_a_currency_of_iso_4217(service: Service, customer: str, currency: str) -> None:
    cost = {"amount": 5, "currency": currency}
    assert refused(service, CREATE, **GRANT | {"customerId": customer, "cost": cost})[0] == "cost.currency"


def test_a_cost_is_in_dollars_unless_it_says_otherwise(service: Service, customer: str) -> None:
    in_euros = grant_of(service, customer, cost={"amountExact": "19.99", "currency": "EUR"})
    in_dollars = grant_of(service, customer, cost={"amount": 19.99})
    assert in_euros["cost"] == {"amount": 19.99, "amountExact": "19.99", "currency": "EUR"}
    assert in_dollars["cost"] == {"amount": 19.99, "amountExact": "19.99", "currency": "USD"}
    assert grant_of(service, customer)["cost"] == {"amount": 0, "amountExact": "0", "currency": "USD"}


@pytest.mark.parametrize(
    ("priority", "exact"),
    [(0, "0"), (100, "100"), (99.999999999, "99.999999999"), (1e-9, "0.000000001"), (33.5, "33.5"), (None, "50")],
)
def test_a_priority_is_from_0_to_100(service: Service, customer: str, priority: float | None, exact: str) -> None:
    created = grant_of(service, customer, priority=priority)
    assert (created["priority"], created["priorityExact"]) == (float(exact), exact)


@pytest.mark.parametrize("priority", [-1e-9, -1, 100.000000001, 101, 1e18, 1e-10, 33.33333333333333])
def test_another_priority_is_refused(service: Service, customer: str, priority: float) -> None:
    field, reason = refused(service, CREATE, **GRANT | {"customerId": customer, "priority": priority})
    assert field == "priority"
    assert ("priorityExact" in reason) == (priority == 33.33333333333333)


def test_a_priority_is_given_once_as_a_number_or_exactly(service: Service, customer: str) -> None:
    exact = "33.333333333"
    assert grant_of(service, customer, priorityExact=exact)["priorityExact"] == exact
    both = GRANT | {"customerId": customer, "priority": 5, "priorityExact": "5"}
    assert refused(service, CREATE, **both)[0] == "priority"
