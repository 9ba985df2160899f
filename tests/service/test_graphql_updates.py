"""A grant that is changed: what may change and what never does, from which instant on, and what the ledger tells of it.

Some tests move the clock, forward only.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier
from typing import Any

import pytest

from tests.service.serving import ANSWER_SECONDS_MAX, Service, client_of
from tests.service.test_graphql_clock import MICROSECOND, SECOND, move, now, read, wire

GRANT = """
fragment Whole on CreditGrant {
  id grantId displayName grantType status amount amountExact consumedAmount consumedAmountExact remainingAmount
  cost { amount amountExact currency } customerId resourceId currencyId effectiveAt createdAt updatedAt expireAt
  voidedAt invoiceId latestInvoice { billingId } paymentCollection priority priorityExact
  automaticRechargeConfigurationId comment additionalMetaData rolledOverFrom rolledOverTo
}
"""
CREATE = GRANT + "mutation ($input: CreditGrantInput!) { answer: createCreditGrant(input: $input) { ...Whole } }"
UPDATE = GRANT + "mutation ($input: UpdateCreditGrantInput!) { answer: updateCreditGrant(input: $input) { ...Whole } }"
READ = GRANT + "query ($id: String!) { answer: creditGrant(id: $id) { ...Whole } }"
VOID = "mutation ($input: VoidCreditGrantInput!) { voidCreditGrant(input: $input) { status } }"
CONSUME = """
mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { draws { creditGrantId amountExact } } }
"""
SUMMARY = """
query ($customer: String!) {
  creditBalanceSummary(input: {customerId: $customer}) { balances { currentBalanceExact validUntil } }
}
"""
LEDGER = """
query ($customer: String!, $types: [CreditLedgerEventType!]) {
  creditsLedger(input: {customerId: $customer, eventType: $types}) {
    totalCount
    edges {
      node {
        timestamp eventType amount amountExact signedAmount balanceAfter grantBalanceAfter customerId resourceId
        creditGrantId creditCurrencyId eventId transactionId featureId position recordedAt actor reason
        grant { displayName }
      }
    }
  }
}
"""
FULL: dict[str, Any] = {
    "currencyId": "credits", "displayName": "Welcome", "grantType": "PAID", "amount": 50, "priority": 3,
    "cost": {"amount": 9.9, "currency": "EUR"}, "effectiveAt": "2026-01-01T00:00:00Z",
    "expireAt": "2090-01-01T00:00:00Z", "comment": "why", "additionalMetaData": {"order": {"lines": [1, 2]}, "b": None},
}  # fmt: skip
LATER = "2090-06-01T00:00:00.000Z"


def head(service: Service) -> str:
    found: str = service.http.get("/readyz").json()["head"]
    return found


def grant_of(service: Service, customer: str, **given: Any) -> Any:
    return service.data(CREATE, input=FULL | {"customerId": customer} | given)["answer"]


def use_of(service: Service, customer: str, amount: int, key: str = "use") -> list[str]:
    """Use credits; returns the ids of the grants that paid."""
    use = {"customerId": customer, "currencyId": "credits", "amount": amount, "idempotencyKey": key}
    return [draw["creditGrantId"] for draw in service.data(CONSUME, input=use)["consumeCredits"]["draws"]]


def update_of(service: Service, grant: Any, **changes: Any) -> Any:
    """The answer of an update, which a read afterwards gives again."""
    answer = service.data(UPDATE, input={"id": grant["id"]} | changes)["answer"]
    assert read(service, READ, id=grant["id"])["answer"] == answer
    return answer


def refusal_of(service: Service, grant: Any, **changes: Any) -> dict[str, Any]:
    """How an update is refused; nothing is written."""
    before = head(service)
    refusal = service.refusal(UPDATE, input={"id": grant["id"]} | changes)
    assert head(service) == before
    return refusal


@pytest.mark.parametrize(
    ("change", "answered"),
    [
        ({"displayName": "Farewell"},                           {}),
        ({"expireAt": "2090-06-01T01:00:00+01:00"},             {"expireAt": LATER}),
        ({"priority": 99.5},                                    {"priorityExact": "99.5"}),
        ({"comment": "because"},                                {}),
        ({"additionalMetaData": {"b": [], "a": 1.5}},           {}),
        ({"displayName": "Farewell", "comment": "because"},     {}),
        ({"expireAt": LATER, "priority": 0},                    {"priorityExact": "0"}),
        (
            {"displayName": "F", "expireAt": LATER, "priority": 4, "comment": "c", "additionalMetaData": {"x": "y"}},
            {"priorityExact": "4"},
        ),
        ({"displayName": "Farewell", "effectiveAt": None, "priority": None}, {"effectiveAt": "2026-01-01T00:00:00.000Z",
                                                                              "priority": 3}),
        ({"comment": "because", "displayName": None},           {"displayName": "Welcome"}),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_given_changes_and_what_is_absent_stays(
    service: Service, customer: str, change: dict[str, Any], answered: dict[str, Any]
) -> None:
    """Amount, cost and consumption never do."""
    grant_of(service, customer)
    use_of(service, customer, 20)
    (page,) = read(service, LEDGER, customer=customer, types=["CREDITS_GRANTED"])["creditsLedger"]["edges"]
    before = read(service, READ, id=page["node"]["creditGrantId"])["answer"]
    assert (before["consumedAmountExact"], before["remainingAmount"]) == ("20", "30")
    assert update_of(service, before, **change) == before | change | answered


@pytest.mark.parametrize(
    ("change", "cleared"),
    [
        ({"expireAt": None},            "expireAt"),
        ({"comment": None},             "comment"),
        ({"comment": ""},               "comment"),
        ({"additionalMetaData": None},  "additionalMetaData"),
        ({"additionalMetaData": {}},    "additionalMetaData"),
    ],
    ids=str,
)  # fmt: skip
def test_null_takes_away_and_nothing_else_goes(
    service: Service, customer: str, change: dict[str, Any], cleared: str
) -> None:
    grant = grant_of(service, customer)
    assert grant[cleared] is not None
    assert update_of(service, grant, **change) == grant | {cleared: None}
    assert update_of(service, grant, **change) == grant | {cleared: None}  # what is gone may be taken away again


def test_one_update_may_take_all_away_that_can_be(service: Service, customer: str) -> None:
    gone = {"expireAt": None, "comment": None, "additionalMetaData": None}
    grant = grant_of(service, customer)
    assert update_of(service, grant, displayName="Farewell", **gone) == grant | {"displayName": "Farewell"} | gone


def test_what_was_taken_away_can_be_given_again(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    update_of(service, grant, expireAt=None, comment=None, additionalMetaData=None)
    again = {"expireAt": LATER, "comment": "c", "additionalMetaData": {"x": 1}}
    assert update_of(service, grant, **again) == grant | again


def test_a_grant_that_has_not_begun_may_begin_at_another_instant(service: Service, customer: str) -> None:
    grant = grant_of(service, customer, effectiveAt="2080-01-01T00:00:00Z")
    assert grant["status"] == "PENDING"
    later = update_of(service, grant, effectiveAt="2081-01-01T00:00:00Z")
    assert later == grant | {"effectiveAt": "2081-01-01T00:00:00.000Z"}
    begun = update_of(service, grant, effectiveAt=wire(now(service)))
    assert begun == grant | {"effectiveAt": wire(now(service)), "status": "ACTIVE"}
    assert use_of(service, customer, 50) == [grant["id"]]


def test_an_update_is_dated_at_its_instant(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    move(service, now(service) + SECOND)
    updated = update_of(service, grant, comment="because")
    assert (updated["updatedAt"], updated["createdAt"]) == (wire(now(service)), grant["createdAt"])


def test_a_grant_is_updated_by_any_of_its_names(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    for name in (grant["id"], grant["id"].upper(), grant["grantId"]):
        updated = service.data(UPDATE, input={"id": name, "comment": name})["answer"]
        assert updated == grant | {"comment": name}


@pytest.mark.parametrize(
    "change",
    [{"priority": 0}, {"expireAt": "2089-12-31T23:59:59.999999Z"}],
    ids=["priority", "end"],
)
def test_who_pays_next_follows_at_once(service: Service, customer: str, change: dict[str, Any]) -> None:
    first, second = (grant_of(service, customer, displayName=name) for name in ("first", "second"))
    assert use_of(service, customer, 1, "before") == [first["id"]]
    update_of(service, second, **change)
    assert use_of(service, customer, 1, "after") == [second["id"]]
    assert use_of(service, customer, 51, "rest") == [second["id"], first["id"]]


def test_a_grant_that_never_expires_any_more_pays_last(service: Service, customer: str) -> None:
    first, second = (grant_of(service, customer, displayName=name) for name in ("first", "second"))
    update_of(service, first, expireAt=None)
    assert use_of(service, customer, 51) == [second["id"], first["id"]]


def test_a_balance_is_valid_until_the_new_end(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    for ends in (LATER, None):
        update_of(service, grant, expireAt=ends)
        (row,) = read(service, SUMMARY, customer=customer)["creditBalanceSummary"]["balances"]
        assert row == {"currentBalanceExact": "50", "validUntil": ends}


def test_a_grant_ends_at_its_new_end_and_not_at_its_old_one(service: Service, customer: str) -> None:
    old_end = now(service) + SECOND
    longer, shorter = (grant_of(service, customer, displayName=name, expireAt=wire(old_end)) for name in "ab")
    update_of(service, longer, expireAt=wire(old_end + SECOND))
    update_of(service, shorter, expireAt=wire(old_end - MICROSECOND))
    for instant, left in [(old_end - MICROSECOND, ["a"]), (old_end, ["a"]), (old_end + SECOND, [])]:
        move(service, instant)
        usable = [g for g in (longer, shorter) if read(service, READ, id=g["id"])["answer"]["status"] == "ACTIVE"]
        assert [grant["displayName"] for grant in usable] == left
        (row,) = read(service, SUMMARY, customer=customer)["creditBalanceSummary"]["balances"]
        assert row["currentBalanceExact"] == str(50 * len(left))
    page = read(service, LEDGER, customer=customer, types=["CREDITS_EXPIRED"])["creditsLedger"]
    assert [(edge["node"]["grant"]["displayName"], edge["node"]["timestamp"]) for edge in page["edges"]] == [
        ("a", wire(old_end + SECOND)),
        ("b", wire(old_end - MICROSECOND)),
    ]


@pytest.mark.parametrize("name", ["00000000-0000-4000-8000-000000000000", "cg-nosuchgrant12", "nobody's"])
def test_a_grant_that_is_not_there_cannot_be_updated(service: Service, name: str) -> None:
    refusal = service.refusal(UPDATE, input={"id": name, "comment": "because"})
    assert refusal == {"code": "CreditGrantNotFound", "grant": name}


@pytest.mark.parametrize(
    "change",
    [
        {"displayName": "F"},
        {"comment": None},
        {"additionalMetaData": {"x": 1}},
        {"priority": 3},
        {"expireAt": LATER},
        {"expireAt": "2000-01-01T00:00:00Z"},
        {"effectiveAt": LATER},
    ],
    ids=str,
)
def test_a_void_grant_cannot_be_updated(service: Service, customer: str, change: dict[str, Any]) -> None:
    """Whatever else would be wrong with it."""
    ended = now(service) + SECOND
    grant = grant_of(service, customer, expireAt=wire(ended))
    service.data(VOID, input={"id": grant["id"]})
    for instant in (ended - SECOND, ended):
        move(service, instant)
        assert refusal_of(service, grant, **change) == {"code": "CreditGrantAlreadyVoided", "grant": grant["id"]}


@pytest.mark.parametrize("ends", [LATER, None, "2000-01-01T00:00:00Z"])
def test_an_expired_grant_gets_no_other_end(service: Service, customer: str, ends: str | None) -> None:
    ended = now(service) + SECOND
    grant = grant_of(service, customer, expireAt=wire(ended))
    move(service, ended)
    code = "CannotUpdateExpireAtForExpiredCreditGrantError"
    for more in ({}, {"comment": "c"}, {"effectiveAt": LATER}):
        assert refusal_of(service, grant, expireAt=ends, **more) == {"code": code, "grant": grant["id"]}
    renamed = update_of(service, grant, displayName="Farewell", priority=1)  # the rest of it may be put right
    assert (renamed["displayName"], renamed["status"], renamed["expireAt"]) == ("Farewell", "EXPIRED", wire(ended))


def test_the_end_may_change_until_the_last_microsecond(service: Service, customer: str) -> None:
    ended = now(service) + SECOND
    grant = grant_of(service, customer, expireAt=wire(ended))
    move(service, ended - MICROSECOND)
    assert update_of(service, grant, expireAt=wire(ended + SECOND))["status"] == "ACTIVE"
    move(service, ended)
    assert use_of(service, customer, 50) == [grant["id"]]


BEGINS, ENDS = "2080-01-01T00:00:00Z", "2090-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "change",
    [
        {"expireAt": BEGINS},
        {"expireAt": "2079-12-31T23:59:59.999999Z"},
        {"expireAt": "2000-01-01T00:00:00Z"},
        {"effectiveAt": ENDS},
        {"effectiveAt": "2090-01-01T00:00:00.000001Z"},
        {"effectiveAt": ENDS, "expireAt": ENDS},
        {"effectiveAt": "2085-01-01T00:00:00Z", "expireAt": "2084-01-01T00:00:00Z"},
    ],
    ids=str,
)
def test_a_grant_ends_after_it_begins(service: Service, customer: str, change: dict[str, Any]) -> None:
    grant = grant_of(service, customer, effectiveAt=BEGINS, expireAt=ENDS)
    refusal = refusal_of(service, grant, **change)
    assert (set(refusal), refusal["code"]) == (
        {"code", "expireAt", "effectiveAt"}, "ExpireAtMustBeLaterThanEffectiveAtError",
    )  # fmt: skip
    assert datetime.fromisoformat(refusal["expireAt"]) <= datetime.fromisoformat(refusal["effectiveAt"])


def test_begin_and_end_are_judged_together(service: Service, customer: str) -> None:
    grant = grant_of(service, customer, effectiveAt=BEGINS, expireAt=ENDS)
    changed = update_of(service, grant, effectiveAt=ENDS, expireAt="2090-01-01T00:00:00.000001Z")
    assert (changed["effectiveAt"], changed["expireAt"]) == ("2090-01-01T00:00:00.000Z", "2090-01-01T00:00:00.000001Z")
    forever = update_of(service, grant, effectiveAt="2095-01-01T00:00:00Z", expireAt=None)
    assert (forever["effectiveAt"], forever["expireAt"]) == ("2095-01-01T00:00:00.000Z", None)


def test_an_end_lies_after_now(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    for ends in (now(service), now(service) - MICROSECOND):
        refusal = refusal_of(service, grant, expireAt=wire(ends))
        assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", "expireAt")
    update_of(service, grant, expireAt=wire(now(service) + MICROSECOND))


def test_a_beginning_that_has_come_stays(service: Service, customer: str) -> None:
    begins = now(service) + SECOND
    grant = grant_of(service, customer, effectiveAt=wire(begins))
    move(service, begins)
    for change in ({"effectiveAt": LATER}, {"effectiveAt": wire(begins)}, {"effectiveAt": LATER, "expireAt": LATER}):
        refusal = refusal_of(service, grant, **change)
        assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", "effectiveAt")


@pytest.mark.parametrize("change", [{}, {"idempotencyKey": "key"}, {"displayName": None, "priority": None}], ids=str)
def test_an_update_of_nothing_is_none(service: Service, customer: str, change: dict[str, Any]) -> None:
    grant = grant_of(service, customer)
    assert refusal_of(service, grant, **change)["code"] == "InvalidArgumentError"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"displayName": ""},                              "displayName"),
        ({"displayName": "x" * 201},                       "displayName"),
        ({"displayName": "a\0b"},                          "displayName"),
        ({"displayName": "a\ud800b"},                      "displayName"),
        ({"displayName": 5},                               "displayName"),
        ({"comment": "x" * 201},                           "comment"),
        ({"comment": "a\0b"},                              "comment"),
        ({"comment": "a\udfffb"},                          "comment"),
        ({"additionalMetaData": {"x": "y" * 16_384}},      "additionalMetaData"),
        ({"additionalMetaData": {"x": "a\0b"}},            "additionalMetaData"),
        ({"additionalMetaData": {"\ud800": 1}},            "additionalMetaData"),
        ({"additionalMetaData": [1]},                      "additionalMetaData"),
        ({"additionalMetaData": "text"},                   "additionalMetaData"),
        ({"priority": -0.000000001},                       "priority"),
        ({"priority": -1},                                 "priority"),
        ({"priority": 100.000000001},                      "priority"),
        ({"priority": 101},                                "priority"),
        ({"priority": 0.0000000001},                       "priority"),
        ({"priority": "50"},                               "priority"),
        ({"expireAt": "2090-01-01T00:00:00"},              "expireAt"),
        ({"expireAt": "2090-01-01T00:00:00.0000001Z"},     "expireAt"),
        ({"expireAt": "tomorrow"},                         "expireAt"),
        ({"effectiveAt": "2090-02-30T00:00:00Z"},          "effectiveAt"),
        ({"idempotencyKey": "", "comment": "c"},           "idempotencyKey"),
        ({"idempotencyKey": "x" * 256, "comment": "c"},    "idempotencyKey"),
        ({"amount": 60},                                   "amount"),
        ({"amountExact": "60"},                            "amountExact"),
        ({"cost": {"amount": 1}},                          "cost"),
        ({"grantType": "PROMOTIONAL"},                     "grantType"),
        ({"currencyId": "tokens"},                         "currencyId"),
        ({"resourceId": "site-1"},                         "resourceId"),
        ({"customerId": "somebody else"},                  "customerId"),
    ],
    ids=lambda value: repr(value)[:50],
)  # fmt: skip
def test_what_no_grant_can_become_is_refused_by_its_field(
    service: Service, customer: str, change: dict[str, Any], field: str
) -> None:
    grant = grant_of(service, customer)
    before = head(service)
    asked = {"query": UPDATE, "variables": {"input": {"id": grant["id"]} | change}}
    answer = service.http.post("/graphql", content=json.dumps(asked)).json()  # lone surrogates are escaped
    (error,) = answer["errors"]
    assert (answer.get("data") or {"answer": None}) == {"answer": None}
    assert error["extensions"]["code"] == "InvalidArgumentError"
    assert field in error["message"]
    assert head(service) == before
    assert read(service, READ, id=grant["id"])["answer"] == grant


@pytest.mark.parametrize("priority", [0, 0.000000001, 99.999999999, 100])
def test_priorities_reach_from_0_to_100(service: Service, customer: str, priority: float) -> None:
    grant = grant_of(service, customer)
    assert update_of(service, grant, priority=priority)["priority"] == priority


def test_the_longest_texts_fit(service: Service, customer: str) -> None:
    longest = {"displayName": "\u00e9" * 200, "comment": "\U0001f4b6" * 200}
    grant = grant_of(service, customer)
    assert update_of(service, grant, **longest) == grant | longest


def test_what_is_malformed_is_told_before_what_is_not_there(service: Service) -> None:
    for change in ({}, {"priority": 101}, {"comment": "x" * 201}):
        assert service.refusal(UPDATE, input={"id": "nobody's"} | change)["code"] == "InvalidArgumentError"


def test_the_ledger_tells_an_update_as_a_row_without_credits(service: Service, customer: str) -> None:
    other = grant_of(service, customer, displayName="other")
    grant = grant_of(service, customer, resourceId=None)
    use_of(service, customer, 10)
    answer = service.graphql(UPDATE, input={"id": grant["id"], "displayName": "Farewell", "priority": 1})
    newest, *others = [
        edge["node"] for edge in read(service, LEDGER, customer=customer, types=None)["creditsLedger"]["edges"]
    ]
    assert newest.pop("eventId") == newest.pop("transactionId")
    assert newest == {
        "timestamp": wire(now(service)), "eventType": "CREDITS_UPDATED", "amount": 0, "amountExact": "0",
        "signedAmount": "0", "balanceAfter": "90", "grantBalanceAfter": "50", "customerId": customer,
        "resourceId": None, "creditGrantId": grant["id"], "creditCurrencyId": "credits", "featureId": None,
        "position": answer.headers["X-Ledger-Position"], "recordedAt": wire(now(service)), "actor": "API_KEY:admin",
        "reason": None, "grant": {"displayName": "Farewell"},
    }  # fmt: skip
    assert [row["eventType"] for row in others] == ["CREDITS_CONSUMED", "CREDITS_GRANTED", "CREDITS_GRANTED"]
    update_of(service, other, comment=None)
    page = read(service, LEDGER, customer=customer, types=["CREDITS_UPDATED"])["creditsLedger"]
    assert [edge["node"]["creditGrantId"] for edge in page["edges"]] == [other["id"], grant["id"]]
    assert (page["totalCount"], page["edges"][0]["node"]["grantBalanceAfter"]) == (2, "40")


def test_an_update_sent_again_is_answered_as_the_first(service: Service, customer: str) -> None:
    """Also when the grant has changed since, was used, or is void."""
    grant = grant_of(service, customer)
    wanted = {
        "id": grant["id"], "displayName": "first", "expireAt": LATER, "priority": 7, "comment": None,
        "additionalMetaData": {"n": 1}, "idempotencyKey": "key",
    }  # fmt: skip
    first = service.graphql(UPDATE, input=wanted)
    assert first.json()["data"]["answer"]["displayName"] == "first"

    def again() -> str:
        before = head(service)
        answer = service.graphql(UPDATE, input=wanted)
        assert head(service) == before
        return answer.text

    assert again() == first.text
    update_of(service, grant, displayName="second", expireAt=None, comment="c", additionalMetaData={"n": 2}, priority=8)
    use_of(service, customer, 10)
    assert again() == first.text
    move(service, now(service) + SECOND)
    assert again() == first.text
    service.data(VOID, input={"id": grant["id"]})
    assert again() == first.text


@pytest.mark.parametrize(
    "same",
    [
        {"priority": 7.0},
        {"expireAt": "2090-06-01T02:00:00+02:00"},
        {"additionalMetaData": {"list": [1, {}], "n": 1, "none": None}},
        {"effectiveAt": None},
    ],
    ids=str,
)
def test_another_spelling_is_the_same_update(service: Service, customer: str, same: dict[str, Any]) -> None:
    grant = grant_of(service, customer)
    wanted = {
        "displayName": "n", "expireAt": LATER, "priority": 7, "additionalMetaData": {"n": 1.0, "list": [1.0, {}]},
        "idempotencyKey": "key",
    }  # fmt: skip
    first = service.data(UPDATE, input={"id": grant["id"]} | wanted)
    before = head(service)
    for name in (grant["id"], grant["grantId"]):
        assert service.data(UPDATE, input={"id": name} | wanted | same) == first
    assert head(service) == before


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ({"displayName": "m"},                              ["displayName"]),
        ({"priority": 8},                                   ["priority"]),
        ({"expireAt": "2090-06-01T00:00:00.000001Z"},       ["expireAt"]),
        ({"expireAt": None},                                ["expireAt"]),
        ({"comment": None},                                 ["comment"]),
        ({"additionalMetaData": {"n": 2}},                  ["additionalMetaData"]),
        ({"additionalMetaData": None},                      ["additionalMetaData"]),
        ({"effectiveAt": LATER},                            ["effectiveAt"]),
        ({"displayName": None, "priority": 7.5},            ["displayName", "priority"]),
    ],
    ids=str,
)  # fmt: skip
def test_another_update_under_the_same_key_is_a_conflict(
    service: Service, customer: str, other: dict[str, Any], differing: list[str]
) -> None:
    grant = grant_of(service, customer)
    wanted = {"displayName": "n", "expireAt": LATER, "priority": 7, "comment": "c", "additionalMetaData": {"n": 1}}
    update_of(service, grant, **wanted, idempotencyKey="key")
    refusal = refusal_of(service, grant, **wanted | other, idempotencyKey="key")
    assert (refusal["code"], refusal["key"], refusal["differing"]) == ("IdempotencyKeyReused", "key", differing)


@pytest.mark.parametrize(("field", "first"), [("expireAt", LATER), ("comment", "c"), ("additionalMetaData", {"n": 1})])
def test_to_leave_something_and_to_take_it_away_are_different_requests(
    service: Service, customer: str, field: str, first: Any
) -> None:
    bodies: list[dict[str, Any]] = [{}, {field: None}, {field: first}]
    for number, body in enumerate(bodies):
        grant = grant_of(service, customer)
        update_of(service, grant, displayName="n", idempotencyKey="key", **body)
        for other in bodies[:number] + bodies[number + 1 :]:
            refusal = refusal_of(service, grant, displayName="n", idempotencyKey="key", **other)
            assert (refusal["code"], refusal["differing"]) == ("IdempotencyKeyReused", [field])


def test_a_refused_update_keeps_no_key(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    refusal_of(service, grant, expireAt="2000-01-01T00:00:00Z", idempotencyKey="key")
    assert update_of(service, grant, expireAt=LATER, idempotencyKey="key")["expireAt"] == LATER


def test_a_key_is_free_for_another_grant(service: Service, customer: str) -> None:
    for name in ("a", "b"):
        grant = grant_of(service, customer, displayName=name)
        assert update_of(service, grant, comment=name, idempotencyKey="key")["displayName"] == name


def test_two_who_change_different_things_at_once_lose_nothing(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    together = Barrier(4)

    def change(field: str) -> None:
        with client_of(service.url, service.key) as http:
            for number in range(20):
                value = {"additionalMetaData": {"n": number}, "priority": number}.get(field, f"{field} {number}")
                together.wait(ANSWER_SECONDS_MAX)
                wanted = {"id": grant["id"], field: value}
                answer = http.post("/graphql", json={"query": UPDATE, "variables": {"input": wanted}}).json()
                assert answer["data"]["answer"][field] == value

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(change, f) for f in ("displayName", "comment", "additionalMetaData", "priority")]:
            done.result()
    last = {"displayName": "displayName 19", "comment": "comment 19", "additionalMetaData": {"n": 19}, "priority": 19}
    assert read(service, READ, id=grant["id"])["answer"] == grant | last | {"priorityExact": "19"}


def test_an_id_is_the_same_in_capitals(service: Service, customer: str) -> None:
    grant = grant_of(service, customer)
    for name in (grant["id"].upper(), grant["grantId"].upper()):
        assert read(service, READ, id=name)["answer"]["id"] == grant["id"]
    assert update_of(service, grant | {"id": grant["grantId"].upper()}, comment="x")["id"] == grant["id"]
