"""A ledger whose events are sent to receivers of the tests, and its operator."""

import asyncio
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import pytest

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger, Receipt
from ledger.store.database import Database
from service.cli.frame import run
from service.cli.main import cli
from service.feed.messages import Filter
from service.webhooks import endpoints as webhooks
from service.webhooks.deliverer import Deliverer
from service.webhooks.endpoints import LoggedAttempt, Standing
from service.webhooks.schedule import Schedule
from tests.service.load import eventually
from tests.webhooks.receiving import SECONDS_MAX, Receiver

IMPATIENT = Schedule(retry_seconds=3600, first_wait_seconds=0.02)


class Sending:
    """Uses credits, and looks at what is sent."""

    def __init__(self, database: Database, books: BlockingLedger) -> None:
        self.database = database
        self.books = books

    def grants(self, holder: str) -> int:
        """Give somebody enough; the position."""
        granted = self.books.issue_grant(
            holder=holder, currency="credits", amount=10**6, display_name="g", grant_type="PAID"
        )
        return granted.position

    def uses(self, *holders: str, times: int = 1) -> list[int]:
        """Each uses a credit, in turn, so many times; the positions."""
        each = [ConsumeCredits(holder=holder, currency="credits", amount=1) for holder in holders]
        receipts = [outcome for outcome in self.books.consume_many(each * times) if isinstance(outcome, Receipt)]
        assert len(receipts) == len(holders) * times
        return [receipt.position for receipt in receipts]

    def calls(self, receiver: Receiver, *holders: str, types: tuple[str, ...] = ()) -> tuple[str, str]:
        """An endpoint for these holders from now on: its id and secret."""
        wanted = Filter(frozenset(types), frozenset(holders))
        made, secret = webhooks.create_endpoint(self.database, url=receiver.url, wanted=wanted, private_targets=True)
        return made.id, secret

    def standing(self, endpoint: str) -> Standing:
        return webhooks.endpoint(self.database, endpoint)[0]

    def log(self, endpoint: str) -> list[LoggedAttempt]:
        """Its attempts, the first one first."""
        return webhooks.logged_attempts(self.database, endpoint, 1000)[::-1]

    def nothing_waits(self, endpoint: str) -> bool:
        """Whether everything was taken, and noted, within a time that is long for it."""
        return eventually(lambda: self.standing(endpoint)[-5:] == (0, 0, 0, 0, None), SECONDS_MAX)


@contextmanager
def ledger_of(database: Database) -> Iterator[Sending]:
    with CreditLedger(database) as ledger:
        yield Sending(database, BlockingLedger(ledger))


@contextmanager
def delivering(database: Database, **given: Any) -> Iterator[Deliverer]:
    """Somebody who delivers, and tries again soon."""
    deliverer = Deliverer(database, **{"private_targets": True, "schedule": IMPATIENT, **given})
    deliverer.start()
    try:
        yield deliverer
    finally:
        asyncio.run(deliverer.stop())


def told(database: Database, *arguments: str, ends: int = 0, **settings: str) -> Any:
    """What a command about webhooks that ends so says in JSON: on stdout, or what went wrong on stderr."""
    given = {"database_url": database.dsn, "schema": database.schema, "webhook_private_targets": "1"} | settings
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in given.items():
            patch.setenv(f"LEDGER_{name.upper()}", value)
        ended = run(cli, ["webhooks", *arguments, "--json"])
    assert ended == ends, err.getvalue()
    return json.loads(out.getvalue()) if not ends else json.loads(err.getvalue())["error"]
