"""What is told when a request about rules is turned down: always the same five fields, whatever was wrong; and bodies,
read as JSON whatever they say they are."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from ledger.store.database import Database
from tests.service.rules import API, LIST, NAMES, PROBLEM, RULE, SUMMARY, Rules
from tests.service.serving import Service, serving
from tests.service.test_api_keys import as_key, key_for

UNKNOWN = "00000000-0000-4000-8000-000000000000"
FAR = str(10**17)
LARGE = b" " * (2 * 1024 * 1024 + 1)
BODIES = [("POST", RULE), ("PATCH", "a rule"), ("POST", LIST), ("POST", SUMMARY), ("POST", "/login")]
"""Everything that takes a body."""


@pytest.fixture
def rules(service: Service, customer: str) -> Rules:
    return Rules(service, customer)


@pytest.fixture(scope="module")
def narrow(schema: Database) -> Iterator[Service]:
    """A service that lets each key ask once."""
    with serving(
        database_url=schema.dsn,
        schema=schema.schema,
        test_clock="1",
        rule_requests_per_second="1",
        rule_requests_burst="1",
    ) as running:
        yield running


def problem_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body of an error, whose shape is the contract's."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    problem: dict[str, Any] = answer.json()
    assert problem.keys() == PROBLEM
    assert (problem["status"], problem["error"]) == (status, HTTPStatus(status).phrase)
    assert problem["path"] == answer.request.url.path
    assert problem["message"]
    assert isinstance(problem["message"], str)
    assert abs(datetime.fromisoformat(problem["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert problem["timestamp"].endswith("Z")
    assert answer.headers["X-Ledger-Position"]
    assert answer.headers["X-Request-Id"]
    return problem


def test_an_error_has_the_same_five_fields_whatever_its_status(service: Service, rules: Rules) -> None:
    http, rule = service.http, rules.define()
    answers = {
        400: http.post(RULE, json={}),
        401: http.get(NAMES, headers={"X-API-KEY": "unknown"}),
        404: http.get(f"{RULE}/{UNKNOWN}"),
        405: http.put(RULE, json={}),
        409: http.post(RULE, json=rules.wanted(rule["name"])),
        413: http.post(RULE, content=LARGE),
    }
    for status, answer in answers.items():
        problem_of(answer, status)
    assert answers[405].headers["Allow"]
    assert "2097152 bytes" in answers[413].json()["message"]


def test_who_may_not_or_asks_too_often_is_told_so_in_the_same_five_fields(narrow: Service, schema: Database) -> None:
    reader = as_key(key_for(schema, "reader"))
    problem_of(narrow.http.post(RULE, json={}, headers=reader), 403)
    problem_of(narrow.http.post(RULE, json={}, headers=reader), 429)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{API}/credit-allocation-rule-summaries"),
        ("GET", f"{API}/"),
        ("GET", f"{RULE}/"),
        ("POST", f"{RULE}/"),
        ("GET", f"{RULE}/{UNKNOWN}/usage"),
        ("GET", f"{RULE}/a%2Fb"),
        ("POST", "/login/"),
        ("POST", "/license/api/v2/credit-allocation-rule"),
        ("POST", "/LOGIN"),
    ],
)
def test_a_path_that_there_is_not_is_not_found(service: Service, method: str, path: str) -> None:
    assert problem_of(service.http.request(method, path, json={}), 404)["error"] == "Not Found"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        (LIST, {"POST"}), (RULE, {"POST"}), (SUMMARY, {"POST"}), (NAMES, {"GET"}), ("/login", {"POST"}),
        ("/auth_token/extend", {"GET"}), (f"{RULE}/{UNKNOWN}", {"GET", "PATCH", "DELETE"}),
    ],
)  # fmt: skip
def test_a_method_that_a_path_has_not_is_not_allowed(service: Service, path: str, methods: set[str]) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - methods:
        answer = service.http.request(method, path)
        problem_of(answer, 405)
        assert set(answer.headers["Allow"].split(", ")) <= methods
    assert service.http.head(path).status_code == 405


CONTENT_TYPES = [
    None,
    "application/json",
    "application/json;charset=UTF-8",
    'application/json; charset="utf-8"; version=1',
    "application/json;charset=ISO-8859-1",
    "APPLICATION/JSON",
    "application/merge-patch+json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "nonsense",
    ";",
    "",
]


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_a_body_is_read_as_json_whatever_its_content_type(
    service: Service, rules: Rules, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}

    def sent(method: str, path: str, body: Any) -> httpx.Response:
        return service.http.request(
            method, path, content=json.dumps(body, ensure_ascii=False).encode(), headers=headers
        )

    wanted = rules.wanted(f"{rules.customer} \u00e9\U0001f4b3")
    rule = sent("POST", RULE, wanted).json()
    assert rule["name"] == wanted["name"]
    assert sent("PATCH", f"{RULE}/{rule['id']}", {"allocatedCredits": 7}).json()["allocatedCredits"] == 7
    assert [told["id"] for told in sent("POST", LIST, {"ruleNames": [rule["name"]]}).json()["rules"]] == [rule["id"]]
    assert sent("POST", SUMMARY, {}).status_code == 200
    assert sent("POST", "/login", {"username": "admin", "password": service.key}).status_code == 200


NO_JSON = [
    b"{", b"}", b"{]", b"'a'", b"{'name': 1}", b'{"name": 1,}', b"{} {}", b"name=1", b"NaN", b'{"name": NaN}',
    b'{"allocatedCredits": Infinity}', b'{"allocatedCredits": -Infinity}', b'{"allocatedCredits": 01}',
    b'{"allocatedCredits": +1}', b'{"allocatedCredits": .5}',
    b"\xff", b'{"name": "\xe9"}', b'{"name": "a\nb"}', b'\xef\xbb\xbf{"name": "x"}', "{}".encode("utf-16"), b"\0",
    b"[" * 10_000, b'{"a":' * 10_000,
]  # fmt: skip
NO_OBJECTS = [b"[]", b'[{"name": "x"}]', b'"name"', b"5", b"1.5", b"true", b"1e999999", b"1e99999999999999999999"]


def everything(rules: Rules) -> list[Callable[[bytes], httpx.Response]]:
    """Every request that takes a body, to be sent with one."""
    path = f"{RULE}/{rules.define()['id']}"

    def asking(method: str, path: str) -> Callable[[bytes], httpx.Response]:
        return lambda body: rules.service.http.request(method, path, content=body)

    return [asking(method, path if of == "a rule" else of) for method, of in BODIES]


@pytest.mark.parametrize("body", NO_JSON, ids=lambda body: ascii(body)[2:20])
def test_a_body_that_is_no_json_is_refused(rules: Rules, body: bytes) -> None:
    for ask in everything(rules):
        assert problem_of(ask(body), 400)["message"].startswith("body must be JSON: ")


@pytest.mark.parametrize("body", NO_OBJECTS, ids=ascii)
def test_a_body_that_is_no_object_is_refused(rules: Rules, body: bytes) -> None:
    for ask in everything(rules):
        assert problem_of(ask(body), 400)["message"] == "body must be a JSON object"


@pytest.mark.parametrize("body", [b"", b" \r\n\t", b"null"], ids=ascii)
def test_no_body_is_one_where_none_is_needed_and_refused_elsewhere(rules: Rules, body: bytes) -> None:
    define, change, *ask, log_in = everything(rules)
    for asked in ask:
        assert asked(body).status_code == 200
    for needs_one in (define, change, log_in):
        assert problem_of(needs_one(body), 400)["message"].startswith("body must be ")


def test_a_name_that_is_not_known_is_refused_whichever_it_is(rules: Rules) -> None:
    for name in ("limits", "Name", " ", "\u00e9", "__class__", "model_config", "\0", "\ud800"):
        for ask in everything(rules):
            message = problem_of(ask(json.dumps({name: 1}).encode()), 400)["message"]
            assert f"{name} is not known" in message.split("; ")


def test_of_very_many_names_that_are_not_known_twenty_are_told(rules: Rules) -> None:
    unknown = {f"x{number}": 1 for number in range(100)}
    for body in (unknown, {"timeRange": unknown | {"type": "to_now", "value": "day"}}):
        message = rules.refused(LIST, **body)
        assert [" is not known" in each for each in message.split("; ")] == 20 * [True]


def test_whoever_logs_in_cannot_send_much_before_he_is_known(service: Service) -> None:
    start, end = b'{"username": "', b'", "password": "x"}'
    for length, status in ((64 * 1024, 400), (64 * 1024 + 1, 413)):
        body = start + b"x" * (length - len(start + end)) + end
        problem_of(service.http.post("/login", content=body), status)


def test_a_large_body_is_read_like_any_other(service: Service, rules: Rules) -> None:
    """It is read beside the requests of others."""
    groups = [f"{rules.customer} {number:06}" for number in range(5_000)]
    assert rules.define(accountGroups=groups)["accountGroups"] == groups
    assert "distinct" in rules.refused(RULE, **rules.wanted(accountGroups=[*groups, groups[0]]))


def test_a_value_as_deep_as_json_is_read_is_refused_like_any_other(rules: Rules) -> None:
    deep = b"[" * 400 + b"]" * 400
    define, change, ask, summarise, log_in = everything(rules)
    for sent, field in ((define, b"name"), (change, b"name"), (ask, b"timeRange"), (summarise, b"timeRange"),
                        (log_in, b"username")):  # fmt: skip
        assert problem_of(sent(b'{"%s": %s}' % (field, deep)), 400)["message"].startswith(field.decode())


def test_of_a_field_that_is_named_twice_the_last_counts(service: Service, rules: Rules) -> None:
    """As JSON parsers do; a bad value before it is no value."""
    body = json.dumps(rules.wanted())
    for first in ('"allocatedCredits": 5', '"allocatedCredits": -1', '"name": ""'):
        twice = body.replace("{", f"{{{first}, ", 1)
        answer = service.http.post(RULE, content=twice)
        assert answer.json()["allocatedCredits"] == 100, answer.text
        assert service.http.delete(f"{RULE}/{answer.json()['id']}").status_code == 200


def test_every_answer_says_where_it_is_right_and_a_read_shows_ones_own_writes(service: Service, rules: Rules) -> None:
    position = "X-Ledger-Position"
    made = service.http.post(RULE, json=rules.wanted())
    path = f"{RULE}/{made.json()['id']}"
    changed = service.http.patch(path, json={"alarmThreshold": 1})
    assert int(changed.headers[position]) == int(made.headers[position]) + 1
    for answer in (
        service.http.get(path),
        service.http.get(NAMES),
        service.http.post(LIST),
        service.http.post(SUMMARY),
        service.http.get(f"{RULE}/{UNKNOWN}"),
        service.http.post(RULE, json={}),
    ):
        assert answer.headers.get_list(position) == [changed.headers[position]]
        assert "X-Ledger-Stale" not in answer.headers
    assert service.http.get(path).json()["alarmThreshold"] == 1
    removed = service.http.delete(path)
    assert int(removed.headers[position]) == int(changed.headers[position]) + 1
    assert service.http.get(path).headers[position] == removed.headers[position]


@pytest.mark.parametrize("given", ["", "-1", "1.5", "1e3", "abc", "1_0", "9" * 19, "\u0661"], ids=ascii)
def test_what_is_no_position_to_wait_for_is_refused_by_its_name(service: Service, given: str) -> None:
    headers = {b"X-Ledger-At-Least": given.encode()}
    asks = (("GET", NAMES), ("GET", f"{RULE}/{UNKNOWN}"), ("POST", LIST), ("POST", SUMMARY))
    for method, path in asks:
        answer = service.http.request(method, path, headers=headers)
        assert problem_of(answer, 400)["message"].startswith("X-Ledger-At-Least ")


def test_a_position_that_is_not_there_yet_can_be_asked_for_again(service: Service, rules: Rules) -> None:
    """All are asked at once, as each waits its whole time."""
    rule = rules.define()
    asks = [("GET", NAMES), ("GET", f"{RULE}/{rule['id']}"), ("POST", LIST), ("POST", SUMMARY)]
    headers = {"X-Ledger-At-Least": FAR}
    with ThreadPoolExecutor(len(asks)) as threads:
        answers = list(threads.map(lambda ask: service.http.request(*ask, headers=headers), asks))
    for answer in answers:
        assert FAR in problem_of(answer, 503)["message"]
        assert int(answer.headers["Retry-After"]) >= 1
    head = service.http.get("/readyz").json()["head"]
    for method, path in asks:
        answer = service.http.request(method, path, headers={"X-Ledger-At-Least": head})
        assert (answer.status_code, answer.headers["X-Ledger-Position"]) == (200, head)
