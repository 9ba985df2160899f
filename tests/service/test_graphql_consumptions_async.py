"""consumeCreditsAsync: up to 1000 uses in a request, each accepted or refused by itself, all durable when answered."""

import signal
from typing import Any

import pytest

from ledger.store.database import Database
from tests.service.serving import Service, serving
from tests.service.test_api_keys import as_key, key_for

ISSUE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id grantId } }"
RESPONSE = """
transactionId customerId currencyId resourceId amount amountExact timestamp
draws { creditGrantId grantId amount amountExact }
credit { currencyId currentUsage currentUsageExact usageLimit usageLimitExact timestamp } position replayed
"""
CONSUME_MANY = f"""
mutation ($input: ConsumeCreditsAsyncInput!) {{
  consumeCreditsAsync(input: $input) {{
    results {{ index response {{ {RESPONSE} }} error {{ code message }} }} position
  }}
}}
"""
CONSUME = f"mutation ($input: ConsumeCreditInput!) {{ consumeCredits(input: $input) {{ {RESPONSE} }} }}"
SUMMARY = """
query ($customer: String!) {
  creditBalanceSummary(input: {customerId: $customer}) { balances { currentBalanceExact totalConsumedExact } }
}
"""
LEDGER = """
query ($customer: String!, $after: String) {
  creditsLedger(input: {customerId: $customer, eventType: [CREDITS_CONSUMED], paging: {first: 100, after: $after}}) {
    totalCount edges { node { transactionId amountExact position } } pageInfo { endCursor hasNextPage }
  }
}
"""
NOW = "2026-01-31T12:00:00.000Z"
"""Where the test clock stands."""
MANY = 1000


def grant_of(service: Service, customer: str, amount: int, **given: Any) -> Any:
    fields = {"customerId": customer, "currencyId": "credits", "displayName": "g", "grantType": "PAID"}
    return service.data(ISSUE, input=fields | {"amount": amount} | given)["createCreditGrant"]


def use(customer: str, key: str, **given: Any) -> dict[str, Any]:
    return {"customerId": customer, "currencyId": "credits", "amount": 1, "idempotencyKey": key} | given


def use_all(service: Service, *uses: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    return service.data(CONSUME_MANY, headers, input={"consumptions": list(uses)})["consumeCreditsAsync"]


def codes(answer: Any) -> list[str | None]:
    """The code of each error, in the order of the list; every result is either a response or an error."""
    assert [result["index"] for result in answer["results"]] == list(range(len(answer["results"])))
    for result in answer["results"]:
        assert (result["response"] is None) != (result["error"] is None)
    return [result["error"] and result["error"]["code"] for result in answer["results"]]


def read(service: Service, query: str, **variables: Any) -> Any:
    """The data of a read at the head of the log."""
    return service.data(query, {"X-Ledger-At-Least": head(service)}, **variables)


def head(service: Service) -> str:
    found: str = service.http.get("/readyz").json()["head"]
    return found


def balance_of(service: Service, customer: str) -> tuple[str, str]:
    """What is left, and what was consumed."""
    (row,) = read(service, SUMMARY, customer=customer)["creditBalanceSummary"]["balances"]
    return row["currentBalanceExact"], row["totalConsumedExact"]


def transactions_of(service: Service, customer: str) -> list[str]:
    """The transactions of a customer's uses, oldest first."""
    found: list[str] = []
    after = None
    while True:
        page = read(service, LEDGER, customer=customer, after=after)["creditsLedger"]
        found += [edge["node"]["transactionId"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            assert page["totalCount"] == len(found)
            return found[::-1]
        after = page["pageInfo"]["endCursor"]


def test_a_list_of_one_is_answered_as_the_use_alone_would_be(service: Service, customer: str) -> None:
    grant = grant_of(service, customer, 10)
    answer = use_all(service, use(customer, "a", amount=2.5))
    (result,) = answer["results"]
    response = result["response"]
    assert result == {"index": 0, "response": response, "error": None}
    assert response == {
        "transactionId": response["transactionId"], "customerId": customer, "currencyId": "credits", "resourceId": None,
        "amount": 2.5, "amountExact": "2.5", "timestamp": NOW,
        "draws": [
            {"creditGrantId": grant["id"], "grantId": grant["grantId"], "amount": 2.5, "amountExact": "2.5"},
        ],
        "credit": {
            "currencyId": "credits", "currentUsage": 2.5, "currentUsageExact": "2.5", "usageLimit": 10,
            "usageLimitExact": "10", "timestamp": NOW,
        },
        "position": answer["position"], "replayed": False,
    }  # fmt: skip
    assert answer["position"] == head(service)
    alone = service.data(CONSUME, input=use(customer, "a", amountExact="2.5", amount=None))["consumeCredits"]
    assert alone == response | {"replayed": True}


def test_a_thousand_uses_are_answered_in_order_with_all_that_can_be_asked(service: Service, customer: str) -> None:
    grants = [grant_of(service, customer, 600, priority=priority)["grantId"] for priority in (1, 2)]
    answer = use_all(service, *(use(customer, f"k-{number}") for number in range(MANY)))
    assert codes(answer) == [None] * MANY
    responses = [result["response"] for result in answer["results"]]
    positions = [int(response["position"]) for response in responses]
    assert positions == sorted(set(positions))
    assert answer["position"] == str(positions[-1]) == head(service)
    assert [response["draws"][0]["grantId"] for response in responses] == [grants[0]] * 600 + [grants[1]] * 400
    assert {response["credit"]["currentUsageExact"] for response in responses} == {"1000"}
    assert [response["transactionId"] for response in responses] == transactions_of(service, customer)
    assert balance_of(service, customer) == ("200", "1000")


@pytest.mark.parametrize("count", [0, MANY + 1])
def test_a_list_that_is_empty_or_too_long_is_refused_as_a_whole(service: Service, customer: str, count: int) -> None:
    grant_of(service, customer, 2000)
    before = head(service)
    document = CONSUME_MANY.replace(RESPONSE, "transactionId")
    uses = [use(customer, f"k-{number}") for number in range(count)]
    refusal = service.refusal(document, input={"consumptions": uses})
    assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", "consumptions")
    assert head(service) == before


def bad(customer: str) -> dict[str, tuple[dict[str, Any], str]]:
    """Uses that are refused, with their codes; "taken" is the key of a use of 1."""
    invalid = "InvalidArgumentError"
    return {
        "amount 0": (use(customer, "z", amount=0), invalid),
        "amount below 0": (use(customer, "z", amount=-1), invalid),
        "no amount": (use(customer, "z", amount=None), invalid),
        "both twins": (use(customer, "z", amountExact="1"), invalid),
        "too many digits": (use(customer, "z", amount=1.1234567890123456), invalid),
        "too many places": (use(customer, "z", amount=None, amountExact="0.0000000001"), invalid),
        "no number": (use(customer, "z", amount=None, amountExact="one"), invalid),
        "empty key": (use(customer, ""), invalid),
        "long key": (use(customer, "x" * 256), invalid),
        "empty customer": (use("", "z"), invalid),
        "NUL": (use(customer, "z", resourceId="\0"), invalid),
        "too far ahead": (use(customer, "z", createdAt="2026-01-31T12:00:05.000001Z"), invalid),
        "dimensions that are no texts": (use(customer, "z", dimensions={"a": 1}), invalid),
        "unknown pool": (use(customer, "z", currencyId="nobody's"), "InsufficientCredits"),
        "unknown resource": (use(customer, "z", resourceId="nobody's"), "InsufficientCredits"),
        "insufficient": (use(customer, "z", amount=1000), "InsufficientCredits"),
        "key of another body": (use(customer, "taken", amount=2), "IdempotencyKeyReused"),
    }


@pytest.mark.parametrize("name", bad("nobody"))
def test_a_use_that_is_refused_fails_none_of_the_others(service: Service, customer: str, name: str) -> None:
    grant_of(service, customer, 10)
    service.data(CONSUME, input=use(customer, "taken"))
    refused, code = bad(customer)[name]
    ahead = use(customer, "ahead", createdAt="2026-01-31T12:00:05Z")  # just within the bound
    answer = use_all(service, use(customer, "a"), refused, ahead, refused, use(customer, "b"))
    assert codes(answer) == [None, code, None, code, None]
    if code != "InsufficientCredits":  # whose message tells what is left now
        (single,) = service.graphql(CONSUME, input=refused).json()["errors"]
        assert answer["results"][1]["error"] == {"code": single["extensions"]["code"], "message": single["message"]}
    assert answer["results"][2]["response"]["timestamp"] == NOW
    assert answer["position"] == answer["results"][4]["response"]["position"]
    assert balance_of(service, customer) == ("6", "4")


def test_a_list_of_refusals_alone_writes_nothing(service: Service, customer: str) -> None:
    before = head(service)
    answer = use_all(service, use(customer, "a"), use(customer, "b", amount=0))
    assert codes(answer) == ["InsufficientCredits", "InvalidArgumentError"]
    assert answer["position"] is None
    assert head(service) == before


def test_each_use_finds_what_those_before_it_left(service: Service, customer: str) -> None:
    grant_of(service, customer, 10)
    answer = use_all(service, *(use(customer, str(n), amount=amount) for n, amount in enumerate([6, 5, 4, 1])))
    assert codes(answer) == [None, "InsufficientCredits", None, "InsufficientCredits"]
    assert "4 available, 1 short" in answer["results"][1]["error"]["message"]
    assert balance_of(service, customer) == ("0", "10")


def test_the_same_key_twice_in_one_list_is_one_use(service: Service, customer: str) -> None:
    grant_of(service, customer, 10)
    respelt = use(customer, "a", amount=None, amountExact="1.0")
    answer = use_all(service, use(customer, "a"), respelt, use(customer, "a", amount=2), use(customer, "b"))
    assert codes(answer) == [None, None, "IdempotencyKeyReused", None]
    first, second, _, other = (result["response"] for result in answer["results"])
    assert second == first | {"replayed": True}
    assert (first["replayed"], other["replayed"]) == (False, False)
    assert balance_of(service, customer) == ("8", "2")


def test_a_refused_use_keeps_no_key_in_its_list(service: Service, customer: str) -> None:
    grant_of(service, customer, 10)
    answer = use_all(service, use(customer, "a", amount=11), use(customer, "a", amount=10))
    assert codes(answer) == ["InsufficientCredits", None]


def test_the_same_list_sent_again_is_replayed_whole(service: Service, customer: str) -> None:
    grant_of(service, customer, 100)
    uses = [use(customer, f"k-{number}") for number in range(50)]
    first = use_all(service, *uses[:40])
    service.data(CONSUME, input=use(customer, "between"))
    before = head(service)
    again = use_all(service, *uses[:40])
    assert [result["response"] for result in again["results"]] == [
        result["response"] | {"replayed": True, "credit": again["results"][0]["response"]["credit"]}
        for result in first["results"]
    ]
    assert again["position"] == first["position"]
    assert head(service) == before
    longer = use_all(service, *uses)
    assert [result["response"]["replayed"] for result in longer["results"]] == [True] * 40 + [False] * 10
    assert balance_of(service, customer) == ("49", "51")


def test_a_list_may_be_for_many_pools(service: Service, customer: str) -> None:
    """Each use draws on its own pool and tells that pool's state."""
    pools = [(f"{customer}-{number % 3}", None if number % 2 else "site") for number in range(6)]
    for number, (name, resource) in enumerate(pools):
        grant_of(service, name, 10 + number, resourceId=resource)
    answer = use_all(
        service,
        *(use(name, "key" if resource is None else "site's", resourceId=resource) for name, resource in pools),
    )
    assert codes(answer) == [None] * 6
    responses = [result["response"] for result in answer["results"]]
    assert [(told["customerId"], told["resourceId"]) for told in responses] == pools
    assert [told["credit"]["usageLimit"] for told in responses] == [10, 11, 12, 13, 14, 15]


def test_another_customers_use_is_forbidden_alone(service: Service, schema: Database, customer: str) -> None:
    """Whether or not there is such a customer; a key of his that was answered before is not told either."""
    other = f"{customer}-other"
    for name in (customer, other):
        grant_of(service, name, 10)
    service.data(CONSUME, input=use(other, "his"))
    headers = as_key(key_for(schema, "writer", customer))
    answer = use_all(
        service, use(customer, "a"), use(other, "b"), use(other, "his"), use("nobody", "c"), use(customer, "d"),
        headers=headers,
    )  # fmt: skip
    assert codes(answer) == [None, "IdentityForbidden", "IdentityForbidden", "IdentityForbidden", None]
    assert len({result["error"]["message"] for result in answer["results"] if result["error"]}) == 1
    assert (balance_of(service, customer), balance_of(service, other)) == (("8", "2"), ("9", "1"))


@pytest.mark.parametrize("role", ["reader", "auditor"])
@pytest.mark.parametrize("bound", [False, True])
def test_a_key_that_may_not_write_is_refused_as_a_whole(
    service: Service, schema: Database, customer: str, role: str, bound: bool
) -> None:
    grant_of(service, customer, 10)
    headers = as_key(key_for(schema, role, *([customer] if bound else [])))
    answer = service.graphql(CONSUME_MANY, headers, input={"consumptions": [use(customer, "a"), use(customer, "b")]})
    assert answer.status_code == 403
    assert answer.json()["data"] == {"consumeCreditsAsync": None}
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["IdentityForbidden"]
    assert balance_of(service, customer) == ("10", "0")


def test_an_item_that_is_no_use_at_all_fails_the_request_before_anything_is_done(
    service: Service, customer: str
) -> None:
    grant_of(service, customer, 10)
    for broken in ({"customerId": customer}, None, 5, use(customer, "a", amount="1"), use(customer, "a", more=1)):
        errors = service.graphql(CONSUME_MANY, input={"consumptions": [use(customer, "b"), broken]}).json()["errors"]
        assert {error["extensions"]["code"] for error in errors} == {"InvalidArgumentError"}
    assert balance_of(service, customer) == ("10", "0")


def test_what_was_answered_is_there_after_the_service_was_killed(database: Database) -> None:
    """At the moment of the answer, again and again: no answer without its effect, no effect twice."""
    customer = "acme"
    uses = [use(customer, f"k-{number}") for number in range(MANY)]
    answered: list[str] = []
    for start in range(0, MANY, 250):
        with serving(database_url=database.dsn, schema=database.schema) as service:
            if not start:
                grant_of(service, customer, MANY)
            answer = use_all(service, *uses[: start + 250])
            assert service.end(signal.SIGKILL) == -signal.SIGKILL
        replayed = [result["response"]["replayed"] for result in answer["results"]]
        assert replayed == [True] * start + [False] * 250
        told = [result["response"]["transactionId"] for result in answer["results"]]
        assert told[:start] == answered
        answered = told
    with serving(database_url=database.dsn, schema=database.schema) as service:
        assert transactions_of(service, customer) == answered
        assert balance_of(service, customer) == ("0", str(MANY))


def test_one_use_may_stand_for_a_list_of_one(service: Service, customer: str) -> None:
    """So has GraphQL it for every list, in a variable and in the document."""
    grant_of(service, customer, 2)
    by_variable = service.data(CONSUME_MANY, input={"consumptions": use(customer, "1")})["consumeCreditsAsync"]
    assert codes(by_variable) == [None]
    written = f'customerId: "{customer}", currencyId: "credits", amount: 1, idempotencyKey: "2"'
    document = f"mutation {{ consumeCreditsAsync(input: {{consumptions: {{{written}}}}}) {{ results {{ index }} }} }}"
    assert service.data(document)["consumeCreditsAsync"] == {"results": [{"index": 0}]}
    odds: list[Any] = [5, "x", True, {}]
    for odd in odds:
        answer = service.graphql(CONSUME_MANY, input={"consumptions": odd}).json()
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"InvalidArgumentError"}
