"""Clients that use credits without a pause, and what became of each of their requests."""

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Condition, Event, Thread
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx

from ledger.domain.events import Debited
from ledger.store.database import Database, Role
from tests.service.serving import ANSWER_SECONDS_MAX, Service, client_of

HOLDER = "loaded"
CLIENTS = 16
GRANTED = 1_000_000
LOOK_EVERY_SECONDS = 0.005
CREATE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
CONSUME = """
mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId position replayed } }
"""
HAPPENED = """
SELECT keyed.key, keyed.transaction_id, count(movements.position) AS debits
FROM idempotency AS keyed LEFT JOIN movements ON movements.transaction_id = keyed.transaction_id
WHERE keyed.holder = %s GROUP BY keyed.key, keyed.transaction_id
"""


class Reply(NamedTuple):
    """A complete answer."""

    status: int
    retry_after: str | None
    body: dict[str, Any]

    @property
    def transaction(self) -> str | None:
        """The transaction that it acknowledges, if it does."""
        used = (self.body.get("data") or {}).get("consumeCredits")
        return None if used is None else used["transactionId"]


class Load:
    """Clients that each send one keyed consumption after the other until the service takes no more connections.

    What came of each key is one of: a reply; cut (the connection ended before any answer began); broken (it ended
    within an answer); waited (no answer within a time that is long for one).
    """

    def __init__(self, service: Service, name: str, clients: int = CLIENTS) -> None:
        self._service = service
        self._news = Condition()
        self._ending = Event()
        self._threads = [Thread(target=self._run, args=[f"{name}-{number}"]) for number in range(clients)]
        self.replies: dict[str, Reply] = {}
        self.cut: list[str] = []
        self.broken: list[str] = []
        self.waited: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    @property
    def acknowledged(self) -> dict[str, str]:
        """Key to transaction."""
        return {key: reply.transaction for key, reply in self.replies.items() if reply.transaction is not None}

    def goes_on_for(self, replies: int) -> None:
        """Wait until there are so many replies."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.replies) >= replies, ANSWER_SECONDS_MAX), self._service.log()

    def ends_by_itself(self) -> None:
        """Wait until no client finds the service any more."""
        for thread in self._threads:
            thread.join()

    def _run(self, name: str) -> None:
        with client_of(self._service.url, self._service.key) as http:
            number = 0
            while not self._ending.is_set() and self._send(http, f"{name}-{number}"):
                number += 1

    def _send(self, http: httpx.Client, key: str) -> bool:
        """Send one request; whether to go on."""
        request = http.build_request("POST", "/graphql", json=consumption(key))
        outcomes = self.cut
        try:
            answer = http.send(request, stream=True)
            outcomes = self.broken
            answer.read()
            answer.close()
        except (httpx.ConnectError, httpx.TimeoutException) as error:
            if not isinstance(error, httpx.ConnectError):
                self.waited.append(key)
            return False
        except httpx.TransportError:
            outcomes.append(key)
            return True
        with self._news:
            self.replies[key] = Reply(answer.status_code, answer.headers.get("Retry-After"), answer.json())
            self._news.notify_all()
        return True


def consumption(key: str) -> dict[str, Any]:
    """The body of a request that uses one credit."""
    fields = {"customerId": HOLDER, "currencyId": "credits", "amount": 1, "idempotencyKey": key}
    return {"query": CONSUME, "variables": {"input": fields}}


def issue(service: Service) -> None:
    fields = {"customerId": HOLDER, "currencyId": "credits", "displayName": "A", "grantType": "PAID"}
    service.data(CREATE, input=fields | {"amount": GRANTED})


def happened(database: Database) -> dict[str, str]:
    """Key to transaction of every consumption in the log; each is there once, and there is none without a key."""
    with database.connect(Role.WRITER) as connection:
        rows = connection.execute(HAPPENED, [HOLDER]).fetchall()
        debits = connection.execute(
            "SELECT count(*) AS count FROM movements WHERE holder = %s AND type = %s", [HOLDER, Debited.TOPIC]
        ).fetchone()
    assert [row for row in rows if row["debits"] != 1] == []
    assert debits == {"count": len(rows)}
    return {row["key"]: row["transaction_id"] for row in rows}


def processes_of(folder: Path) -> list[int]:
    """Process ids of everything that works in a data folder: its server, and whatever makes one there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = os.fsdecode((process / "cmdline").read_bytes())
            if f"{folder}/" in told or (process / "cwd").readlink().is_relative_to(folder):
                found.append(int(process.name))
    return found


def assert_they_end(pids: list[int]) -> None:
    """Returns when all of them have ended; fails after a time that is long for it."""
    for pid in pids:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            gone, _, _ = select.select([descriptor], [], [], 30)
            os.close(descriptor)
            assert gone, f"process {pid} still runs"


def eventually(condition: Callable[[], bool], seconds_max: float) -> bool:
    """Ask again and again; whether it came true in time. Whoever is waited for gets the processor in between."""
    deadline = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], LOOK_EVERY_SECONDS)
    return time.monotonic() <= deadline
