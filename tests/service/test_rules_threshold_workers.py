"""Thresholds whoever looks, and whenever: with many processes, after kills, rebuilds and faults each is told once."""

import random
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from ledger.application import BlockingLedger
from ledger.store.database import Database, Role
from projections.read_model import ALLOCATION_RULES, READ_MODELS
from projections.registry import prepare
from tests.conftest import Hands
from tests.service.load import eventually
from tests.service.rules import Rules
from tests.service.serving import Service, serving
from tests.service.test_processes import working
from tests.service.thresholds import SECONDS_MAX, everything_is_told, has_rule, head_of, keep, kept, recorded, uses

CLIENTS = 4
ROUNDS = 20
GROUPS = ("a", "b", "c", "d")
MONTHS = ("2025-10", "2025-11", "2025-12", "2026-01")


def lives(service: Service, name: str, seed: int) -> None:
    """A client that uses credits, gives back, and makes, changes and removes rules, as chance will have it."""
    chance, client = random.Random(seed), Rules(service, name)
    rules = [client.define(accountGroups=chance.sample(GROUPS, 2), alarmThreshold=chance.choice([0, 50, 100]))]
    uses = []
    for _ in range(ROUNDS):
        groups = chance.sample(GROUPS, chance.randint(1, 3))
        at = f"{chance.choice(MONTHS)}-15T12:00:00Z"
        uses.append(client.use(chance.choice(["7.000000001", 20, 90]), *groups, at=at))
        match chance.randrange(6):
            case 0:
                client.refund(uses.pop(chance.randrange(len(uses))))
            case 1:
                rules.append(
                    client.define(accountGroups=chance.sample(GROUPS, 1), allocatedCredits=chance.choice([0, 900]))
                )
            case 2:
                index = chance.randrange(len(rules))
                change = {"allocatedCredits": chance.randrange(500), "accountGroups": chance.sample(GROUPS, 2)}
                rules[index] = client.change(rules[index], **change)
            case 3 if len(rules) > 1:
                client.remove(rules.pop())


def test_many_processes_tell_each_threshold_once_though_some_are_killed(database: Database, hands: Hands) -> None:
    """Of three services on one ledger two look for thresholds; both go down hard under load, and one comes back."""
    settings: Any = {"database_url": database.dsn, "schema": database.schema, "test_clock": "1"}
    with ExitStack() as stack:
        services = [stack.enter_context(serving(*how, **settings)) for how in (["--no-worker"], [], [])]
        with ThreadPoolExecutor(CLIENTS) as threads:
            clients = [threads.submit(lives, services[0], f"client {seed}", seed) for seed in range(CLIENTS)]
            for victim, events in ((services[1], 50), (services[2], 150)):
                assert eventually(lambda events=events: head_of(database) >= events, SECONDS_MAX)  # type: ignore[misc]
                assert victim.end(signal.SIGKILL) == -signal.SIGKILL
            stack.enter_context(serving(**settings))
            for client in clients:
                client.result()
        told = everything_is_told(database)
        assert len(told) > CLIENTS * len(MONTHS)
        assert services[0].set_clock("2026-01-31T12:00:00Z").status_code == 200  # it looks as well, for the first time
    assert len(recorded(database)) == len(told)


def test_what_was_reached_and_given_back_before_anybody_looked_is_told(database: Database) -> None:
    """As it was when it was reached; also of a rule that is gone by then."""
    with serving("--no-worker", database_url=database.dsn, schema=database.schema) as service:
        rules = Rules(service, "acme")
        stays, goes = rules.define(), rules.define(allocatedCredits=0)
        crossing = rules.use(60, rules.group)
        rules.refund(crossing)
        rules.change(stays, alarmThreshold=100)
        rules.remove(goes)
        assert recorded(database) == []
        with working(database):
            told = everything_is_told(database)
    assert {(each.rule, each.used, each.allocated, each.alarm_threshold) for each in told} == {
        (stays["id"], "60.000000000", 100, 50), (goes["id"], "60.000000000", 0, 50),
    }  # fmt: skip
    assert {each.transaction for each in told} == {crossing}


def test_read_models_that_are_made_again_beside_a_worker_tell_nothing_again(database: Database) -> None:
    settings: Any = {"database_url": database.dsn, "schema": database.schema}
    with serving(**settings) as service:
        rules = Rules(service, "acme")
        for threshold in (0, 50, 100):
            rules.define(alarmThreshold=threshold)
        rules.use(70, rules.group)
        everything_is_told(database)
        before = rules.usage()
        with database.connect(Role.PROJECTOR) as connection, connection.transaction():
            for model in READ_MODELS:
                connection.execute(model.sql("DROP TABLE {table}"))
            connection.execute("DELETE FROM projections")
            prepare(connection, database)
        assert rules.usage() == before
        assert len(everything_is_told(database)) == 2
        rules.use(30, rules.group)
        assert len(everything_is_told(database)) == 3
    with serving(**settings) as service:
        rules.service = service
        rules.use(1, rules.group)
        assert [used for used, _ in rules.usage().values()] == [101] * 3
        assert eventually(lambda: kept(database) == head_of(database), SECONDS_MAX)
        assert len(everything_is_told(database)) == 3


def test_a_worker_that_is_ahead_of_the_read_models_says_so_and_waits_for_them(
    database: Database, books: BlockingLedger
) -> None:
    """It takes five seconds: so long a position that is named is waited for."""
    keep(database, has_rule(books))
    uses(books, 60)
    with database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
    with database.connect(None) as connection:
        connection.execute(ALLOCATION_RULES.sql("ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false)"))
        with serving(database_url=database.dsn, schema=database.schema, test_clock="1") as service:

            def problem() -> str | None:
                told: dict[str, str] = service.http.get("/readyz").json()["problems"]
                return told.get("threshold")

            assert eventually(lambda: problem() is not None, SECONDS_MAX)
            assert problem() == "PositionNotReached: position 2 is not reached yet; the read model is at 1"
            assert recorded(database) == []
            connection.execute(ALLOCATION_RULES.sql("ALTER TABLE {table} DROP CONSTRAINT broken"))
            assert len(everything_is_told(database)) == 1
            assert eventually(lambda: service.http.get("/readyz").status_code == 200, SECONDS_MAX)
