"""Somebody who writes to a ledger and asks a service about it: by HTTP, and with the command line."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx
from psycopg.rows import DictRow

from ledger.application import BlockingLedger
from ledger.domain.instants import instant_text
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from service.bootstrap import open_ledger
from tests.conftest import Hands
from tests.service.serving import Service, command, serving

Rows = list[dict[str, Any]]


class Auditor:
    """`books` is a ledger beside the service, on the same clock; what it writes is there to be asked for at once."""

    def __init__(self, schema: Database, service: Service, books: BlockingLedger) -> None:
        self.schema = schema
        self.service = service
        self.books = books
        self.hands = Hands(schema)

    def get(self, question: str, **parameters: object) -> httpx.Response:
        """The answer to `audit/balances`, say, with parameters by their wire names."""
        given = {
            name: instant_text(value) if isinstance(value, datetime) else str(value)
            for name, value in parameters.items()
            if value is not None
        }
        return self.service.http.get(f"/v1/{question}", params=given)

    def ask(self, question: str, **parameters: object) -> dict[str, Any]:
        return self.told(self.get(question, **parameters))

    def told(self, answer: httpx.Response) -> dict[str, Any]:
        """What an answer says that is one."""
        assert answer.status_code == 200, (answer.url, answer.text)
        body: dict[str, Any] = answer.json()
        return body

    def rows(self, question: str, **parameters: object) -> Rows:
        rows: Rows = self.ask(question, **parameters)["rows"]
        return rows

    def row(self, question: str, **parameters: object) -> dict[str, Any]:
        """The only row there is."""
        (row,) = self.rows(question, **parameters)
        return row

    def refusal(self, question: str, **parameters: object) -> tuple[int, str]:
        """Status and code."""
        answer = self.get(question, **parameters)
        return answer.status_code, answer.json()["code"]

    def printed(self, *arguments: str) -> Any:
        """What `credit-ledger` prints as JSON."""
        done = command(*arguments, "--json", database_url=self.schema.dsn, schema=self.schema.schema, test_clock="1")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def events(self) -> Sequence[DictRow]:
        """All events of the log, in its order."""
        with self.schema.connect(Role.READER) as connection:
            return connection.execute("SELECT * FROM movements ORDER BY position").fetchall()


@contextmanager
def auditing(schema: Database) -> Iterator[Auditor]:
    """On the test clock, which stands at START."""
    with (
        open_ledger(schema.dsn, schema=schema.schema, clock=settable_clock(), migrating=False) as running,
        serving("--no-worker", database_url=schema.dsn, schema=schema.schema, test_clock="1") as service,
    ):
        yield Auditor(schema, service, running.blocking)
