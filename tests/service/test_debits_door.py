"""POST /v1/debits: the same commands, keys and refusals as through GraphQL."""

import secrets
from typing import Any

import pytest

from ledger.store.database import Database
from tests.service.debits import (
    BATCH,
    CONSUME,
    DEBITS,
    NOW,
    REFUNDS,
    Raw,
    allotted,
    balances,
    by_graphql,
    debit,
    done,
    execution,
    granted,
    refused,
    sent,
    used,
)
from tests.service.executions import DEBIT
from tests.service.serving import Service
from tests.service.test_api_keys import as_key, key_for, revoke

INSTANT = "must be an instant with a zone in ISO 8601, like 2026-01-31T00:00:00Z"
TEXT = "must be a text of 1 to 200 characters"
NINES = "9" * 5_000
REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no holder": ({"holder": None}, "holder", TEXT),
    "an empty holder": ({"holder": ""}, "holder", TEXT),
    "a holder that is a number": ({"holder": 5}, "holder", TEXT),
    "a holder that is a number with a point": ({"holder": Raw("1.5")}, "holder", TEXT),
    "a long holder": ({"holder": "x" * 201}, "holder", TEXT),
    "U+0000": ({"holder": "a\0b"}, "holder", "must not contain U+0000"),
    "a lone surrogate": ({"holder": Raw('"\\ud800"')}, "holder", "must not contain lone surrogates"),
    "no currency": ({"currency": None}, "currency", TEXT),
    "an empty resource": ({"resource": ""}, "resource", TEXT),
    "no amount": ({"amount": None}, "amount", "must be given, as text or as a number"),
    "none at all": ({"amount": 0}, "amount", "must be above zero"),
    "none, with a point": ({"amount": Raw("0.0")}, "amount", "must be above zero"),
    "below none": ({"amount": -1}, "amount", "must not be below zero"),
    "true": ({"amount": True}, "amount", "must be a decimal number, given as text, int or Decimal"),
    "no number": ({"amount": "ten"}, "amount", "must be a decimal number"),
    "ten places": ({"amount": "0.0000000001"}, "amount", "must have at most 9 places after the point"),
    "16 digits": ({"amount": Raw("1.000000000000001")}, "amount",
                  "has more than 15 significant digits: give it as text"),
    "5,000 digits": ({"amount": Raw(NINES)}, "amount", "must have at most 19 digits before the point"),
    "5,000 digits and a point": ({"amount": Raw(f"{NINES}.5")}, "amount", "must be a decimal number"),
    "1e400": ({"amount": Raw("1e400")}, "amount", "must be a finite number with at most 19 digits before the point"),
    "a far exponent": ({"amount": Raw("1e999999999999")}, "amount",
                       "must be a finite number with at most 19 digits before the point"),
    "an endless exponent": ({"amount": Raw(f"1e{NINES}")}, "amount", "must be a decimal number"),
    "an unknown kind": ({"kind": "COINS"}, "kind", "must be one of CREDIT_GRANT, EXECUTION_CREDIT"),
    "a kind without credits": ({"kind": "ALLOCATION_RULE"}, "kind", "must be one of CREDIT_GRANT, EXECUTION_CREDIT"),
    "a list for a kind": ({"kind": []}, "kind", "must be one of CREDIT_GRANT, EXECUTION_CREDIT"),
    "no instant": ({"useAt": "yesterday"}, "useAt", INSTANT),
    "an instant without a zone": ({"useAt": "2026-01-31T00:00:00"}, "useAt", INSTANT),
    "the future": ({"useAt": "2026-01-31T12:00:06Z"}, "useAt", "must not be more than 5 seconds ahead"),
    "a group that is a number": ({"accountGroups": [1]}, "accountGroups", TEXT),
    "groups that are a text": ({"accountGroups": "g"}, "accountGroups", "must be a list of at most 1000 texts"),
    "dimensions that are a list": ({"dimensions": []}, "dimensions", "must be texts by name"),
    "a key that is a number": ({"idempotencyKey": 1}, "idempotencyKey", "must be a text of 1 to 255 characters"),
    "a long key": ({"idempotencyKey": "k" * 256}, "idempotencyKey", "must be a text of 1 to 255 characters"),
    "an unknown field": ({"amountExact": "1"}, "amountExact", "is not known"),
    "an unknown field that no database holds": ({"\ud800": 1}, "\ud800", "is not known"),
    "a type of no execution credit": ({"kind": "EXECUTION_CREDIT"}, "currency", "must be one of AI_PENTEST, DAST"),
    "a resource of an execution credit": ({"kind": "EXECUTION_CREDIT", "currency": "DAST", "resource": "r"},
                                          "resource", "must not be given for EXECUTION_CREDIT"),
    "when one was used": ({"kind": "EXECUTION_CREDIT", "currency": "DAST", "useAt": NOW}, "useAt",
                          "must not be given for EXECUTION_CREDIT"),
    "half an execution credit": ({"kind": "EXECUTION_CREDIT", "currency": "DAST", "amount": Raw("1.5")}, "amount",
                                 "must be a whole number of at most 2147483647"),
}  # fmt: skip
"""What is wrong with a debit, the field, and what is said of it."""


@pytest.fixture
def holder(service: Service, customer: str) -> str:
    """A customer with 100 credits."""
    granted(service, customer)
    return customer


def test_a_debit_is_told_whole(service: Service, customer: str) -> None:
    first, second = granted(service, customer, 10, priority=1), granted(service, customer, 20)
    answer = sent(service, DEBITS, debit(customer, "12.5", useAt="2026-01-31T11:00:00+01:00"))
    told = answer.json()
    assert told == {
        "transactionId": told["transactionId"],
        "kind": "CREDIT_GRANT",
        "holder": customer,
        "currency": "credits",
        "resource": None,
        "amount": "12.5",
        "useAt": "2026-01-31T10:00:00.000Z",
        "recordedAt": NOW,
        "draws": [{"lot": first, "amount": "10"}, {"lot": second, "amount": "2.5"}],
        "poolBalance": "17.5",
        "position": answer.headers["X-Ledger-Position"],
        "replayed": False,
    }
    assert answer.headers["X-Ledger-Position"] == service.http.get("/readyz").json()["head"]
    assert "X-Ledger-Replayed" not in answer.headers


@pytest.mark.parametrize(
    "name", ['say "x", y', "back\\slash", "tab\tand\nline", "Zoë ☃", "\u2028", "</script>", "{}(,)"]
)
def test_names_are_told_as_they_were_given(service: Service, customer: str, name: str) -> None:
    holder = f"{customer} {name}"
    lot = granted(service, holder, currencyId=name)
    asked = debit(holder, 1, currency=name, idempotencyKey=f"key {name}")
    told, [result] = done(service, DEBITS, asked), done(service, BATCH, {"debits": [asked]})["results"]
    assert (told["holder"], told["currency"], told["draws"]) == (holder, name, [{"lot": lot, "amount": "1"}])
    assert result == {"index": 0, "debit": told | {"replayed": True}}


@pytest.mark.parametrize(
    ("amount", "exact"),
    [(1, "1"), (Raw("1.0"), "1"), (Raw("1.50"), "1.5"), ("1.50", "1.5"), (Raw("2e1"), "20"),
     (Raw("0.123456789"), "0.123456789"), ("12.345678901", "12.345678901"), (Raw("1E-9"), "0.000000001")],
)  # fmt: skip
def test_an_amount_is_read_by_its_text(service: Service, holder: str, amount: object, exact: str) -> None:
    assert done(service, DEBITS, debit(holder, amount))["amount"] == exact


def test_a_whole_number_has_every_digit(service: Service, customer: str) -> None:
    granted(service, customer, "9999999999999999999")
    assert done(service, DEBITS, debit(customer, 1234567890123456789))["amount"] == "1234567890123456789"


@pytest.mark.parametrize(
    "fields",
    [{}, {"resource": "r"}, {"useAt": "2026-01-30T00:00:00Z"}, {"accountGroups": ["b", "a"]},
     {"dimensions": {"feature": "search"}}],
    ids=lambda fields: next(iter(fields), "plain"),
)  # fmt: skip
def test_both_doors_tell_the_same_and_replay_each_other(
    service: Service, customer: str, fields: dict[str, Any]
) -> None:
    words = {"resource": "resourceId", "useAt": "createdAt", "accountGroups": "accountGroupIds"}
    of_graphql = {words.get(name, name): value for name, value in fields.items()}
    granted(service, customer, 100, **({"resourceId": "r"} if "resource" in fields else {}))
    first = done(service, DEBITS, debit(customer, "1.5", idempotencyKey="one", **fields))
    second = by_graphql(service, customer, "1.5", "two", **of_graphql)
    assert first | {"transactionId": "", "position": ""} == first | second | {"transactionId": "", "position": ""}
    assert int(second["position"]) == int(first["position"]) + 1
    again = done(service, DEBITS, debit(customer, Raw("1.50"), idempotencyKey="two", **fields))
    assert first | {"replayed": True} == first | by_graphql(service, customer, "1.50", "one", **of_graphql)
    assert second | {"replayed": True} == {name: again[name] for name in second}


def test_an_execution_credit_is_debited_as_through_graphql(service: Service, customer: str) -> None:
    allotted(service, customer)
    given = execution(customer, 7, idempotencyKey="k", dimensions={"projectId": "p"})
    told = done(service, DEBITS, given)
    assert (told["kind"], told["amount"], told["poolBalance"]) == ("EXECUTION_CREDIT", "7", "93")
    same = {"companyId": customer, "creditType": "DAST", "credits": 7, "idempotencyKey": "k", "projectId": "p"}
    assert service.data(DEBIT, input=same)["answer"]["transactionId"] == told["transactionId"]
    short = refused(service, DEBITS, execution(customer, 94))
    assert (short["status"], short["code"]) == (409, "InsufficientCredits")
    assert (short["availableExact"], short["shortfallExact"]) == ("93", "1")


def test_a_key_in_the_header_is_the_same_key(service: Service, holder: str) -> None:
    header = {"Idempotency-Key": "key"}
    first = done(service, DEBITS, debit(holder), header)
    for body, headers in ((debit(holder, idempotencyKey="key"), None), (debit(holder, idempotencyKey="key"), header)):
        answer = sent(service, DEBITS, body, headers)
        assert answer.json() == first | {"replayed": True}
        assert answer.headers["X-Ledger-Replayed"] == "true"
        assert answer.headers["X-Ledger-Position"] == first["position"]
    told = refused(service, DEBITS, debit(holder, idempotencyKey="other"), header)
    assert (told["status"], told["field"]) == (400, "idempotencyKey")
    for given in ([(b"Idempotency-Key", b"a"), (b"Idempotency-Key", b"b")], [(b"Idempotency-Key", "é".encode())]):
        answer = service.http.post(DEBITS, json=debit(holder), headers=given)
        assert (answer.status_code, answer.json()["field"]) == (400, "Idempotency-Key")
    assert (
        service.http.post(BATCH, json={"debits": [debit(holder)]}, headers=header).json()["field"] == "Idempotency-Key"
    )


def test_a_key_with_another_body_is_told_the_fields(service: Service, holder: str) -> None:
    done(service, DEBITS, debit(holder, idempotencyKey="key"))
    told = refused(service, DEBITS, debit(holder, 2, accountGroups=["g"], useAt=NOW, idempotencyKey="key"))
    assert (told["status"], told["code"]) == (409, "IdempotencyKeyReused")
    assert told["differing"] == ["accountGroups", "amount", "useAt"]


@pytest.mark.parametrize("name", list(REFUSALS))
def test_what_is_refused_is_told_by_its_field_and_alike_in_a_batch(service: Service, holder: str, name: str) -> None:
    fields, field, reason = REFUSALS[name]
    given = debit(holder) | fields
    told = refused(service, DEBITS, given)
    assert (told["status"], told["code"]) == (400, "InvalidArgumentError")
    assert (told["field"], told["reason"], told["message"]) == (field, reason, f"{field} {reason}")
    before, error, after = used(service, debit(holder), given, debit(holder))
    assert error == {name: told[name] for name in ("code", "message", "field", "reason")}
    assert int(after["position"]) == int(before["position"]) + 1


def test_too_few_credits_are_told_alike_through_all_doors(service: Service, holder: str) -> None:
    told = refused(service, DEBITS, debit(holder, "100.5"))
    (item,) = used(service, debit(holder, "100.5"))
    given = {"customerId": holder, "currencyId": "credits", "amountExact": "100.5", "idempotencyKey": "k"}
    facts = service.refusal(CONSUME, input=given)
    assert told["status"] == 409
    assert facts == {name: told[name] for name in facts}
    assert item == facts | {"message": told["message"]}
    assert facts["shortfallExact"] == "0.5"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"1", b'"text"', b'{"holder": NaN}', b'{"amount": Infinity}', b"\xff", b"{}x",
     b'{"a":' * 20_000, "{}".encode("utf-16")],
    ids=lambda body: ascii(body[:8]),
)  # fmt: skip
@pytest.mark.parametrize("path", [DEBITS, BATCH, REFUNDS])
def test_what_is_no_json_object_is_refused(service: Service, path: str, body: bytes) -> None:
    told = refused(service, path, body)
    assert (told["status"], told["code"]) == (400, "InvalidArgumentError")
    assert told["field"] in {"body", "debit", "refund"}


def test_a_body_that_is_too_large_is_refused(service: Service) -> None:
    for path in (DEBITS, BATCH, REFUNDS):
        assert refused(service, path, b" " * (2 * 1024 * 1024 + 1))["code"] == "BodyTooLarge"


def test_who_may_not_write_is_refused(service: Service, schema: Database, holder: str) -> None:
    bodies = {DEBITS: debit(holder), BATCH: {"debits": [debit(holder)]}, REFUNDS: {"transactionId": "x"}}
    for path, body in bodies.items():
        for role in ("reader", "auditor"):
            told = refused(service, path, body, as_key(key_for(schema, role)))
            assert (told["status"], told["code"]) == (403, "IdentityForbidden")
        for unknown in ({"X-API-KEY": ""}, {"X-API-KEY": "key-0.secret"}):
            assert refused(service, path, body, unknown)["code"] == "Unauthenticated"
    assert balances(service, holder)[0]["booked"] == "100"


def test_a_bound_key_uses_what_is_its_holders_alone(service: Service, schema: Database, holder: str) -> None:
    other = f"customer-{secrets.token_hex(6)}"
    granted(service, other)
    mine = as_key(key_for(schema, "writer", holder))
    theirs = done(service, DEBITS, debit(other, idempotencyKey="k"))
    assert done(service, DEBITS, debit(holder), mine)["poolBalance"] == "99"
    told = refused(service, DEBITS, debit(other, idempotencyKey="k"), mine)
    assert (told["status"], told["code"]) == (403, "IdentityForbidden")
    first, second = used(service, debit(other), debit(holder), headers=mine)
    assert (first["code"], second["poolBalance"]) == ("IdentityForbidden", "98")
    assert refused(service, REFUNDS, {"transactionId": theirs["transactionId"]}, mine)["code"] == "TransactionNotFound"
    for path in (f"/v1/balances/{other}", f"/v1/balances/{secrets.token_hex(4)}"):
        assert service.http.get(path, headers=mine).status_code == 403
    assert service.http.get(f"/v1/balances/{holder}", headers=mine).json()["pools"][0]["booked"] == "98"


def test_it_is_the_keys_deed(service: Service, schema: Database, holder: str) -> None:
    key = key_for(schema, "writer")
    done(service, DEBITS, debit(holder), as_key(key) | {"X-Request-Id": "the-request"})
    (event,) = service.http.get("/v1/events", params={"holder": holder, "types": "ledger.debited"}).json()
    assert event["data"]["actor"] == {"kind": "API_KEY", "key": key.partition(".")[0]}
    assert event["data"]["correlationId"] == "the-request"
    revoke(schema, key)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
@pytest.mark.parametrize("path", [DEBITS, BATCH, REFUNDS])
def test_there_is_no_other_method(service: Service, path: str, method: str) -> None:
    answer = service.http.request(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
