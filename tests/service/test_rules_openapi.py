"""The OpenAPI document is true: its routes are those that there are, and what it says of them holds for a running
service, whatever is sent to it within the document's words and beside them."""

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, CheckFunction
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.applications import Starlette
from starlette.routing import Route

from ledger.store.database import Database
from service.app import build_app
from service.audit.openapi import document as audit_document
from service.bootstrap import open_ledger
from service.callers import AT_LEAST
from service.feed.openapi import document as feed_document
from service.reads import Threads
from service.server import parts_of
from service.settings import read_settings
from tests.service.rules import Rules
from tests.service.serving import KEY, serving

EXPORTED = Path(__file__).parent.parent.parent / "docs" / "contracts" / "openapi.json"
OTHER_DOORS = {"/graphql", "/livez", "/metrics", "/ops/projections", "/readyz", "/test/clock"}
POSITIONS, REACHED = "^[0-9]{1,18}$", "^0{0,17}[0-3]$"
"""Which positions may be named, and which of them there are: for another the answer rightly is 503, in its time."""
UNSAYABLE = {
    "id must be the id in the path",
    "pageToken must be the token of a page of the same request",
    "timeRange.value.startTime must be before endTime",
    "amount has more than 15 significant digits: give it as text",
    "amount must be above zero",
    "amount must be a whole number of at most 2147483647",
    "amount must have at most 9 places after the point",
    "currency must be one of AI_PENTEST, DAST",
    "resource must not be given for EXECUTION_CREDIT",
    "useAt must not be given for EXECUTION_CREDIT",
    "useAt must not be more than 5 seconds ahead",
    "useAt must have at most 6 fraction digits",
    "idempotencyKey must be the same as in the header Idempotency-Key, where both are given",
}
"""What a document cannot say of one field, as it depends on another, or on what was answered before."""
EXAMPLES_MAX = 25
CONFIGURED = {"generation": {"deterministic": True, "database": "none", "with-security-parameters": False}}

assert POSITIONS in EXPORTED.read_text()
api = schemathesis.openapi.from_dict(
    json.loads(EXPORTED.read_text().replace(POSITIONS, REACHED)), config=SchemathesisConfig.from_dict(CONFIGURED)
)


@pytest.fixture(scope="module")
def rules(schema: Database) -> Iterator[Rules]:
    """Some rules, in a service that may be asked as often as one likes."""
    with serving(
        database_url=schema.dsn,
        schema=schema.schema,
        test_clock="1",
        rule_requests_per_second="1000000",
        rule_requests_burst="1000000",
        execution_requests_per_minute="1000000",
    ) as running:
        assert running.set_clock("2026-01-31T12:00:00Z").status_code == 200
        rules = Rules(running, "customer")
        for _ in range(3):
            rules.define()
        yield rules


@pytest.fixture(scope="module")
def token(rules: Rules) -> str:
    login = {"username": "admin", "password": KEY}
    token: str = rules.service.http.post("/login", json=login).json()["token"]
    return token


@api.parametrize()
@settings(max_examples=EXAMPLES_MAX, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])
def test_a_route_answers_as_the_document_says(case: "Case[Any]", rules: Rules, token: str) -> None:
    """No fault of ours; statuses, types, headers and bodies as told; what the document has not is refused, and what it
    has is not, but for what it cannot say."""
    assert case.meta is not None
    if "ruleId" in case.path_parameters and not case.meta.is_negative_at(ParameterLocation.PATH):
        case.path_parameters["ruleId"] = rules.define(secrets.token_hex(8))["id"]
    headers = {"X-API-KEY": KEY} if case.operation.path.startswith("/v1/") else {"x-redlock-auth": token}
    answer = case.call(base_url=rules.service.url, headers=headers)
    refused = set(answer.json()["message"].split("; ")) if answer.status_code == 400 else set()
    beyond_words: list[CheckFunction] = [positive_data_acceptance] if refused and refused <= UNSAYABLE else []
    if case.headers and re.fullmatch(POSITIONS, case.headers.get(AT_LEAST) or ""):
        beyond_words.append(negative_data_rejection)  # another position than those above, but one that may be named
    case.validate_response(answer, excluded_checks=beyond_words, headers=headers)


@pytest.fixture
def served(schema: Database) -> set[tuple[str, str]]:
    """Every method and path that one process serves, as its framework lists them."""
    with open_ledger(schema.dsn, schema=schema.schema, migrating=False, following=False) as running:
        threads = Threads(1)
        parts = parts_of(running, read_settings({"LEDGER_TEST_CLOCK": "1"}), threads, None)
        application = build_app(parts)._application
        threads.close()
    assert isinstance(application, Starlette)
    routes = [route for route in application.routes if isinstance(route, Route)]
    return {(method, route.path) for route in routes for method in route.methods or ()}


def methods_of(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def test_the_document_has_every_route_and_no_other(served: set[tuple[str, str]]) -> None:
    """Of this door, of the feed and of the auditor's door; others have documents of their own, or need none."""
    assert {path for _, path in served} >= OTHER_DOORS
    of_rest = {(method, path) for method, path in served if path not in OTHER_DOORS}
    documents = [methods_of(document) for document in (api.raw_schema, feed_document(), audit_document())]
    assert set().union(*documents) == of_rest
    assert sum(map(len, documents)) == len(of_rest), "a route is in one document, and in one alone"
