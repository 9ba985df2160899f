"""The subscribers' page, carried out from the first command to the last, and its program for exactly once, killed."""

import random
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from difflib import unified_diff
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from ledger.store.database import Database
from tests.service.load import HOLDER, Load, eventually, issue
from tests.service.serving import Service, command, serving
from tests.stories.subscribing import PAGE, executed, programs_of, subscriber_database

KILLS = 8
CLIENTS = 2
SECONDS_MAX = 30.0
BALANCE = """
query ($customer: String!) {
  creditBalanceSummary(input: {customerId: $customer}) { balances { currentBalanceExact } }
}
"""
IN_A_TRANSACTION = "SELECT FROM pg_stat_activity WHERE application_name = %s AND xact_start IS NOT NULL"


def test_the_subscribers_page_shows_what_is_printed(database: Database) -> None:
    page = PAGE.read_text()
    real = executed(page, database)
    difference = unified_diff(page.splitlines(), real.splitlines(), "the page", "the run", n=4, lineterm="")
    assert real == page, "\n".join(difference)


class Subscriber:
    """The page's program on tables of its own, and a look at them past it."""

    def __init__(self, program: Path, service: Service, dsn: str) -> None:
        self._command = [sys.executable, str(program)]
        self._environment = {"ADDRESS": service.url, "KEY": service.key, "SUBSCRIBER_DATABASE_URL": dsn}
        self._name = conninfo_to_dict(dsn)["application_name"]
        self._tables = psycopg.connect(dsn, autocommit=True, application_name="looks on")

    def start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, env=self._environment)

    def catch_up(self) -> None:
        subprocess.run([*self._command, "--once"], env=self._environment, check=True, stdout=subprocess.DEVNULL)

    def is_in_a_transaction(self) -> bool:
        return self._tables.execute(IN_A_TRANSACTION, [self._name]).rowcount == 1

    def movements(self) -> list[tuple[Any, ...]]:
        if self._tables.execute("SELECT to_regclass('movements')").fetchone() == (None,):
            return []
        return self._tables.execute("SELECT position, id, amount FROM movements ORDER BY position").fetchall()

    def balances(self) -> dict[str, Decimal]:
        return dict(self._tables.execute("SELECT holder, balance FROM balances").fetchall())

    def close(self) -> None:
        self._tables.close()


@pytest.fixture
def service(database: Database) -> Iterator[Service]:
    with serving(database_url=database.dsn, schema=database.schema) as running:
        yield running


@pytest.fixture
def subscriber(service: Service, server_dsn: str, tmp_path: Path) -> Iterator[Subscriber]:
    program = tmp_path / "balances.py"
    program.write_text(programs_of(PAGE.read_text())[program.name])
    with subscriber_database(server_dsn) as dsn:
        subscriber = Subscriber(program, service, dsn)
        yield subscriber
        subscriber.close()


def test_the_program_of_the_page_applies_each_event_once_however_often_it_is_killed(
    database: Database, service: Service, subscriber: Subscriber
) -> None:
    """With -9, in the middle of a transaction and between two, while credits are used; and after a restore."""
    chance = random.Random(11)
    issue(service)
    with Load(service, "load", CLIENTS):
        for number in range(KILLS):
            more = len(subscriber.movements()) + chance.randrange(1, 100)
            with subscriber.start() as process:
                if number % 2:
                    assert eventually(subscriber.is_in_a_transaction, SECONDS_MAX)
                else:
                    assert eventually(lambda more=more: len(subscriber.movements()) >= more, SECONDS_MAX)  # type: ignore[misc]
                process.kill()
    assert_equal_to_the_ledger(subscriber, service)

    last_common = str(len(subscriber.movements()) // 2)
    begun = command(
        *["epochs", "begin", "--after", last_common, "--reason", "a backup was restored"],
        database_url=database.dsn,
        schema=database.schema,
    )
    assert begun.returncode == 0, begun.stderr
    assert_equal_to_the_ledger(subscriber, service)


def assert_equal_to_the_ledger(subscriber: Subscriber, service: Service) -> None:
    subscriber.catch_up()
    told = [(data["position"], event_id, Decimal(data["amount"])) for event_id, data in events_of(service)]
    assert subscriber.movements() == told
    head = {"X-Ledger-At-Least": str(len(told))}
    (balance,) = service.data(BALANCE, head, customer=HOLDER)["creditBalanceSummary"]["balances"]
    assert subscriber.balances() == {HOLDER: Decimal(balance["currentBalanceExact"])}


def events_of(service: Service) -> Iterator[tuple[str, dict[str, Any]]]:
    """The id and the data of each event there is, asked for without the client."""
    after, caught_up = "0", "false"
    while caught_up == "false":
        page = service.http.get("/v1/events", params={"after": after, "limit": 1000}).raise_for_status()
        yield from ((message["id"], message["data"]) for message in page.json())
        after, caught_up = page.headers["X-Ledger-Cursor"], page.headers["X-Ledger-Caught-Up"]
