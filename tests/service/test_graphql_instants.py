"""Instants at the GraphQL door: ISO 8601 with a zone, real, at most microseconds; answered in UTC."""

import json
from datetime import datetime
from typing import Any

import pytest

from tests.service.serving import Service

CREATE = """
mutation ($input: CreditGrantInput!) {
  createCreditGrant(input: $input) { id status effectiveAt expireAt createdAt updatedAt voidedAt }
}
"""
CONSUME = """
mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { timestamp credit { timestamp } } }
"""
GRANT = {"currencyId": "credits", "displayName": "grant", "grantType": "PAID", "amount": 100}
NOW = "2026-01-31T12:00:00.000Z"
"""Where the test clock stands."""


def grant_of(service: Service, customer: str, **given: Any) -> Any:
    return service.data(CREATE, input=GRANT | {"customerId": customer} | given)["createCreditGrant"]


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("2026-02-01T00:00:00Z",             "2026-02-01T00:00:00.000Z"),
        ("2026-02-01T00:00Z",                "2026-02-01T00:00:00.000Z"),
        ("2026-02-01T00:00:00.1Z",           "2026-02-01T00:00:00.100Z"),
        ("2026-02-01T00:00:00.123Z",         "2026-02-01T00:00:00.123Z"),
        ("2026-02-01T00:00:00.123000Z",      "2026-02-01T00:00:00.123Z"),
        ("2026-02-01T00:00:00.1234Z",        "2026-02-01T00:00:00.123400Z"),
        ("2026-02-01T00:00:00.000001Z",      "2026-02-01T00:00:00.000001Z"),
        ("2026-02-01T00:00:00+00:00",        "2026-02-01T00:00:00.000Z"),
        ("2026-02-01T00:00:00-00:00",        "2026-02-01T00:00:00.000Z"),
        ("2026-02-01T00:00:00+05:30",        "2026-01-31T18:30:00.000Z"),
        ("2026-02-01T00:00:00-12:00",        "2026-02-01T12:00:00.000Z"),
        ("2026-03-01T00:30:00+01:00",        "2026-02-28T23:30:00.000Z"),
        ("2028-02-29T12:00:00+14:00",        "2028-02-28T22:00:00.000Z"),
        ("0001-01-01T00:00:00Z",             "0001-01-01T00:00:00.000Z"),
        ("0999-06-01T00:00:00Z",             "0999-06-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999999Z",      "9999-12-31T23:59:59.999999Z"),
        ("9999-12-31T23:59:59.999999+01:00", "9999-12-31T22:59:59.999999Z"),
    ],
)  # fmt: skip
def test_an_instant_is_answered_in_utc(service: Service, customer: str, sent: str, answered: str) -> None:
    inline = CREATE.replace("($input: CreditGrantInput!)", "").replace(
        "$input",
        f'{{customerId: "{customer}", currencyId: "c", displayName: "d", grantType: PAID, amount: 1,'
        f' effectiveAt: "{sent}"}}',
    )
    for created in (
        grant_of(service, customer, effectiveAt=sent),
        service.data(inline)["createCreditGrant"],
    ):
        assert created["effectiveAt"] == answered
        assert (created["createdAt"], created["updatedAt"]) == (NOW, NOW)


@pytest.mark.parametrize("field", ["effectiveAt", "expireAt", "createdAt"])
@pytest.mark.parametrize(
    "text",
    [
        "2026-02-01", "2026-02-01T00:00:00", "2026-02-01T00:00:00.5", "2026-02-01T00Z", "now", "", " ",
        "2026-02-01T00:00:00.1234567Z", "2026-02-01T00:00:00.1000000Z", "2026-02-01T00:00:00.Z",
        "2026-W06-1T00:00:00Z", "2026-032T00:00:00Z", "20260201T000000Z", "2026-2-1T00:00:00Z",
        "2026-02-01 00:00:00Z", "2026-02-01t00:00:00z", "2026-02-01T00:00:00,5Z", "2026/02/01T00:00:00Z",
        "2026-02-30T00:00:00Z", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
        "2026-02-01T24:00:00Z", "2026-02-01T00:60:00Z", "2026-02-01T23:59:60Z",
        "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "-2026-02-01T00:00:00Z", "+2026-02-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
        "2026-02-01T00:00:00+24:00", "2026-02-01T00:00:00+05:60", "2026-02-01T00:00:00+0530",
        "2026-02-01T00:00:00+05", "2026-02-01T00:00:00 +05:30", "2026-02-01T00:00:00+00:00:01",
        "2026-02-01T00:00:00Europe/Berlin", "2026-02-01T00:00:00ZZ",
        " 2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z\n", "2026-02-01T00:00:00Z\0", "2026-02-01T00:00:00\ud800",
        "\u0662\u0660\u0662\u0666-02-01T00:00:00Z", 1769860800, 1769860800.5, True, ["2026-02-01T00:00:00Z"], {},
    ],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_exact_instant_is_refused(service: Service, customer: str, field: str, text: Any) -> None:
    use = {"customerId": customer, "currencyId": "credits", "amount": 1, "idempotencyKey": "use"}
    query, given = (CONSUME, use) if field == "createdAt" else (CREATE, GRANT | {"customerId": customer})
    body = json.dumps({"query": query, "variables": {"input": given | {field: text}}})  # a lone surrogate in ASCII
    (error,) = service.http.post("/graphql", content=body).json()["errors"]
    assert error["extensions"]["code"] == "InvalidArgumentError"
    assert f"at .{field}" in error["message"]


@pytest.mark.parametrize("literal", ['"2026-02-01"', "2026", "true", "NOW", '["2026-02-01T00:00:00Z"]', "{}"])
def test_an_instant_in_the_document_is_a_string_too(service: Service, customer: str, literal: str) -> None:
    document = "mutation { consumeCredits(input: {customerId: %s, currencyId: %s, amount: 1, %s, createdAt: %s}) %s }"
    words = (json.dumps(customer), '"credits"', 'idempotencyKey: "use"', literal, "{ timestamp }")
    assert service.refusal(document % words)["code"] == "InvalidArgumentError"


@pytest.mark.parametrize(
    ("effective_at", "expire_at"),
    [
        (None,                        NOW),
        (None,                        "2026-01-31T11:59:59Z"),
        (NOW,                         NOW),
        ("2026-03-01T00:00:00Z",      "2026-03-01T00:00:00Z"),
        ("2026-03-01T00:00:00+02:00", "2026-02-28T22:00:00Z"),
        ("2026-03-01T00:00:00Z",      "2026-02-28T23:59:59.999999Z"),
        ("2025-03-01T00:00:00Z",      "2025-02-01T00:00:00Z"),
    ],
)  # fmt: skip
def test_a_grant_expires_after_it_begins(
    service: Service, customer: str, effective_at: str | None, expire_at: str
) -> None:
    given = GRANT | {"customerId": customer, "effectiveAt": effective_at, "expireAt": expire_at}
    refusal = service.refusal(CREATE, input=given)
    assert refusal.pop("code") == "ExpireAtMustBeLaterThanEffectiveAtError"
    told = {name: datetime.fromisoformat(instant) for name, instant in refusal.items()}
    assert told == {
        "expireAt": datetime.fromisoformat(expire_at), "effectiveAt": datetime.fromisoformat(effective_at or NOW),
    }  # fmt: skip


@pytest.mark.parametrize("expire_at", [NOW, "2026-01-31T11:59:59.999999Z", "2025-06-01T00:00:00Z"])
def test_a_grant_that_begins_in_the_past_expires_in_the_future(service: Service, customer: str, expire_at: str) -> None:
    begun = {"customerId": customer, "effectiveAt": "2025-01-01T00:00:00Z"}
    refusal = service.refusal(CREATE, input=GRANT | begun | {"expireAt": expire_at})
    assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", "expireAt")


@pytest.mark.parametrize(
    ("effective_at", "expire_at", "status"),
    [
        (None,                          "2026-01-31T12:00:00.000001Z", "ACTIVE"),
        ("2025-01-01T00:00:00Z",        "2026-01-31T12:00:00.000001Z", "ACTIVE"),
        ("2026-01-31T12:00:00Z",        None,                          "ACTIVE"),
        ("2026-01-31T12:00:00.000001Z", "2026-01-31T12:00:00.000002Z", "PENDING"),
        ("2026-01-31T12:00:00.000001Z", None,                          "PENDING"),
    ],
)  # fmt: skip
def test_a_grant_is_usable_from_its_beginning_to_its_end(
    service: Service, customer: str, effective_at: str | None, expire_at: str | None, status: str
) -> None:
    created = grant_of(service, customer, effectiveAt=effective_at, expireAt=expire_at)
    assert (created["status"], created["expireAt"]) == (status, expire_at)


@pytest.mark.parametrize(
    ("created_at", "timestamp"),
    [
        (None,                             NOW),
        (NOW,                              NOW),
        ("2026-01-31T12:00:00.000001Z",    NOW),
        ("2026-01-31T12:00:05Z",           NOW),
        ("2026-01-31T11:59:59.999999Z",    "2026-01-31T11:59:59.999999Z"),
        ("2020-01-01T00:00:00.5+01:00",    "2019-12-31T23:00:00.500Z"),
    ],
)  # fmt: skip
def test_a_use_counts_when_it_happened(service: Service, customer: str, created_at: str | None, timestamp: str) -> None:
    grant_of(service, customer)
    use = {"customerId": customer, "currencyId": "credits", "amount": 1, "idempotencyKey": "use"}
    used = service.data(CONSUME, input=use | {"createdAt": created_at})["consumeCredits"]
    assert used == {"timestamp": timestamp, "credit": {"timestamp": NOW}}


@pytest.mark.parametrize("created_at", ["2026-01-31T12:00:05.000001Z", "2026-02-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_use_more_than_5_seconds_ahead_is_refused(service: Service, customer: str, created_at: str) -> None:
    grant_of(service, customer)
    use = {"customerId": customer, "currencyId": "credits", "amount": 1, "idempotencyKey": "use"}
    refusal = service.refusal(CONSUME, input=use | {"createdAt": created_at})
    assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", "createdAt")
