"""How a rule is made: each field's bounds from both sides, all that is wrong told at once, names that only one has."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ledger.domain.values import UUID
from ledger.store.database import Database
from tests.service.rules import NAMES, PROBLEM, RULE, Rules
from tests.service.serving import Service, serving

MOST = 2**31 - 1
ASTRAL = "\U0001f4b3"
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


@pytest.fixture(scope="module")
def neighbour(schema: Database) -> Iterator[Service]:
    """Another process that serves the same ledger."""
    with serving(database_url=schema.dsn, schema=schema.schema, test_clock="1") as running:
        yield running


def create(service: Service, body: object) -> httpx.Response:
    """Sent in JSON as Python spells it, in ASCII: lone surrogates too, and 5.0 as 5.0."""
    return service.http.post(RULE, content=json.dumps(body), headers={"Content-Type": "application/json"})


def refused(answer: httpx.Response, status: int = 400) -> str:
    problem = answer.json()
    assert (answer.status_code, problem.keys(), problem["status"]) == (status, PROBLEM, status), answer.text
    message: str = problem["message"]
    return message


def names(service: Service) -> list[str]:
    found: list[str] = service.http.get(NAMES).json()["names"]
    return found


def test_a_new_rule_is_answered_whole_and_without_usage(service: Service, rules: Rules) -> None:
    wanted = rules.wanted(currencyId="credits", accountGroups=["b", "a"])
    answer = create(service, wanted)
    rule = answer.json()
    assert answer.status_code == 200
    assert UUID.fullmatch(rule.pop("id"))
    assert rule == wanted | {"customerId": None, "prismaId": None}
    assert service.http.get(f"{RULE}/{answer.json()['id']}").json() == answer.json()


def test_without_a_currency_a_rule_is_about_all_of_them(rules: Rules) -> None:
    assert rules.define()["currencyId"] is None
    assert rules.define(currencyId=None)["currencyId"] is None


@pytest.mark.parametrize(
    ("field",            "value",                  "kept"),
    [
        ("name",             ASTRAL * 200,         ASTRAL * 200),
        ("name",             "n" * 200,            "n" * 200),
        ("name",             " ",                  " "),
        ("name",             "\u00e9 \u2028 \t/?", "\u00e9 \u2028 \t/?"),
        ("allocatedCredits", 0,                    0),
        ("allocatedCredits", MOST,                 MOST),
        ("allocatedCredits", 5.0,                  5),
        ("allocatedCredits", -0.0,                 0),
        ("alarmThreshold",   0,                    0),
        ("alarmThreshold",   100,                  100),
        ("alarmThreshold",   50.0,                 50),
        ("accountGroups",    ["x"],                ["x"]),
        ("accountGroups",    [ASTRAL * 200],       [ASTRAL * 200]),
        ("accountGroups",    ["b", "a", "B", " "], ["b", "a", "B", " "]),
        ("accountGroups",    [f"g{n}" for n in range(2000)], [f"g{n}" for n in range(2000)]),
        ("currencyId",       "c",                  "c"),
        ("currencyId",       ASTRAL * 200,         ASTRAL * 200),
        ("targetType",       "AccountGroup",       "AccountGroup"),
    ],
    ids=lambda value: ascii(value)[:24],
)  # fmt: skip
def test_a_value_within_its_bounds_is_kept(service: Service, rules: Rules, field: str, value: Any, kept: Any) -> None:
    answer = create(service, rules.wanted() | {field: value})
    assert answer.json()[field] == kept, answer.text
    assert type(answer.json()[field]) is type(kept)
    told = service.http.get(f"{RULE}/{answer.json()['id']}").json()
    assert told[field] == kept


def test_one_character_is_name_enough(service: Service, rules: Rules) -> None:
    assert create(service, rules.wanted("n")).json()["name"] == "n"


@pytest.mark.parametrize(
    ("field",            "value",               "message"),
    [
        ("name",             "",                NAME),
        ("name",             "n" * 201,         NAME),
        ("name",             ASTRAL * 201,      NAME),
        ("name",             None,              NAME),
        ("name",             5,                 NAME),
        ("name",             ["n"],             NAME),
        ("name",             "a\0b",            "name must not contain U+0000"),
        ("name",             "a\ud800b",        "name must not contain lone surrogates"),
        ("targetType",       "",                TARGET),
        ("targetType",       "accountgroup",    TARGET),
        ("targetType",       "AccountGroup ",   TARGET),
        ("targetType",       None,              TARGET),
        ("targetType",       {},                TARGET),
        ("allocatedCredits", -1,                ALLOCATED),
        ("allocatedCredits", MOST + 1,          ALLOCATED),
        ("allocatedCredits", 1.5,               ALLOCATED),
        ("allocatedCredits", 10**50,            ALLOCATED),
        ("allocatedCredits", 1e300,             ALLOCATED),
        ("allocatedCredits", "5",               ALLOCATED),
        ("allocatedCredits", True,              ALLOCATED),
        ("allocatedCredits", None,              ALLOCATED),
        ("allocatedCredits", [5],               ALLOCATED),
        ("alarmThreshold",   -1,                THRESHOLD),
        ("alarmThreshold",   101,               THRESHOLD),
        ("alarmThreshold",   99.5,              THRESHOLD),
        ("alarmThreshold",   "50",              THRESHOLD),
        ("alarmThreshold",   False,             THRESHOLD),
        ("alarmThreshold",   None,              THRESHOLD),
        ("accountGroups",    [],                GROUPS),
        ("accountGroups",    None,              GROUPS),
        ("accountGroups",    "g",               GROUPS),
        ("accountGroups",    {"g": 1},          GROUPS),
        ("accountGroups",    ["g", "h", "g"],   "accountGroups must be distinct"),
        ("accountGroups",    ["g", ""],         GROUP),
        ("accountGroups",    ["g" * 201],       GROUP),
        ("accountGroups",    ["g", 5],          GROUP),
        ("accountGroups",    ["g", None],       GROUP),
        ("accountGroups",    [["g"]],           GROUP),
        ("accountGroups",    ["g\0"],           "accountGroups must not contain U+0000"),
        ("accountGroups",    ["\udfff"],        "accountGroups must not contain lone surrogates"),
        ("currencyId",       "",                CURRENCY),
        ("currencyId",       "c" * 201,         CURRENCY),
        ("currencyId",       5,                 CURRENCY),
        ("currencyId",       "\0",              "currencyId must not contain U+0000"),
        ("currencyId",       "\ud800",          "currencyId must not contain lone surrogates"),
        ("usedcredits",      1,                 "usedcredits is not known"),
        ("",                 1,                 " is not known"),
        ("a\0",              None,              "a\0 is not known"),
        ("\ud800",           1,                 "\ud800 is not known"),
    ],
    ids=lambda value: ascii(value)[:24],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused_by_its_field_and_bound(
    service: Service, rules: Rules, field: str, value: Any, message: str
) -> None:
    wanted = rules.wanted()
    assert refused(create(service, wanted | {field: value})) == message
    assert wanted["name"] not in names(service)


@pytest.mark.parametrize("spelled", ["5.0", "5e0", "0.5e1", "50E-1", "5.000000000000000000000000000000000000000000"])
def test_a_whole_number_may_be_spelled_with_a_point_or_an_exponent(
    service: Service, rules: Rules, spelled: str
) -> None:
    body = json.dumps(rules.wanted(allocatedCredits="?", alarmThreshold="?")).replace('"?"', spelled)
    answer = service.http.post(RULE, content=body)
    assert '"allocatedCredits": 5,' in answer.text
    assert '"alarmThreshold": 5,' in answer.text


@pytest.mark.parametrize(
    "spelled",
    ["5.1", "9" * 5000, "-" + "9" * 5000, "1e999999", "1e-999999", "1e99999999999999999999", "-1e0", "2147483647.5"],
)
def test_a_number_that_is_not_whole_or_not_within_any_bounds_is_refused_by_its_field(
    service: Service, rules: Rules, spelled: str
) -> None:
    body = json.dumps(rules.wanted(allocatedCredits="?")).replace('"?"', spelled)
    assert refused(service.http.post(RULE, content=body)) == ALLOCATED


def test_what_is_required_is_named_where_it_is_absent(service: Service, rules: Rules) -> None:
    assert refused(create(service, {})).split("; ") == [NAME, TARGET, ALLOCATED, THRESHOLD, GROUPS]
    for field, message in zip(rules.wanted(), (NAME, TARGET, ALLOCATED, THRESHOLD, GROUPS), strict=True):
        wanted = rules.wanted()
        del wanted[field]
        assert refused(create(service, wanted)) == message


def test_every_bad_field_is_named_at_once(service: Service, rules: Rules) -> None:
    wrong = {
        "name": "", "targetType": "User", "allocatedCredits": -1, "alarmThreshold": 101, "accountGroups": [],
        "currencyId": "", "limit": 1,
    }  # fmt: skip
    told = [NAME, TARGET, ALLOCATED, THRESHOLD, GROUPS, CURRENCY, "limit is not known"]
    assert sorted(refused(create(service, wrong)).split("; ")) == sorted(told)


@pytest.mark.parametrize("value", [None, 5, -(10**30), 1.5, "x", "\ud800", [], {"a": [None]}, True], ids=ascii)
def test_what_is_not_the_callers_to_say_is_ignored_whatever_it_is(service: Service, rules: Rules, value: Any) -> None:
    ours = dict.fromkeys(("id", "customerId", "prismaId", "usedCredits", "percentage"), value)
    rule = create(service, rules.wanted() | ours).json()
    assert UUID.fullmatch(rule["id"])
    assert (rule["customerId"], rule["prismaId"]) == (None, None)
    assert not rule.keys() & {"usedCredits", "percentage"}


def test_an_id_that_is_given_is_not_the_rules(rules: Rules) -> None:
    first = rules.define()
    assert rules.define(id=first["id"])["id"] != first["id"]


def test_a_name_is_given_once(service: Service, rules: Rules) -> None:
    rule = rules.define()
    answer = create(service, rules.wanted(rule["name"], allocatedCredits=7, accountGroups=["other"]))
    assert refused(answer, 409) == f"name must be unique: there is already an allocation rule {rule['name']!r}"
    assert names(service).count(rule["name"]) == 1
    assert service.http.get(f"{RULE}/{rule['id']}").json() == rule


def test_names_are_compared_to_the_letter(service: Service, rules: Rules) -> None:
    name = f"{rules.customer} \u00e9"
    alike = [name, name.upper(), f"{name} ", name.replace("\u00e9", "e\u0301")]
    for each in alike:
        rules.define(each)
    assert set(alike) <= set(names(service))


def test_the_name_of_a_rule_that_was_removed_is_free_again(service: Service, rules: Rules) -> None:
    rule = rules.define()
    rules.remove(rule)
    assert rule["name"] not in names(service)
    again = rules.define(rule["name"])
    assert again["id"] != rule["id"]
    assert refused(create(service, rules.wanted(rule["name"])), 409)


def test_of_eight_who_want_one_name_at_once_one_gets_it(service: Service, rules: Rules) -> None:
    wanted = rules.wanted()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: create(service, wanted), range(24)))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 23]
    assert names(service).count(wanted["name"]) == 1


def test_of_two_processes_with_one_ledger_one_gives_a_name(service: Service, neighbour: Service, rules: Rules) -> None:
    for _ in range(5):
        wanted = rules.wanted()
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(create, [service, neighbour] * 4, [wanted] * 8))
        assert sorted(answer.status_code for answer in answers) == [200, *[409] * 7]
        assert names(service) == names(neighbour)
        assert names(service).count(wanted["name"]) == 1


def test_what_one_process_changed_the_other_knows(service: Service, neighbour: Service, rules: Rules) -> None:
    rule, elsewhere = rules.define(), Rules(neighbour, rules.customer)
    assert refused(create(neighbour, rules.wanted(rule["name"])), 409)
    renamed = rules.change(rule, name=f"{rule['name']} again")
    elsewhere.define(rule["name"])
    assert refused(create(service, rules.wanted(rule["name"])), 409)
    assert neighbour.http.delete(f"{RULE}/{renamed['id']}").status_code == 200
    assert refused(service.http.patch(f"{RULE}/{rule['id']}", json={}), 404)
    rules.define(renamed["name"])


def test_names_come_in_their_order(service: Service, rules: Rules) -> None:
    ours = [f"{rules.customer} {text}" for text in ("b", "a", "B", "\u00e9", "z", ASTRAL, "\uffff", "")]
    for name in ours:
        rules.define(name)
    assert [name for name in names(service) if name in ours] == sorted(ours)
    assert names(service) == sorted(names(service))
