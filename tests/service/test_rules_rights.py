"""Who may do what with allocation rules: every role on every route, by its key and by its token."""

import httpx
import pytest

from ledger.store.database import Database
from tests.service.rules import LIST, NAMES, PROBLEM, RULE, SUMMARY, Rules
from tests.service.serving import Service
from tests.service.test_api_keys import as_key, key_for, revoke

READS = [("POST", LIST), ("POST", SUMMARY), ("GET", NAMES), ("GET", "a rule")]
WRITES = [("POST", RULE), ("PATCH", "a rule"), ("DELETE", "a rule")]
ROUTES = [*READS, *WRITES]


@pytest.fixture
def rules(service: Service, customer: str) -> Rules:
    return Rules(service, customer)


def as_bearer(service: Service, key: str) -> dict[str, str]:
    """The header of a token for a key."""
    username, _, password = key.partition(".")
    answer = service.stranger.post("/login", json={"username": username, "password": password})
    return {"x-redlock-auth": answer.json()["token"]}


def asked(rules: Rules, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    """A good request, if it is its sender's to make."""
    body = {("POST", RULE): rules.wanted(), ("PATCH", "a rule"): {"alarmThreshold": 1}}.get((method, path))
    if path == "a rule":
        path = f"{RULE}/{rules.define()['id']}"
    return rules.service.stranger.request(method, path, json=body, headers=headers)


@pytest.mark.parametrize(
    ("role",     "writes"),
    [
        ("admin",   200),
        ("writer",  200),
        ("reader",  403),
        ("auditor", 403),
    ],
)  # fmt: skip
def test_everyone_reads_and_only_some_write(rules: Rules, schema: Database, role: str, writes: int) -> None:
    key = key_for(schema, role)
    for headers in (as_key(key), as_bearer(rules.service, key)):
        assert {asked(rules, *route, headers).status_code for route in READS} == {200}
        for route in WRITES:
            answer = asked(rules, *route, headers)
            assert answer.status_code == writes, route
            assert writes == 200 or answer.json().keys() == PROBLEM


@pytest.mark.parametrize("role", ["writer", "reader", "auditor"])
def test_a_key_for_some_customers_sees_and_changes_no_rules(rules: Rules, schema: Database, role: str) -> None:
    """What a rule tells counts what all customers use."""
    key = key_for(schema, role, rules.customer)
    for headers in (as_key(key), as_bearer(rules.service, key)):
        for route in ROUTES:
            answer = asked(rules, *route, headers)
            assert (answer.status_code, answer.json().keys()) == (403, PROBLEM), route


def test_what_was_forbidden_changed_nothing(rules: Rules, schema: Database) -> None:
    rule, head = rules.define(), rules.service.http.get("/readyz").json()["head"]
    for headers in (as_key(key_for(schema, "reader")), as_key(key_for(schema, "writer", rules.customer))):
        for method, path, body in (
            ("POST", RULE, rules.wanted()), ("PATCH", f"{RULE}/{rule['id']}", {"name": "x"}),
            ("DELETE", f"{RULE}/{rule['id']}", None),
        ):  # fmt: skip
            assert rules.service.stranger.request(method, path, json=body, headers=headers).status_code == 403
    assert rules.service.http.get("/readyz").json()["head"] == head


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_without_a_good_key_or_token_nothing_is_told(rules: Rules, schema: Database, route: tuple[str, str]) -> None:
    gone = key_for(schema, "admin")
    revoke(schema, gone)
    for headers in ({}, as_key(""), as_key("unknown"), as_key(gone), {"x-redlock-auth": "unknown"}):
        answer = asked(rules, *route, headers)
        assert (answer.status_code, answer.json().keys()) == (401, PROBLEM)
        assert answer.json()["error"] == "Unauthorized"


@pytest.mark.parametrize("route", WRITES, ids=" ".join)
def test_who_may_not_write_hears_nothing_of_what_there_is(
    rules: Rules, schema: Database, route: tuple[str, str]
) -> None:
    """A bad body, a rule that is not there and a name that is taken are forbidden like anything else."""
    method, path = route
    reader = as_key(key_for(schema, "reader"))
    path = f"{RULE}/unknown" if path == "a rule" else path
    answers = [
        rules.service.stranger.request(method, path, content=content, headers=reader)
        for content in (b"no JSON", b"{}", b'{"name": ""}')
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.json()["message"] for answer in answers}) == 1
