"""How operators see the projections: the same on the command line and over HTTP, for those who may operate."""

import json
import signal
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from ledger.domain.instants import instant_text
from ledger.store.clock import set_test_clock
from ledger.store.database import Database, Role
from projections.read_model import ALLOCATION_RULES, BALANCES, ENTRIES, LOTS, READ_MODELS, USAGE
from projections.registry import begin_shadow
from projections.runner import Runner
from service.api_keys import create_key
from tests.conftest import START
from tests.service.load import eventually
from tests.service.operating import SECONDS_MAX, Operated, fill, use
from tests.service.serving import ANSWER_SECONDS_MAX, serving

FIELDS = {
    *("name", "version", "state", "serving", "position", "head"),
    *("lagEvents", "lagSeconds", "eventsPerSecond", "etaSeconds", "error"),
}
LEFT_OUT = {"name": "group_sets", "position": 4, "reason": "bug 42", "skippedBy": "ann"}


@pytest.fixture(scope="module")
def operated(schema: Database) -> Operated:
    """Projections in every state there is, 601 uses after they were all live; nobody follows the log any more."""
    operated = fill(schema)
    operated.follow()
    assert operated.run("rebuild", USAGE.name).returncode == 0
    assert operated.run("pause", ENTRIES.name).returncode == 0
    operated.execute("ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false) NOT VALID", ALLOCATION_RULES)
    with operated.books() as books:
        use(books, 300)
        with schema.connect(Role.WRITER) as connection:
            set_test_clock(connection, START + timedelta(seconds=10))
        books.define_allocation_rule(name="another", account_groups=["lab"], allocated=1, alarm_threshold=1)
        with Runner(schema, [model for model in READ_MODELS if model is not LOTS]):
            assert eventually(lambda: failed(schema) and operated.served("usage")["lagEvents"] == 0, SECONDS_MAX)
        use(books, 300)
    operated.follow(*(model for model in READ_MODELS if model not in (LOTS, ENTRIES, ALLOCATION_RULES)))
    with schema.connect(Role.PROJECTOR) as connection:
        begin_shadow(connection, schema, BALANCES)
        connection.execute("UPDATE projections SET events_per_second = 1202 WHERE name = 'lots'")
        connection.execute(
            "INSERT INTO projection_skips VALUES ('group_sets', 4, 'bug 42', %s, 'ann')",
            [START],
        )
    return operated


def failed(database: Database) -> bool:
    with database.connect(Role.READER) as connection:
        return connection.execute("SELECT FROM projections WHERE error IS NOT NULL").fetchone() is not None


@pytest.fixture(scope="module")
def url(operated: Operated) -> Iterator[str]:
    """A service beside it that does not follow the log either."""
    with serving("--no-worker", **operated.settings) as service:
        yield service.url


def asked(operated: Operated, url: str, role: str | None) -> httpx.Response:
    """The answer to a key of a role, or to no key."""
    headers = {}
    if role is not None:
        with operated.database.connect(Role.OWNER) as connection:
            headers["X-API-KEY"] = create_key(connection, START, name="of a test", role=role, holders=())[1]
    return httpx.get(f"{url}/ops/projections", headers=headers, timeout=ANSWER_SECONDS_MAX)


def test_every_build_is_told_with_its_state_and_how_far_behind_it_is(operated: Operated) -> None:
    told = operated.told("status")
    head = operated.head()
    builds: list[dict[str, Any]] = told["projections"]
    assert all(each.keys() == FIELDS and each["head"] == head for each in builds)
    assert [(each["name"], each["serving"]) for each in builds] == [
        each
        for model in READ_MODELS
        for each in [(model.name, True), *[(model.name, False)] * (model in (BALANCES, USAGE))]
    ]
    found = {
        (each["name"], each["state"]): (each["lagEvents"], each["lagSeconds"], each["etaSeconds"]) for each in builds
    }
    told_of = {name: lag for (name, state), lag in found.items() if state == "live"}
    assert told_of.keys() == {model.name for model in READ_MODELS} - {"lots", "entries", "allocation_rules"}
    assert {lag[:2] for lag in told_of.values()} == {(0, 0.0)}
    others = {each: lag for each, lag in found.items() if each[1] != "live"}
    first = others.pop(("balances", "rebuilding"))
    assert first == (head, 10.0, None), "it has folded nothing, and the first event is from ten seconds ago"
    assert others.pop(("lots", "catching up")) == (601, 10.0, 0.5)
    assert {each: lag[:2] for each, lag in others.items()} == {
        ("entries", "paused"): (601, 10.0),
        ("usage", "kept"): (601, 10.0),
        ("allocation_rules", "failed"): (301, 0.0),
    }
    assert all(each["eventsPerSecond"] > 0 for each in builds if each["state"] == "live")


def test_what_stopped_a_projection_is_told_with_the_events_position(operated: Operated) -> None:
    told = operated.served("allocation_rules")
    assert told["error"]["position"] == told["position"] + 1 == operated.head() - 300
    assert '"broken"' in told["error"]["message"]
    assert [each["error"] for each in operated.told("status")["projections"] if each["state"] != "failed"] == [
        None
    ] * 11


def test_people_read_the_same_in_a_table(operated: Operated) -> None:
    done = operated.run("status")
    title, *lines = done.stdout.splitlines()
    builds = operated.told("status")["projections"]
    assert (done.returncode, done.stderr) == (0, "")
    assert title.split() == ["name", "version", "state", "position", "head", "lag", "behind", "rate", "eta"]
    for line, each in zip(lines, builds, strict=False):
        told = (
            each["name"],
            each["version"],
            *each["state"].split(),
            each["position"],
            each["head"],
            each["lagEvents"],
        )
        assert line.split()[: len(told)] == [str(fact) for fact in told]
    failure, left_out, follower = lines[len(builds) :]
    assert f"allocation_rules {ALLOCATION_RULES.version} failed at position {operated.head() - 300}: " in failure
    assert '"broken"' in failure
    assert left_out == "group_sets leaves out position 4 since 2026-01-31 (ann): bug 42"
    assert follower == "nobody follows the log: start credit-ledger serve or credit-ledger worker"
    (lots,) = [line.split() for line in lines if line.startswith("lots ")]
    assert lots[-6:] == ["601", "10.0", "s", "1,202/s", "0.5", "s"]


def test_an_admins_key_is_told_the_same_document_over_http(operated: Operated, url: str) -> None:
    answer = asked(operated, url, "admin")
    assert answer.status_code == 200
    assert answer.json() == operated.told("status")
    assert answer.json()["followed"] is False
    assert answer.json()["skips"] == [LEFT_OUT | {"skippedAt": instant_text(START)}]


@pytest.mark.parametrize(("role", "status"), [("writer", 403), ("reader", 403), ("auditor", 403), (None, 401)], ids=str)
def test_nobody_else_is_told_anything_of_them(operated: Operated, url: str, role: str | None, status: int) -> None:
    answer = asked(operated, url, role)
    assert answer.status_code == status
    assert "projections" not in answer.json()


def test_it_can_be_watched_until_ctrl_c(operated: Operated) -> None:
    """With --json one document a line; for people the table again and again."""
    with operated.started("status", "--watch", "--json") as documents, operated.started("status", "--watch") as tables:
        assert documents.stdout is not None
        assert tables.stdout is not None
        told = [json.loads(documents.stdout.readline()) for _ in range(2)]
        assert told == [operated.told("status")] * 2
        titles = 0
        while titles < 2:
            titles += tables.stdout.readline().startswith("name ")
        for process in (documents, tables):
            process.send_signal(signal.SIGINT)
            _, log = process.communicate(timeout=ANSWER_SECONDS_MAX)
            assert (process.returncode, log) == (130, "")


def test_a_ledger_that_nobody_has_followed_yet_has_none(database: Database) -> None:
    assert Operated(database).told("status") == {"head": 0, "followed": False, "projections": [], "skips": []}
