"""How a rule is changed, read and removed: what is left out stays, what is wrong is named, what is gone is gone."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.service.rules import NAMES, PROBLEM, RULE, Rules
from tests.service.serving import Service

MOST = 2**31 - 1
ASTRAL = "\U0001f4b3"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
NAME = "name must be a text of 1 to 200 characters"
TARGET = "targetType must be AccountGroup"
ALLOCATED = f"allocatedCredits must be a whole number from 0 to {MOST}"
THRESHOLD = "alarmThreshold must be a whole number from 0 to 100"
GROUPS = f"accountGroups must be a list of 1 to {MOST} account group ids"
GROUP = "accountGroups must be a text of 1 to 200 characters"
CURRENCY = "currencyId must be a text of 1 to 200 characters"


@pytest.fixture
def rules(service: Service, customer: str) -> Rules:
    return Rules(service, customer)


def change(service: Service, rule_id: str, body: object) -> httpx.Response:
    return service.http.patch(f"{RULE}/{rule_id}", content=json.dumps(body))


def told(service: Service, rule_id: str) -> Any:
    answer = service.http.get(f"{RULE}/{rule_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int = 400) -> str:
    problem = answer.json()
    assert (answer.status_code, problem.keys(), problem["status"]) == (status, PROBLEM, status), answer.text
    message: str = problem["message"]
    return message


@pytest.mark.parametrize(
    ("field",            "value",               "kept"),
    [
        ("name",             ASTRAL * 200,      ASTRAL * 200),
        ("name",             "m",               "m"),
        ("allocatedCredits", 0,                 0),
        ("allocatedCredits", MOST,              MOST),
        ("allocatedCredits", 5.0,               5),
        ("alarmThreshold",   0,                 0),
        ("alarmThreshold",   100,               100),
        ("accountGroups",    ["x"],             ["x"]),
        ("accountGroups",    ["b", "a", ASTRAL * 200], ["b", "a", ASTRAL * 200]),
        ("accountGroups",    [f"g{n}" for n in range(2000)], [f"g{n}" for n in range(2000)]),
        ("currencyId",       "c" * 200,         "c" * 200),
    ],
    ids=lambda value: ascii(value)[:24],
)  # fmt: skip
def test_one_field_is_changed_and_the_rest_stays(
    service: Service, rules: Rules, field: str, value: Any, kept: Any
) -> None:
    rule = rules.define(currencyId="credits", accountGroups=["one", "two"])
    answer = change(service, rule["id"], {field: value})
    assert answer.status_code == 200, answer.text
    assert answer.json() == told(service, rule["id"]) == rule | {field: kept}


@pytest.mark.parametrize(
    ("field",            "value",               "message"),
    [
        ("name",             "",                NAME),
        ("name",             ASTRAL * 201,      NAME),
        ("name",             5,                 NAME),
        ("name",             "\0",              "name must not contain U+0000"),
        ("name",             "\ud800",          "name must not contain lone surrogates"),
        ("targetType",       "User",            TARGET),
        ("allocatedCredits", -1,                ALLOCATED),
        ("allocatedCredits", MOST + 1,          ALLOCATED),
        ("allocatedCredits", 1.5,               ALLOCATED),
        ("allocatedCredits", "5",               ALLOCATED),
        ("allocatedCredits", True,              ALLOCATED),
        ("alarmThreshold",   -1,                THRESHOLD),
        ("alarmThreshold",   101,               THRESHOLD),
        ("alarmThreshold",   False,             THRESHOLD),
        ("accountGroups",    [],                GROUPS),
        ("accountGroups",    "g",               GROUPS),
        ("accountGroups",    ["g", "g"],        "accountGroups must be distinct"),
        ("accountGroups",    [""],              GROUP),
        ("accountGroups",    ["g" * 201],       GROUP),
        ("accountGroups",    [None],            GROUP),
        ("currencyId",       "",                CURRENCY),
        ("currencyId",       "c" * 201,         CURRENCY),
        ("id",               UNKNOWN,           "id must be the id in the path"),
        ("id",               "",                "id must be the id in the path"),
        ("id",               5,                 "id must be a text, and the id in the path"),
        ("limit",            1,                 "limit is not known"),
    ],
    ids=lambda value: ascii(value)[:24],
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused_by_its_field_and_changes_nothing(
    service: Service, rules: Rules, field: str, value: Any, message: str
) -> None:
    rule = rules.define()
    assert refused(change(service, rule["id"], {"name": f"{rule['name']} new"} | {field: value})) == message
    assert told(service, rule["id"]) == rule


def test_every_bad_field_is_named_at_once(service: Service, rules: Rules) -> None:
    wrong = {
        "id": 5, "name": "", "targetType": "", "allocatedCredits": -1, "alarmThreshold": 101, "accountGroups": [],
        "currencyId": "", "x": 1,
    }  # fmt: skip
    message = refused(change(service, rules.define()["id"], wrong))
    expected = [NAME, TARGET, ALLOCATED, THRESHOLD, GROUPS, CURRENCY, "x is not known"]
    assert sorted(message.split("; ")) == sorted([*expected, "id must be a text, and the id in the path"])


def test_another_id_than_the_paths_is_named_with_whatever_else_is_wrong(service: Service, rules: Rules) -> None:
    message = refused(change(service, rules.define()["id"], {"id": "other", "name": "", "x": 1}))
    assert sorted(message.split("; ")) == sorted([NAME, "x is not known", "id must be the id in the path"])


def test_what_is_null_or_absent_stays_as_it_is(service: Service, rules: Rules) -> None:
    rule = rules.define(currencyId="credits")
    for body in ({}, dict.fromkeys(rule)):
        assert change(service, rule["id"], body).json() == told(service, rule["id"]) == rule


def test_what_is_not_the_callers_to_say_is_ignored_whatever_it_is(service: Service, rules: Rules) -> None:
    rule = rules.define()
    for value in (5, "x", [1], {"a": None}, 1.5, True):
        ours = dict.fromkeys(("customerId", "prismaId", "usedCredits", "percentage"), value)
        assert change(service, rule["id"], ours).json() == rule


def test_an_answer_can_be_sent_back_changed(service: Service, rules: Rules) -> None:
    """Whoever reads a rule, or lists it with its usage, may send it back whole."""
    rules.define()
    (listed,) = rules.own()
    answer = change(service, listed["id"], listed | {"allocatedCredits": 7})
    assert answer.json() == {name: listed[name] for name in answer.json()} | {"allocatedCredits": 7}


def test_the_id_in_the_body_may_be_spelled_as_in_the_path(service: Service, rules: Rules) -> None:
    rule = rules.define()
    for spelled in (rule["id"], rule["id"].upper()):
        assert change(service, spelled, {"id": spelled}).json() == rule
    assert service.http.get(f"{RULE}/{rule['id'].upper()}").json() == rule


def test_the_account_groups_are_replaced_whole(service: Service, rules: Rules) -> None:
    rule = rules.define(accountGroups=["a", "b", "c"])
    assert change(service, rule["id"], {"accountGroups": ["d", "a"]}).json()["accountGroups"] == ["d", "a"]
    assert told(service, rule["id"])["accountGroups"] == ["d", "a"]


def test_a_rule_may_keep_its_name_and_take_a_free_one_but_no_other_rules(service: Service, rules: Rules) -> None:
    one, other = rules.define(), rules.define()
    assert change(service, one["id"], {"name": one["name"]}).status_code == 200
    message = refused(change(service, one["id"], {"name": other["name"], "allocatedCredits": 9}), 409)
    assert message == f"name must be unique: there is already an allocation rule {other['name']!r}"
    assert told(service, one["id"]) == one
    was = one["name"]
    assert rules.change(one, name=f"{was} new")["name"] == f"{was} new"
    assert rules.change(other, name=was)["name"] == was
    assert service.http.get(NAMES).json()["names"].count(was) == 1


def test_of_eight_that_want_one_name_at_once_one_gets_it(service: Service, rules: Rules) -> None:
    ids = [rules.define()["id"] for _ in range(8)]
    wanted = {"name": f"{rules.customer} wanted"}
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda rule: change(service, rule, wanted), ids))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 7]
    assert [told(service, rule)["name"] for rule in ids].count(wanted["name"]) == 1


def test_fields_that_are_changed_at_once_are_all_changed(service: Service, rules: Rules) -> None:
    rule = rules.define()
    wanted = {"allocatedCredits": 7, "alarmThreshold": 8, "accountGroups": ["x"], "currencyId": "c"}
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda each: change(service, rule["id"], dict([each])), wanted.items()))
    assert told(service, rule["id"]) == rule | wanted


def test_a_rule_is_removed_with_an_empty_answer(service: Service, rules: Rules) -> None:
    rule = rules.define()
    answer = service.http.delete(f"{RULE}/{rule['id']}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert service.http.get(f"{RULE}/{rule['id']}").status_code == 404
    assert rule["name"] not in service.http.get(NAMES).json()["names"]
    assert rules.own() == []


def test_of_eight_who_remove_a_rule_at_once_one_does(service: Service, rules: Rules) -> None:
    rule = rules.define()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: service.http.delete(f"{RULE}/{rule['id']}"), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200, *[404] * 7]


NO_RULE = [UNKNOWN, UNKNOWN.replace("-", ""), "nope", "%00", "%ff", "%20", "a%3Fb", "null", "0", "x" * 5000]


@pytest.mark.parametrize("given", [*NO_RULE, "removed"], ids=lambda text: text[:12])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_rule_that_there_is_not_is_not_found(service: Service, rules: Rules, method: str, given: str) -> None:
    """Whether there never was one, it is gone, or what the path names is no id at all; whatever is to become of it."""
    if given == "removed":
        rule = rules.define()
        rules.remove(rule)
        given = rule["id"]
    before = service.http.get("/readyz").json()["head"]
    answer = service.http.request(method, f"{RULE}/{given}", content="{}" if method == "PATCH" else None)
    assert refused(answer, 404).startswith("no allocation rule ")
    assert answer.json()["error"] == "Not Found"
    assert service.http.get("/readyz").json()["head"] == before


def test_a_credit_grant_is_no_rule(service: Service, rules: Rules) -> None:
    grant = rules.grant(1)
    for method in ("GET", "PATCH", "DELETE"):
        answer = service.http.request(method, f"{RULE}/{grant}", content="{}" if method == "PATCH" else None)
        assert refused(answer, 404) == f"no allocation rule {grant}"
