"""What nobody asks in good faith: each is refused by name, carries nothing out, and leaves the service answering."""

import json
import socket
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.service.load import eventually
from tests.service.serving import ANSWER_SECONDS_MAX, Service

BODY_BYTES_MAX = 2 * 1024 * 1024
LEDGER = 'creditsLedger(input: {customerId: "nobody"})'
PAGE_OF_100 = 'creditsLedger(input: {customerId: "nobody", paging: {first: 100}})'
BALANCES = 'creditBalanceSummary(input: {customerId: "nobody"})'
CREATE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
CONSUME = "mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId } }"


def posted(service: Service, content: str | bytes) -> httpx.Response:
    return service.http.post("/graphql", content=content, headers={"Content-Type": "application/json"})


def invalid(service: Service, answer: httpx.Response) -> list[str]:
    """The messages of an answer that is nothing but invalid arguments, after which the service still answers."""
    body = answer.json()
    assert body.get("data") is None or not any(body["data"].values())
    assert {error["extensions"]["code"] for error in body["errors"]} == {"InvalidArgumentError"}
    assert "Traceback" not in answer.text
    assert service.data("{ __typename }") == {"__typename": "Query"}
    return [error["message"] for error in body["errors"]]


def aliases(count: int, field: str) -> str:
    return "{" + " ".join(f"a{number}: {field}" for number in range(count)) + "}"


def fragments(count: int, type_name: str, body: str, last: str) -> str:
    """A chain of fragments, each of which spreads the next one, `%(next)s`."""
    chain = "".join(f" fragment f{n} on {type_name} {{ {body.replace('NEXT', f'...f{n + 1}')} }}" for n in range(count))
    return f"{chain} fragment f{count} on {type_name} {{ {last} }}"


def nested(depth: int, start: str, end: str, middle: str = "") -> str:
    return start * depth + middle + end * depth


@pytest.mark.parametrize(
    "document",
    [
        pytest.param("{ __typename ...a } fragment a on Query { ...a }", id="a fragment in itself"),
        pytest.param("{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }", id="a circle of fragments"),
        pytest.param(
            f"{{ {LEDGER} {{ edges {{ node {{ grant {{ ...a }} }} }} }} }}"
            " fragment a on CreditGrant { cost { currency } ... on CreditGrant { ...b } }"
            " fragment b on CreditGrant { id ...a }",
            id="a circle through an inline fragment",
        ),
        pytest.param(
            "{ ...f0 }" + fragments(40, "Query", "NEXT NEXT", f"{BALANCES} {{ customerId }}"), id="2^40 fields"
        ),
        pytest.param("{ ...f0 }" + fragments(40, "Query", "NEXT " * 30, "__typename"), id="30^40 fields"),
        pytest.param("{ ...f0 }" + fragments(40, "Query", "... { NEXT } ... { NEXT }", "__typename"), id="2^40 inline"),
        pytest.param("{ ...f0 }" + fragments(600, "Query", "NEXT", "__typename"), id="600 fragments deep"),
        pytest.param(nested(9, "... {", "}", "__typename ")[:-1] + nested(200, "... {", "}", "x"), id="unbalanced"),
        pytest.param("{" + nested(2_000, "... {", "}", "__typename") + "}", id="2,000 inline fragments deep"),
        pytest.param(nested(2_500, "{ a", "}"), id="2,500 fields deep"),
        pytest.param("{" * 7_000, id="7,000 braces"),
        pytest.param("{ creditGrant(id: " + nested(3_500, "[", "]") + ") { id } }", id="3,500 lists deep"),
        pytest.param("{ creditGrant(id: " + "[" * 7_000, id="7,000 brackets"),
        pytest.param(
            "{ creditGrants(input: " + nested(2_000, "{a: ", "}", "1") + ") { totalCount } }", id="objects deep"
        ),
        pytest.param("query ($x: " + nested(3_500, "[", "]", "Int") + ") { __typename }", id="a list type 3,500 deep"),
        pytest.param(aliases(2_000, f"{BALANCES} {{ customerId }}"), id="2,000 balances"),
        pytest.param(aliases(300, f"{LEDGER} {{ edges {{ node {{ amount }} }} }}"), id="300 pages"),
        pytest.param(aliases(100, "executionCredits { metadata { totalCount } }"), id="100 counts of all credits"),
        pytest.param(
            "{" + "...a " * 400 + "} fragment a on Query {" + nested(80, "... {", "}", "__typename") + "}",
            id="32,000 inline fragments",
        ),
        pytest.param("{" + " __typename" * 2_000 + "}", id="2,000 fields that are one"),
        pytest.param("{" + f" {BALANCES} {{ customerId }}" * 600 + "}", id="600 questions that are one"),
        pytest.param("{ __typename" + " @skip(if: false)" * 1_000 + "}", id="1,000 directives"),
        pytest.param("{ __typename" + " @a" * 3_000 + "}", id="3,000 unknown directives"),
        pytest.param("{" + " ".join(f"...f{number}" for number in range(2_500)) + "}", id="2,500 unknown fragments"),
        pytest.param("{" + " ".join(f"no{number}" for number in range(7_000)) + "}", id="7,000 unknown fields"),
        pytest.param("{" + "x" * 1_000_000 + "}", id="a name of 1 MB"),
        pytest.param('{ creditGrant(id: "' + "x" * 1_000_000 + '") { id } }', id="a text of 1 MB"),
        pytest.param("{ __typename(x: " + "9" * 1_000_000 + ") }", id="a number of 1 MB"),
        pytest.param('{ creditGrant(id: "\ud800") { id } }', id="a lone surrogate"),
        pytest.param('{ creditGrant(id: "\0") { id } }', id="a null character"),
        pytest.param("{ \0 }", id="a null character outside a text"),
    ],
)
def test_a_document_that_asks_too_much_is_refused(service: Service, document: str) -> None:
    invalid(service, posted(service, json.dumps({"query": document})))


@pytest.mark.parametrize(
    ("document", "limit"),
    [
        (aliases(100, f"{PAGE_OF_100} {{ edges {{ node {{ amount position }} }} }}"), "must cost at most 30000"),
        ("{ ...f0 }" + fragments(30, "Query", "NEXT NEXT", "__typename"),            "must cost at most 30000"),
        ("{" + " __typename" * 8_000 + "}",                                          "tokens"),
    ],
    ids=["pages", "fragments", "tokens"],
)  # fmt: skip
def test_a_limit_is_told(service: Service, document: str, limit: str) -> None:
    (message,) = invalid(service, service.graphql(document))
    assert limit in message


def test_a_page_costs_what_it_may_hold_however_its_size_is_given(service: Service) -> None:
    many = 'a%d: creditGrants(input: {customerId: "nobody", paging: %s}) { edges { node { id amount } } }'
    fields = {size: " ".join(many % (number, size) for number in range(100)) for size in ("{first: 100}", "$paging")}
    asked: list[tuple[str, dict[str, Any]]] = [
        (f"{{ {fields['{first: 100}']} }}", {}),
        (f"query ($paging: Paging) {{ {fields['$paging']} }}", {"paging": {"first": 100}}),
        (f"query ($paging: Paging) {{ {fields['$paging']} }}", {"paging": {"last": 100}}),
        (f"query ($paging: Paging = {{first: 100}}) {{ {fields['$paging']} }}", {}),
    ]
    for document, variables in asked:
        (message,) = invalid(service, service.graphql(document, **variables))
        assert "must cost at most" in message


@pytest.mark.parametrize(
    ("given", "heads", "variables"),
    [
        ("limit: 100",                             "",                        {}),
        ("pagination: {perPage: 100}",             "",                        {}),
        ("limit: $n",                              "($n: Int)",               {"n": 100}),
        ("limit: $n",                              "($n: Int)",               {"n": 100.0}),
        ("limit: $n",                              "($n: Int = 100)",         {}),
        ("pagination: {perPage: $n}",              "($n: Int)",               {"n": 100}),
        ("pagination: $p",                         "($p: PaginationInput)",   {"p": {"perPage": 100}}),
        ("pagination: $p",                         "($p: PaginationInput)",   {"p": {"perPage": 100.0}}),
        ("limit: null, pagination: {perPage: 100}", "",                       {}),
        ("limit: $n, pagination: {perPage: 100}",  "($n: Int)",               {"n": None}),
    ],
)  # fmt: skip
def test_a_page_by_number_costs_what_it_may_hold_however_its_size_is_given(
    service: Service, given: str, heads: str, variables: dict[str, Any]
) -> None:
    field = f"executionCredits({given}) {{ collection {{ id credits usedCredits }} }}"
    document = f"query {heads} {aliases(100, field)}"
    answer = posted(service, json.dumps({"query": document, "variables": variables}))
    assert "must cost at most" in invalid(service, answer)[0]


def test_introspection_answers_the_whole_schema(service: Service) -> None:
    document = """
    { __schema {
      queryType { name } mutationType { name } subscriptionType { name }
      types { kind name fields { name args { name type { ...t } } type { ...t } } inputFields { name type { ...t } }
              enumValues { name } }
    } }
    fragment t on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }
    """
    schema = service.data(document)["__schema"]
    types = {each["name"]: each for each in schema["types"]}
    assert (schema["queryType"]["name"], schema["mutationType"]["name"]) == ("Query", "Mutation")
    root = {name: {field["name"] for field in types[name]["fields"]} for name in ("Query", "Mutation")}
    assert root["Query"] >= {"creditGrant", "creditGrants", "creditBalanceSummary", "creditsLedger"}
    assert root["Mutation"] >= {"createCreditGrant", "voidCreditGrant", "consumeCredits", "refundCredits"}
    assert all(field["type"]["kind"] != "NON_NULL" for field in types["Mutation"]["fields"])
    amount = next(field for field in types["CreditGrant"]["fields"] if field["name"] == "amount")
    assert amount["type"]["ofType"] == {"kind": "SCALAR", "name": "Float", "ofType": None}


def test_introspection_has_its_price_too(service: Service) -> None:
    """A few hundred names asked of every field's type, fifteen times over, would be an answer of 8 MB."""
    document = (
        "{ __schema " + aliases(15, "types { fields { type { ...names } } }") + " }"
        " fragment names on __Type " + aliases(200, "name")
    )
    invalid(service, service.graphql(document))


def test_introspection_in_circles_is_refused(service: Service) -> None:
    fields = nested(12, "fields { type { ", " } }", "name")
    invalid(service, service.graphql(f"{{ __schema {{ types {{ {fields} }} }} }}"))


def objects(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount",             objects(400)),
        ("amountExact",        objects(400)),
        ("createdAt",          objects(400)),
        ("customerId",         [[[[["x"]]]]]),
        ("dimensions",         objects(400)),
        ("dimensions",         {str(number): "x" for number in range(50_000)}),
        ("accountGroupIds",    [[["x"]]]),
        ("accountGroupIds",    [str(number) for number in range(100_000)]),
        ("accountGroupIds",    [5] * 100_000),
        ("noSuchField",        objects(400)),
    ],
    ids=lambda value: ascii(value)[:24],
)  # fmt: skip
def test_a_variable_that_says_too_much_is_refused(service: Service, field: str, value: Any) -> None:
    given = {"customerId": "nobody", "currencyId": "credits", "amount": 1, "idempotencyKey": "key", field: value}
    body = {"query": CONSUME, "variables": {"input": given}}
    invalid(service, posted(service, json.dumps(body)))


def test_variables_that_are_nested_too_deep_are_refused(service: Service) -> None:
    for text in (nested(100_000, "[", "]"), nested(100_000, '{"a":', "}", "1"), "[" * 500_000):
        answer = posted(service, f'{{"query": {json.dumps(CREATE)}, "variables": {{"input": {text}}}}}')
        assert answer.status_code == 400
        invalid(service, answer)


def test_unknown_variables_are_nobodys_business(service: Service) -> None:
    variables: dict[str, Any] = {f"v{number}": number for number in range(50_000)}
    assert service.graphql("{ __typename }", **variables).json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("",                                                 "body"),
        ("{",                                                "body"),
        ("null",                                             "body"),
        ("5",                                                "body"),
        ('"{ __typename }"',                                 "body"),
        ("[]",                                               "body"),
        ('[{"query": "{ __typename }"}]',                    "body"),
        ("query={ __typename }",                             "body"),
        ("{ __typename }",                                   "body"),
        (b'{"query": "{ __typename } # \xe9"}',              "body"),
        ('{"query": "{ __typename }"}'.encode("utf-16"),     "body"),
        (b"\xff\xfe\x00",                                    "body"),
        ('{"query": "{ __typename }"} x',                    "body"),
        ('{"query": "{ __typename }", "variables": NaN}',    "body"),
        ("{}",                                               "query"),
        ('{"query": null}',                                  "query"),
        ('{"query": ""}',                                    "query"),
        ('{"query": 5}',                                     "query"),
        ('{"query": ["{ __typename }"]}',                    "query"),
        ('{"query": "{ __typename }", "variables": []}',     "variables"),
        ('{"query": "{ __typename }", "variables": "x"}',    "variables"),
        ('{"query": "{ __typename }", "variables": 5}',      "variables"),
        ('{"query": "{ __typename }", "operationName": 5}',  "operationName"),
        ('{"query": "{ __typename }", "operationName": []}', "operationName"),
    ],
    ids=lambda value: ascii(value)[:40],
)  # fmt: skip
def test_a_body_that_is_no_request_is_refused(service: Service, body: str | bytes, field: str) -> None:
    answer = posted(service, body)
    invalid(service, answer)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["field"]) == (400, field)


def test_a_body_of_2_mib_is_read_and_a_larger_one_is_not(service: Service) -> None:
    start, end = '{"query": "{ __typename }", "more": "', '"}'
    largest = start + "x" * (BODY_BYTES_MAX - len(start + end)) + end
    assert posted(service, largest).json() == {"data": {"__typename": "Query"}}
    for body in (largest + " ", largest * 3):
        answer = posted(service, body)
        (error,) = answer.json()["errors"]
        assert answer.status_code == 413
        assert error["extensions"] == {"code": "BodyTooLarge", "bytesMax": BODY_BYTES_MAX}
    in_pieces = service.http.post("/graphql", content=(largest.encode(), b" "))
    assert in_pieces.status_code == 413
    assert service.data("{ __typename }") == {"__typename": "Query"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_the_door_opens_for_post_only(service: Service, method: str) -> None:
    answer = service.http.request(method, "/graphql", params={"query": "{ __typename }"})
    assert answer.status_code == 405
    assert "Query" not in answer.text
    assert "POST" in answer.headers["Allow"]


def test_a_whole_number_sent_with_a_point_is_as_costly(service: Service) -> None:
    document = "query ($paging: Paging) " + aliases(
        160, 'creditsLedger(input: {customerId: "nobody", paging: $paging}) { edges { cursor } }'
    )
    answer = posted(service, json.dumps({"query": document, "variables": {"paging": {"first": 100.0}}}))
    assert "cost" in invalid(service, answer)[0]


def test_headers_end_somewhere(service: Service) -> None:
    """Nobody has to show a key before his headers are read, so they must not fill the memory."""
    with suppress(httpx.TransportError):
        assert service.http.get("/livez", headers={"X-Long": "x" * 1_000_000}).status_code == 400
    assert service.http.get("/livez").status_code == 200


def test_who_goes_away_before_his_body_is_whole_is_no_fault(service: Service) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nX-API-KEY: {service.key}\r\nContent-Length: 99\r\n\r\n{{"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode())
    assert eventually(lambda: '"status": 408' in service.log(), ANSWER_SECONDS_MAX)
    assert '"ERROR"' not in service.log()
