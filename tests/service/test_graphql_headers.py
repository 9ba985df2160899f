"""What every answer carries: the position it is right at, and the request's id."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.service.serving import Service

CREATE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
CONSUME = "mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { position } }"
READ = {
    "creditGrants": "query ($input: GetCreditGrantsInput!) { creditGrants(input: $input) { totalCount } }",
    "creditBalanceSummary": """
        query ($input: CreditBalanceSummaryInput!) { creditBalanceSummary(input: $input) { customerId } }
    """,
    "creditsLedger": "query ($input: CreditLedgerInput!) { creditsLedger(input: $input) { totalCount } }",
    "creditUsage": "query ($input: CreditUsageInput!) { creditUsage(input: $input) { customerId } }",
}
FAR = str(10**17)
GARBAGE = ["", "-1", "+1", "1.5", "1e3", "0x1", "abc", "1 2", "1_000", "9" * 19, "9" * 5_000, "\u0661", "null"]


def head(service: Service) -> str:
    found: str = service.http.get("/readyz").json()["head"]
    return found


def grant_of(service: Service, customer: str) -> httpx.Response:
    given = {"customerId": customer, "currencyId": "credits", "displayName": "g", "grantType": "PAID", "amount": 10}
    return service.graphql(CREATE, input=given)


def use(customer: str, amount: int = 1) -> dict[str, Any]:
    return {"customerId": customer, "currencyId": "credits", "amount": amount, "idempotencyKey": f"use {amount}"}


def test_a_mutation_is_answered_with_its_position(service: Service, customer: str) -> None:
    created = grant_of(service, customer)
    assert created.headers["X-Ledger-Position"] == head(service)
    used = service.graphql(CONSUME, input=use(customer))
    assert used.headers["X-Ledger-Position"] == used.json()["data"]["consumeCredits"]["position"] == head(service)
    assert int(used.headers["X-Ledger-Position"]) == int(created.headers["X-Ledger-Position"]) + 1
    grant_of(service, customer)
    again = service.graphql(CONSUME, input=use(customer))
    assert again.headers["X-Ledger-Position"] == used.headers["X-Ledger-Position"]


@pytest.mark.parametrize("read", list(READ))
def test_a_read_is_answered_with_a_position_that_shows_ones_own_writes(
    service: Service, customer: str, read: str
) -> None:
    written = grant_of(service, customer).headers["X-Ledger-Position"]
    by_header = service.graphql(READ[read], {"X-Ledger-At-Least": written}, input={"customerId": customer})
    by_input = service.graphql(READ[read], input={"customerId": customer, "atLeast": written})
    for answer in (by_header, by_input):
        assert "errors" not in answer.json()
        assert answer.headers["X-Ledger-Position"] == written == head(service)
        assert "X-Ledger-Stale" not in answer.headers


def test_every_answer_carries_a_position_and_an_id(service: Service, customer: str) -> None:
    written = grant_of(service, customer).headers["X-Ledger-Position"]
    http = service.http
    answers = [
        (200, service.graphql("{ __typename }")),
        (200, service.graphql("{ noSuchField }")),
        (200, service.graphql("{")),
        (200, service.graphql(CONSUME, input=use(customer, 1_000))),
        (200, service.graphql(CONSUME, input=use(customer, 0))),
        (400, http.post("/graphql", content="not JSON")),
        (401, http.post("/graphql", json={"query": "{ __typename }"}, headers={"X-API-KEY": "unknown"})),
        (405, http.get("/graphql")),
        (404, http.get("/no-such-path")),
        (413, http.post("/graphql", content=b" " * (2 * 1024 * 1024 + 1))),
        (200, http.get("/livez")),
        (200, http.get("/readyz")),
        (200, http.get("/test/clock")),
        (400, http.post("/test/clock", json={"now": "never"})),
    ]
    assert [answer.status_code for _, answer in answers] == [status for status, _ in answers]
    assert {answer.headers["X-Ledger-Position"] for _, answer in answers} == {written}
    ids = [uuid.UUID(answer.headers["X-Request-Id"]) for _, answer in answers]
    assert len(set(ids)) == len(answers)
    assert all(len(answer.headers.get_list(name)) == 1 for _, answer in answers for name in ("X-Ledger-Position",))


@pytest.mark.parametrize("position", GARBAGE, ids=lambda text: ascii(text)[:12])
def test_what_is_no_position_is_refused_and_nothing_is_carried_out(
    service: Service, customer: str, position: str
) -> None:
    before = grant_of(service, customer).headers["X-Ledger-Position"]
    for query, given in ((CONSUME, use(customer)), (READ["creditsLedger"], {"customerId": customer})):
        body = json.dumps({"query": query, "variables": {"input": given}})
        answer = service.http.post("/graphql", content=body, headers={b"X-Ledger-At-Least": position.encode()})
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["extensions"]["code"]) == (400, "InvalidArgumentError")
        assert error["extensions"]["field"] == "X-Ledger-At-Least"
    assert head(service) == before


@pytest.mark.parametrize("read", list(READ))
def test_at_least_in_an_input_is_a_position(service: Service, customer: str, read: str) -> None:
    for position in GARBAGE:
        refusal = service.refusal(READ[read], input={"customerId": customer, "atLeast": position})
        assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", "atLeast")
    for value in (1, 1.5, True, ["1"]):
        assert service.refusal(READ[read], input={"customerId": customer, "atLeast": value})["code"] == (
            "InvalidArgumentError"
        )
    for reached in ("0", "1", None):
        assert service.data(READ[read], input={"customerId": customer, "atLeast": reached})


def test_a_position_that_is_not_there_yet_can_be_asked_for_again(service: Service, customer: str) -> None:
    """Named in the header or in the input; both are asked at once, as each waits its whole time."""
    written = grant_of(service, customer).headers["X-Ledger-Position"]
    asks = [
        (READ["creditGrants"], {"X-Ledger-At-Least": FAR}, {"customerId": customer}),
        (READ["creditBalanceSummary"], None, {"customerId": customer, "atLeast": FAR}),
    ]
    with ThreadPoolExecutor(len(asks)) as threads:
        answers = list(threads.map(lambda asked: service.graphql(asked[0], asked[1], input=asked[2]), asks))
    for answer in answers:
        (error,) = answer.json()["errors"]
        assert answer.status_code == 503
        assert error["extensions"] == {"code": "PositionNotReached", "wanted": int(FAR), "reached": int(written)}
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.headers["X-Ledger-Position"] == written


@pytest.mark.parametrize("given", ["a", "A.b_c:d-1", "x" * 128, "00000000-0000-0000-0000-000000000000"])
def test_the_id_of_a_request_is_the_callers(service: Service, given: str) -> None:
    for answer in (
        service.graphql("{ __typename }", {"X-Request-Id": given}),
        service.graphql("{ noSuchField }", {"X-Request-Id": given}),
        service.http.get("/livez", headers={"X-Request-Id": given}),
        service.http.get("/no-such-path", headers={"X-Request-Id": given}),
    ):
        assert answer.headers.get_list("X-Request-Id") == [given]


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a/b", 'a"b', "a\tb", "\u00e9", "{}", "a,b"], ids=ascii)
def test_an_id_that_would_not_fit_a_log_is_replaced(service: Service, given: str) -> None:
    answer = service.http.get("/livez", headers={b"X-Request-Id": given.encode()})
    (made,) = answer.headers.get_list("X-Request-Id")
    assert made != given
    assert str(uuid.UUID(made)) == made
