"""API keys over HTTP: what a role may do, and that a key bound to holders sees and changes what is theirs alone."""

import hashlib
import json
import re
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pytest
from psycopg.rows import DictRow

from ledger.store.database import Database, Role
from service.api_keys import KNOWN_SECONDS, create_key, revoke_key
from tests.conftest import START
from tests.service.serving import KEY, Service, command

CREATE = """mutation ($input: CreditGrantInput!) { answer: createCreditGrant(input: $input) { id grantId } }"""
CONSUME = """
mutation ($input: ConsumeCreditInput!) {
  answer: consumeCredits(input: $input) { transactionId replayed draws { grantId } credit { usageLimit } }
}
"""
REFUND = """
mutation ($input: RefundCreditsInput!) { answer: refundCredits(input: $input) { transactionId replayed amount } }
"""
VOID = """mutation ($input: VoidCreditGrantInput!) { answer: voidCreditGrant(input: $input) { id grantId status } }"""
GRANT = """query ($id: String!) { answer: creditGrant(id: $id) { id customerId displayName } }"""
GRANTS = """
query ($input: GetCreditGrantsInput!) {
  answer: creditGrants(input: $input) { totalCount edges { cursor node { grantId customerId } } }
}
"""
BALANCE = """
query ($input: CreditBalanceSummaryInput!) {
  answer: creditBalanceSummary(input: $input) { balances { currentBalance } }
}
"""
LEDGER = """
query ($input: CreditLedgerInput!) {
  answer: creditsLedger(input: $input) { totalCount edges { cursor node { customerId actor grant { grantId } } } }
}
"""
CLOCK = "/test/clock"
NOW = "2026-01-31T12:00:00Z"
PAID = {"currencyId": "credits", "displayName": "March", "grantType": "PAID", "amount": 10}
NOBODY = "nobody-at-all"


def key_for(schema: Database, role: str, *holders: str) -> str:
    """A new key's text."""
    with schema.connect(Role.OWNER) as connection:
        return create_key(connection, START, name="of a test", role=role, holders=holders)[1]


def revoke(schema: Database, key: str) -> None:
    with schema.connect(Role.OWNER) as connection:
        revoke_key(connection, START, key.partition(".")[0])


def as_key(key: str) -> dict[str, str]:
    return {"X-API-KEY": key}


def named(value: object) -> str | None:
    """What a test calls a document: by its field."""
    found = re.search(r"answer: (\w+)", value) if isinstance(value, str) else None
    return found and found[1]


def about(holder: str) -> dict[str, Any]:
    return {"input": {"customerId": holder}}


def grant_for(holder: str, key: str | None = None) -> dict[str, Any]:
    return {"input": PAID | {"customerId": holder, "idempotencyKey": key}}


def use_of(holder: str, key: str) -> dict[str, Any]:
    return {"input": {"customerId": holder, "currencyId": "credits", "amount": 2, "idempotencyKey": key}}


def movements(schema: Database, column: str, value: str) -> list[DictRow]:
    with schema.connect(Role.READER) as connection:
        return [row for row in connection.execute("SELECT * FROM movements ORDER BY position") if row[column] == value]


Request = Callable[[Service, dict[str, str]], httpx.Response]
REQUESTS: dict[str, Request] = {
    "query": lambda service, headers: service.graphql(BALANCE, headers, **about("role-table")),
    "mutation": lambda service, headers: service.graphql(CREATE, headers, **grant_for("role-table")),
    "read the clock": lambda service, headers: service.http.get(CLOCK, headers=headers),
    "set the clock": lambda service, headers: service.http.post(CLOCK, headers=headers, json={"now": NOW}),
}


@pytest.fixture(scope="module")
def keys(schema: Database) -> dict[str, str]:
    """One key of every role, as an operator makes them."""
    made = {}
    for role in ("admin", "writer", "reader", "auditor"):
        done = command(
            "keys", "create", "--name", role, "--role", role, "--json",
            database_url=schema.dsn, schema=schema.schema, test_clock="1",
        )  # fmt: skip
        made[role] = json.loads(done.stdout)["key"]
    return made


@pytest.mark.parametrize(
    ("role", "statuses"),
    [
        #          query, mutation, read the clock, set the clock
        ("admin",   (200,      200,            200,           200)),
        ("writer",  (200,      200,            200,           403)),
        ("reader",  (200,      403,            200,           403)),
        ("auditor", (200,      403,            200,           403)),
    ],
)  # fmt: skip
def test_what_a_role_may_do(service: Service, keys: dict[str, str], role: str, statuses: tuple[int, ...]) -> None:
    for (name, ask), status in zip(REQUESTS.items(), statuses, strict=True):
        answer = ask(service, as_key(keys[role]))
        assert answer.status_code == status, name
        assert "X-Ledger-Position" in answer.headers
        if status == 200:
            assert "errors" not in answer.json()
        elif name in ("query", "mutation"):
            assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["IdentityForbidden"]
        else:
            assert answer.json().keys() == {"timestamp", "status", "error", "message", "path"}
            assert (answer.json()["status"], answer.json()["path"]) == (status, CLOCK)


def test_of_a_forbidden_mutation_nothing_is_written(service: Service, schema: Database, customer: str) -> None:
    for key in (key_for(schema, "reader"), key_for(schema, "writer", "somebody-else")):
        assert service.graphql(CREATE, as_key(key), **grant_for(customer)).status_code == 403
    assert service.data(GRANTS, **about(customer))["answer"]["totalCount"] == 0


def bad_keys(good: str) -> dict[str, bytes | None]:
    key_id, _, secret = good.partition(".")
    texts = {
        "no key": None,
        "empty": "",
        "garbage": "garbage",
        "an id alone": key_id,
        "an id and a dot": f"{key_id}.",
        "a secret alone": f".{secret}",
        "bad secret": f"{key_id}.{secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}",
        "longer": f"{good}x",
        "another's secret": f"key-000000000000.{secret}",
        "in capitals": good.upper(),
        "its hash": f"{key_id}.{hashlib.sha256(secret.encode()).hexdigest()}",
        "SQL": "key-' OR 'a' = 'a.x",
        "not ASCII": f"{key_id}.schlüssel",
        "very long": f"{key_id}.{'x' * 20_000}",
        "nearly the admin key": KEY[:-1],
    }
    return {name: None if text is None else text.encode() for name, text in texts.items()}


def test_every_key_that_is_none_gets_the_same_answer(service: Service, keys: dict[str, str]) -> None:
    """No caller is told which part of his key is wrong."""
    told = set()
    for name, key in bad_keys(keys["writer"]).items():
        headers = {} if key is None else {b"X-API-KEY": key}
        asked = {"query": BALANCE, "variables": about("a")}
        answer = service.stranger.post("/graphql", json=asked, headers=headers)
        clock = service.stranger.get(CLOCK, headers=headers)
        assert (answer.status_code, clock.status_code) == (401, 401), name
        assert {"X-Ledger-Position", "X-Request-Id"} <= {header.title() for header in answer.headers}, name
        told.add(answer.text)
    (body,) = told
    assert [error["extensions"] for error in json.loads(body)["errors"]] == [{"code": "Unauthenticated"}]


def test_health_needs_no_key(service: Service) -> None:
    assert service.stranger.get("/livez").status_code == 200
    assert service.stranger.get("/readyz").status_code == 200


def test_of_a_key_the_ledger_keeps_the_hash_alone(schema: Database, keys: dict[str, str]) -> None:
    with schema.connect(Role.READER) as connection:
        rows = connection.execute("SELECT id, sha256, api_keys::text AS row FROM api_keys").fetchall()
    kept = {row["id"]: row for row in rows}
    for key in keys.values():
        key_id, _, secret = key.partition(".")
        assert kept[key_id]["sha256"] == hashlib.sha256(secret.encode()).hexdigest()
        assert secret not in "".join(row["row"] for row in rows)


def test_a_revoked_key_that_is_not_known_yet_is_refused_at_once(service: Service, schema: Database) -> None:
    key = key_for(schema, "writer")
    revoke(schema, key)
    assert service.graphql(BALANCE, as_key(key), **about("a")).status_code == 401


def test_a_revoked_key_that_is_in_use_is_refused_within_a_second(
    service: Service, schema: Database, keys: dict[str, str]
) -> None:
    """However busy it is; other keys go on."""
    key = key_for(schema, "writer")
    assert service.graphql(BALANCE, as_key(key), **about("a")).status_code == 200
    revoke(schema, key)
    revoked = time.monotonic()
    while True:
        sent = time.monotonic()
        if service.graphql(BALANCE, as_key(key), **about("a")).status_code == 401:
            break
        assert sent - revoked <= KNOWN_SECONDS
    assert service.graphql(BALANCE, as_key(keys["writer"]), **about("a")).status_code == 200


class Neighbours(NamedTuple):
    """Two holders; what the second one has; and a writer's key that is bound to the first."""

    mine: str
    theirs: str
    key: str
    grant: dict[str, str]
    void: dict[str, str]
    transaction: str

    @property
    def headers(self) -> dict[str, str]:
        return as_key(self.key)


@pytest.fixture(scope="module")
def neighbours(service: Service, schema: Database) -> Neighbours:
    mine, theirs = (f"{name}-{secrets.token_hex(4)}" for name in ("mine", "theirs"))
    grant = service.data(CREATE, **grant_for(theirs, "issue"))["answer"]
    void = service.data(CREATE, **grant_for(theirs, "to be void"))["answer"]
    service.data(VOID, input={"id": void["id"], "idempotencyKey": "void"})
    transaction = service.data(CONSUME, **use_of(theirs, "use"))["answer"]["transactionId"]
    service.data(REFUND, input={"transactionId": transaction, "amount": 1, "idempotencyKey": "refund"})
    return Neighbours(mine, theirs, key_for(schema, "writer", mine), grant, void, transaction)


def test_a_bound_key_does_everything_for_its_own_holder(service: Service, neighbours: Neighbours) -> None:
    mine, headers = neighbours.mine, neighbours.headers
    grant = service.data(CREATE, headers, **grant_for(mine))["answer"]
    used = service.data(CONSUME, headers, **use_of(mine, "use"))["answer"]  # also the neighbour's key, in his scope
    assert (used["replayed"], used["draws"]) == (False, [{"grantId": grant["grantId"]}])
    refund = {"transactionId": used["transactionId"], "idempotencyKey": "refund"}
    assert service.data(REFUND, headers, input=refund)["answer"]["replayed"] is False
    assert service.data(VOID, headers, input={"id": grant["grantId"]})["answer"]["status"] == "VOIDED"
    assert service.data(GRANT, headers, id=grant["grantId"])["answer"]["customerId"] == mine
    for query in (GRANTS, LEDGER):
        edges = service.data(query, headers, **about(mine))["answer"]["edges"]
        assert {edge["node"]["customerId"] for edge in edges} == {mine}


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        (CREATE, grant_for),
        (CREATE, lambda holder: grant_for(holder, "issue")),
        (CONSUME, lambda holder: use_of(holder, "use")),
        (CONSUME, lambda holder: use_of(holder, "another")),
        (GRANTS, about),
        (BALANCE, about),
        (LEDGER, about),
        (LEDGER, lambda holder: {"input": {"customerId": holder, "atLeast": "1"}}),
    ],
    ids=named,
)
def test_for_another_holder_a_bound_key_is_forbidden_whether_or_not_he_exists(
    service: Service, neighbours: Neighbours, document: str, variables: Callable[[str], dict[str, Any]]
) -> None:
    theirs, nobodys = (
        service.graphql(document, neighbours.headers, **variables(holder)) for holder in (neighbours.theirs, NOBODY)
    )
    assert theirs.json()["errors"][0]["extensions"]["code"] == "IdentityForbidden"
    assert telling(theirs, neighbours.theirs) == telling(nobodys, NOBODY)
    assert theirs.status_code == 403


def telling(answer: httpx.Response, name: str) -> tuple[object, ...]:
    """All that an answer tells its reader, but for the name that he asked for himself."""
    headers = {header: value for header, value in answer.headers.items() if header not in ("date", "x-request-id")}
    headers.pop("content-length")
    return answer.status_code, headers, answer.text.replace(name, "the name")


READABLE, UUIDS = f"cg-{'0' * 16}", str(uuid.UUID(int=7))


@pytest.mark.parametrize(
    ("code",                 "document", "what",        "given"),
    [
        ("CreditGrantNotFound", GRANT,  "grant id",     {}),
        ("CreditGrantNotFound", GRANT,  "readable id",  {}),
        ("CreditGrantNotFound", VOID,   "grant id",     {}),
        ("CreditGrantNotFound", VOID,   "readable id",  {"idempotencyKey": "new"}),
        ("CreditGrantNotFound", VOID,   "void grant",   {}),
        ("CreditGrantNotFound", VOID,   "void grant",   {"idempotencyKey": "void"}),
        ("TransactionNotFound", REFUND, "transaction",  {"idempotencyKey": "new"}),
        ("TransactionNotFound", REFUND, "transaction",  {"idempotencyKey": "new", "amount": 1000}),
        ("TransactionNotFound", REFUND, "transaction",  {"idempotencyKey": "refund", "amount": 1}),
        ("TransactionNotFound", REFUND, "transaction",  {"idempotencyKey": "refund", "amount": 2}),
    ],
    ids=named,
)  # fmt: skip
def test_what_is_anothers_is_not_there(
    service: Service, neighbours: Neighbours, code: str, document: str, what: str, given: dict[str, Any]
) -> None:
    """The answer to another holder's id is, to the byte, that to an id of nothing; no replay of his answers either."""
    theirs, nothing = {
        "grant id": (neighbours.grant["id"], UUIDS),
        "readable id": (neighbours.grant["grantId"], READABLE),
        "void grant": (neighbours.void["id"], UUIDS),
        "transaction": (neighbours.transaction, UUIDS),
    }[what]
    answers = []
    for name in (theirs, nothing):
        field = "transactionId" if document is REFUND else "id"
        variables = {"id": name} if document is GRANT else {"input": {field: name, **given}}
        answers.append(telling(service.graphql(document, neighbours.headers, **variables), name))
    assert answers[0] == answers[1]
    (error,) = json.loads(str(answers[0][2]))["errors"]
    assert error["extensions"]["code"] == code
    owned = service.data(GRANT, id=neighbours.grant["id"])["answer"]
    assert owned["customerId"] == neighbours.theirs  # it is there for others


def test_no_list_of_ones_own_leads_to_a_neighbours_rows(service: Service, neighbours: Neighbours) -> None:
    """Not with his cursors either."""
    service.data(CREATE, neighbours.headers, **grant_for(neighbours.mine))
    for query in (GRANTS, LEDGER):
        cursors = [edge["cursor"] for edge in service.data(query, **about(neighbours.theirs))["answer"]["edges"]]
        pages = [{}, *({side: cursor} for side in ("after", "before") for cursor in cursors)]
        for paging in pages:
            asked = {"input": {"customerId": neighbours.mine, "paging": paging}}
            nodes = [edge["node"] for edge in service.data(query, neighbours.headers, **asked)["answer"]["edges"]]
            assert {node["customerId"] for node in nodes} <= {neighbours.mine}


def test_a_key_may_be_bound_to_some_holders_and_to_reading(service: Service, schema: Database, customer: str) -> None:
    reader = as_key(key_for(schema, "reader", customer, f"{customer}-sister"))
    for holder, status in ((customer, 200), (f"{customer}-sister", 200), (f"{customer}-", 403), (customer[:-1], 403)):
        assert service.graphql(BALANCE, reader, **about(holder)).status_code == status
    assert service.graphql(CREATE, reader, **grant_for(customer)).status_code == 403


def test_an_admin_key_is_never_bound(schema: Database, keys: dict[str, str]) -> None:
    done = command(
        "keys", "create", "--name", "n", "--role", "admin", "--holder", "acme",
        database_url=schema.dsn, schema=schema.schema,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    with schema.connect(Role.READER) as connection:
        bound = connection.execute("SELECT id FROM api_keys WHERE role = 'admin' AND holders IS NOT NULL").fetchall()
    assert bound == []


def test_events_tell_the_key_and_the_request_that_they_came_from(
    service: Service, schema: Database, keys: dict[str, str], customer: str
) -> None:
    writer = as_key(keys["writer"])
    issued = service.graphql(CREATE, writer | {"X-Request-Id": "order-7:a.b_c"}, **grant_for(customer))
    used = service.graphql(CONSUME, writer | {"X-Request-Id": "not well formed"}, **use_of(customer, "k"))
    service.data(CONSUME, {"X-Request-Id": "a-replay"}, **use_of(customer, "k"))
    service.data(VOID, {"X-Request-Id": "by-admin"}, input={"id": issued.json()["data"]["answer"]["id"]})

    generated = used.headers["X-Request-Id"]
    assert str(uuid.UUID(generated)) == generated
    assert issued.headers["X-Request-Id"] == "order-7:a.b_c"
    key_id = keys["writer"].partition(".")[0]
    told = [
        (row["actor_kind"], row["actor_key"], row["correlation_id"]) for row in movements(schema, "holder", customer)
    ]
    assert told == [
        ("API_KEY", key_id, "order-7:a.b_c"),
        ("API_KEY", key_id, generated),
        ("API_KEY", "admin", "by-admin"),
    ]
    edges = service.data(LEDGER, **about(customer))["answer"]["edges"]
    assert [edge["node"]["actor"] for edge in reversed(edges)] == [f"API_KEY:{key_id}"] * 2 + ["API_KEY:admin"]
