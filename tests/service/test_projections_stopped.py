"""A projection that an operator pauses or that an event stops: it alone, told everywhere, until somebody decides."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ledger.store.database import Database
from projections.read_model import BALANCES, READ_MODELS, USAGE
from service.cli.frame import operator
from tests.service.load import eventually
from tests.service.operating import SECONDS_MAX, Operated, fill, use
from tests.service.serving import ANSWER_SECONDS_MAX, Service, command, serving

WHY = "a debit that nobody made, see bug 42"


@pytest.fixture
def operated(database: Database) -> Operated:
    operated = fill(database)
    operated.follow()
    return operated


def ready(service: Service) -> httpx.Response:
    return service.http.get("/readyz")


def positions(operated: Operated) -> dict[str, int]:
    """How far those have come that serve."""
    return {each["name"]: each["position"] for each in operated.told("status")["projections"] if each["serving"]}


def others_reach(operated: Operated, but: str) -> int:
    """Wait until all but one are at the head; where that one stands."""
    others = {model.name: operated.head() for model in READ_MODELS if model.name != but}
    assert eventually(lambda: positions(operated).items() >= others.items(), SECONDS_MAX)
    return positions(operated)[but]


def test_a_paused_projection_is_followed_by_nobody_also_after_a_restart_until_it_is_resumed(
    operated: Operated,
) -> None:
    stood = operated.head()
    with serving(**operated.settings) as service:
        done = command("projections", "pause", "usage", **operated.settings)
        assert (done.returncode, done.stdout) == (0, "usage paused\n")
        assert operated.told("pause", "usage") == {"paused": ["usage"]}, "again is fine"
        with operated.books() as books:
            use(books, 30)
        assert others_reach(operated, "usage") == stood
        answer = ready(service)
        assert (answer.status_code, answer.json()["paused"]) == (200, ["usage"])
        rows = operated.rows(USAGE)
    with serving(**operated.settings) as service, operated.books() as books:
        use(books, 30)
        assert others_reach(operated, "usage") == stood
        told = operated.served("usage")
        assert (told["state"], told["lagEvents"]) == ("paused", 60)
        assert operated.rows(USAGE) == rows
        assert operated.told("resume", "usage") == {"resumed": ["usage"]}
        assert eventually(lambda: positions(operated)["usage"] == operated.head(), SECONDS_MAX)
        assert "paused" not in ready(service).json()
        assert operated.served("usage")["state"] == "live"
        assert operated.run("rebuild", "usage", "--dry-run").returncode == 0
        operated.run("pause", "--all")
        stood = operated.head()
        use(books, 5)
        assert set(positions(operated).values()) == {stood}
        operated.run("resume", "--all")
        assert eventually(lambda: set(positions(operated).values()) == {operated.head()}, SECONDS_MAX)


class Poisoned:
    """A ledger with an event that the balances cannot fold, in the middle of a transaction among hundreds."""

    def __init__(self, operated: Operated) -> None:
        self.operated = operated
        with operated.books() as books:
            use(books, 300)
            self.first = operated.plant("-1", "-5000000", "-2")
            self.position = self.first + 1
        with operated.books() as books:
            use(books, 300)


@pytest.fixture
def poisoned(operated: Operated) -> Poisoned:
    return Poisoned(operated)


@pytest.fixture
def service(poisoned: Poisoned) -> Iterator[Service]:
    """Its runner has met the event."""
    with serving(**poisoned.operated.settings) as service:
        assert eventually(lambda: ready(service).status_code == 503, SECONDS_MAX)
        yield service


def test_an_event_that_cannot_be_folded_stops_one_projection_before_it_and_is_named_everywhere(
    poisoned: Poisoned, service: Service
) -> None:
    """Which is found among hundreds; the events before its transaction are folded."""
    operated, position = poisoned.operated, poisoned.position
    assert others_reach(operated, "balances") == poisoned.first - 1
    told = operated.served("balances")
    assert (told["state"], told["error"]["position"]) == ("failed", position)
    assert "violates check constraint" in told["error"]["message"]
    assert service.http.get("/ops/projections").json()["projections"][0] == told
    line = f"balances {BALANCES.version} failed at position {position}: "
    assert line in operated.run("status").stdout
    (name, problem), *more = ready(service).json()["problems"].items()
    assert (name, more) == ("read model balances", [])
    assert f"cannot fold the event at position {position}: " in problem
    assert "violates check constraint" in problem
    (error,) = [each for each in log_of(service) if each["level"] == "ERROR"]
    assert (error["projection"], error["position"]) == ("balances", position)
    assert "violates check constraint" in error["message"]
    assert "Failing row" not in str((error, problem, told)), "nobody's figures stand where everybody may look"
    used = 602 + 300  # what acme had used when it was filled, and before the event
    assert balance_of(operated, "acme") == f"{1_000_000 - used}.500000001"
    assert balance_of(operated, "odd") == "999999.500000001"


def log_of(service: Service) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log().splitlines(keepends=True) if line.endswith("\n")]


def balance_of(operated: Operated, holder: str) -> str:
    """As the table has it, in credits."""
    (row,) = [row for row in operated.rows(BALANCES) if f",{holder},credits," in row]
    return row.strip("()").split(",")[-2]


def test_only_that_event_may_be_left_out_and_that_is_told_for_ever(poisoned: Poisoned, service: Service) -> None:
    operated, position = poisoned.operated, poisoned.position
    others_reach(operated, "balances")
    refused = operated.told("rebuild", "balances", ends=3)["error"]
    assert (refused["code"], refused["position"]) == ("ProjectionFailed", position)
    for name, at in (("balances", position - 1), ("balances", position + 1), ("usage", position)):
        refused = operated.told("skip", name, "--position", str(at), "--reason", WHY, ends=3)["error"]
        assert (refused["code"], refused["name"], refused["position"]) == ("NotFailedThere", name, at)
    assert operated.told("status")["skips"] == []

    said = command(
        *("projections", "skip", "balances", "--position", str(position), "--reason", WHY), **operated.settings
    )
    assert (said.returncode, said.stdout) == (0, f"balances leaves out the event at position {position}: {WHY}\n")
    assert eventually(lambda: positions(operated)["balances"] == operated.head(), SECONDS_MAX)
    assert ready(service).status_code == 200
    assert balance_of(operated, "odd") == "999996.500000001", "all of its transaction is folded but that event"
    assert balance_of(operated, "acme") == f"{1_000_000 - 602 - 600}.500000001"

    rows = operated.rows(BALANCES)
    assert operated.run("rebuild", "balances", "--dry-run").returncode == 0
    (rebuilt,) = operated.told("rebuild", "balances")
    assert rebuilt["comparison"]["differing"] == 0
    operated.run("prune")
    assert operated.rows(BALANCES) == rows
    with operated.books() as books:
        use(books, 5)
    assert eventually(lambda: positions(operated)["balances"] == operated.head(), SECONDS_MAX)
    (skip,) = operated.told("status")["skips"]
    assert service.http.get("/ops/projections", timeout=ANSWER_SECONDS_MAX).json()["skips"] == [skip]
    who = operator().key
    assert skip == {
        "name": "balances", "position": position, "reason": WHY,
        "skippedAt": "2026-01-31T12:00:00.000Z", "skippedBy": who,
    }  # fmt: skip
    line = f"balances leaves out position {position} since 2026-01-31 ({who}): {WHY}"
    assert line in operated.run("status").stdout.splitlines()
    again = operated.told("skip", "balances", "--position", str(position), "--reason", "again", ends=3)["error"]
    assert again["code"] == "NotFailedThere"
    assert operated.told("status")["skips"] == [skip]
