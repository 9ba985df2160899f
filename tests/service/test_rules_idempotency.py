"""The same key and body again is the first answer again, for ever; another body is refused by what differs."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.service.rules import PROBLEM, RULE, Rules
from tests.service.serving import Service

KEY = "Idempotency-Key"
BOUNDS = "Idempotency-Key must be a text of 1 to 255 characters"


@pytest.fixture
def rules(service: Service, customer: str) -> Rules:
    return Rules(service, customer)


@pytest.fixture
def key() -> str:
    return secrets.token_hex(8)


def sent(service: Service, method: str, key: str, rule_id: str = "", body: Any = None) -> httpx.Response:
    path = f"{RULE}/{rule_id}" if rule_id else RULE
    return service.http.request(method, path, json=body, headers={KEY.encode(): key.encode()})


def head(service: Service) -> str:
    found: str = service.http.get("/readyz").json()["head"]
    return found


def same(first: httpx.Response, again: httpx.Response) -> bool:
    """Whether both tell the same, right at the same position."""
    assert first.status_code == 200, first.text
    position, replayed = "X-Ledger-Position", "X-Ledger-Replayed"
    assert (first.headers.get(replayed), again.headers.get(replayed)) == (None, "true")
    return (again.status_code, again.content, again.headers[position]) == (200, first.content, first.headers[position])


def refused(answer: httpx.Response, status: int) -> str:
    problem = answer.json()
    assert (answer.status_code, problem.keys(), problem["status"]) == (status, PROBLEM, status), answer.text
    message: str = problem["message"]
    return message


def test_a_rule_is_made_once_however_often_it_is_asked_for(service: Service, rules: Rules, key: str) -> None:
    """Also when it has another name by now, or another rule has its name, or it is gone."""
    wanted = rules.wanted()
    first = sent(service, "POST", key, body=wanted)
    rule = first.json()
    assert same(first, sent(service, "POST", key, body=wanted))
    service.http.patch(f"{RULE}/{rule['id']}", json={"name": f"{rule['name']} new", "allocatedCredits": 1})
    rules.define(rule["name"])
    assert same(first, sent(service, "POST", key, body=wanted))
    service.http.delete(f"{RULE}/{rule['id']}")
    before = head(service)
    assert same(first, sent(service, "POST", key, body=wanted))
    assert head(service) == before


def test_a_change_is_made_once_however_often_it_is_asked_for(service: Service, rules: Rules, key: str) -> None:
    rule = rules.define()
    first = sent(service, "PATCH", key, rule["id"], {"allocatedCredits": 1})
    rules.change(rule, allocatedCredits=2)
    assert same(first, sent(service, "PATCH", key, rule["id"], {"allocatedCredits": 1}))
    assert service.http.get(f"{RULE}/{rule['id']}").json()["allocatedCredits"] == 2
    rules.remove(rule)
    assert same(first, sent(service, "PATCH", key, rule["id"], {"allocatedCredits": 1}))


def test_a_rule_is_removed_once_however_often_it_is_asked_for(service: Service, rules: Rules, key: str) -> None:
    rule = rules.define()
    first = sent(service, "DELETE", key, rule["id"])
    before = head(service)
    assert same(first, sent(service, "DELETE", key, rule["id"]))
    assert refused(sent(service, "DELETE", f"{key} other", rule["id"]), 404)
    assert head(service) == before


def test_a_change_of_nothing_keeps_its_key_too(service: Service, rules: Rules, key: str) -> None:
    rule = rules.define()
    first = sent(service, "PATCH", key, rule["id"], {})
    assert same(first, sent(service, "PATCH", key, rule["id"], {}))
    assert refused(sent(service, "PATCH", key, rule["id"], {"alarmThreshold": 1}), 409).endswith(": alarmThreshold")


@pytest.mark.parametrize(
    "alike",
    [
        {"allocatedCredits": 100.0},
        {"currencyId": None},
        {"id": "x", "customerId": 5, "usedCredits": [1], "percentage": None},
    ],
    ids=str,
)
def test_bodies_that_mean_the_same_are_the_same(
    service: Service, rules: Rules, key: str, alike: dict[str, Any]
) -> None:
    wanted = rules.wanted()
    first = sent(service, "POST", key, body=wanted)
    assert same(first, sent(service, "POST", key, body=dict(reversed((wanted | alike).items()))))


@pytest.mark.parametrize(
    ("differing", "named"),
    [
        ({"name": "other"}, "name"),
        ({"allocatedCredits": 101}, "allocatedCredits"),
        ({"alarmThreshold": 51}, "alarmThreshold"),
        ({"accountGroups": ["other"]}, "accountGroups"),
        ({"currencyId": "credits"}, "currencyId"),
        ({"currencyId": "credits", "alarmThreshold": 0}, "alarmThreshold, currencyId"),
    ],
    ids=str,
)
def test_another_body_is_refused_by_the_fields_that_differ(
    service: Service, rules: Rules, key: str, differing: dict[str, Any], named: str
) -> None:
    wanted = rules.wanted()
    rule = sent(service, "POST", key, body=wanted).json()
    before = head(service)
    told = refused(sent(service, "POST", key, body=wanted | differing), 409)
    assert told == f"idempotency key {key!r} was used with another body; these fields differ: {named}"
    sent(service, "PATCH", key, rule["id"], wanted)
    assert refused(sent(service, "PATCH", key, rule["id"], wanted | differing), 409).endswith(f"differ: {named}")
    assert int(head(service)) == int(before) + 1
    assert service.http.get(f"{RULE}/{rule['id']}").json() == rule


def test_a_refusal_keeps_no_key(service: Service, rules: Rules, key: str) -> None:
    rule = rules.define()
    assert refused(sent(service, "POST", key, body=rules.wanted(rule["name"])), 409)
    assert refused(sent(service, "POST", key, body=rules.wanted(allocatedCredits=-1)), 400)
    assert sent(service, "POST", key, body=rules.wanted()).status_code == 200


def test_a_key_is_of_one_act_on_one_rule(service: Service, rules: Rules, key: str) -> None:
    """Making, changing and removing have keys of their own, and so has each rule."""
    rule = sent(service, "POST", key, body=rules.wanted()).json()
    other = rules.define()
    for rule_id in (rule["id"], other["id"]):
        assert sent(service, "PATCH", key, rule_id, {"allocatedCredits": 7}).json()["allocatedCredits"] == 7
        assert sent(service, "DELETE", key, rule_id).content == b""
        assert service.http.get(f"{RULE}/{rule_id}").status_code == 404


def test_of_eight_with_one_key_at_once_all_hear_of_one_rule(service: Service, rules: Rules, key: str) -> None:
    wanted = rules.wanted()
    before = int(head(service))
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: sent(service, "POST", key, body=wanted), range(8)))
    told = {(answer.status_code, answer.content, answer.headers["X-Ledger-Position"]) for answer in answers}
    assert [status for status, *_ in told] == [200]
    assert [answer.headers.get("X-Ledger-Replayed") for answer in answers].count("true") == 7
    assert int(head(service)) == before + 1


@pytest.mark.parametrize("given", ["k", "k" * 255, 'a b,c;d="e"', "\u00e9"], ids=lambda text: ascii(text)[:9])
def test_a_key_within_its_bounds_is_kept(service: Service, rules: Rules, given: str) -> None:
    wanted = rules.wanted()
    rule = rules.define()
    unique = given if len(given) == 255 else f"{given}{secrets.token_hex(4)}"
    first = sent(service, "POST", unique, body=wanted)
    assert same(first, sent(service, "POST", unique, body=wanted))
    for method, body in (("PATCH", {}), ("DELETE", None)):
        first = sent(service, method, given, rule["id"], body)
        assert same(first, sent(service, method, given, rule["id"], body))


@pytest.mark.parametrize("given", ["", "k" * 256], ids=len)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_key_out_of_its_bounds_is_refused_by_its_name(
    service: Service, rules: Rules, method: str, given: str
) -> None:
    rule = rules.define()
    before = head(service)
    body = {"POST": rules.wanted(), "PATCH": {}, "DELETE": None}[method]
    assert refused(sent(service, method, given, "" if method == "POST" else rule["id"], body), 400) == BOUNDS
    assert head(service) == before
