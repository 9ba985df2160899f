"""Writers write, readers come and go, the service is restarted and killed: each reader gets exactly its events."""

import random
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import httpx
from httpx_sse import connect_sse

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.events import EVENT_TYPES
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from service.feed.cursor import cursor_of
from tests.conftest import Hands
from tests.feed.lived import acts_of
from tests.feed.reading import EVENTS
from tests.history import HOLDERS, Play
from tests.service.serving import ANSWER_SECONDS_MAX, KEY, Service, serving

READERS = 10
USES, USER = 300, "uses, and nothing else"
TRIES_AGAIN_SECONDS = 0.02
SECONDS_MAX = 60.0


class Subscriber:
    """Reads its stream in pieces, each by a connection of its own, wherever the service is by then."""

    def __init__(self, number: int) -> None:
        chance = self._chance = random.Random(number)
        topics = sorted(each.TOPIC for each in EVENT_TYPES)
        self.types = chance.sample(topics, chance.choice([0, 0, 1, 4]))
        self.holders = chance.sample([*HOLDERS, USER], chance.choice([0, 0, 1, 2]))
        self.positions: list[int] = []
        self.breaks = 0
        self._cursor: str | None = None

    def wants(self, row: dict[str, Any]) -> bool:
        return (not self.types or row["type"] in self.types) and (not self.holders or row["holder"] in self.holders)

    def follow(self, url: str, end: "Future[int]") -> None:
        """Read on until it has come to where the log ends, which is told at the end."""
        with httpx.Client(base_url=url, headers={"X-API-KEY": KEY}, timeout=ANSWER_SECONDS_MAX) as http:
            deadline = time.monotonic() + SECONDS_MAX
            while not self._has_come_to(end):
                assert time.monotonic() < deadline, "something was never told"
                with suppress(httpx.TransportError):
                    self._read_some(http, end)
                self.breaks += 1
                wait([end], TRIES_AGAIN_SECONDS)

    def _read_some(self, http: httpx.Client, end: "Future[int]") -> None:
        asked = {"types": self.types, "holder": self.holders}
        resumed = {} if self._cursor is None else {"Last-Event-ID": self._cursor}
        with connect_sse(http, "GET", EVENTS, params=asked, headers=resumed) as source:
            for _, told in zip(range(self._chance.randrange(1, 120)), source.iter_sse(), strict=False):
                if told.data:
                    self.positions.append(told.json()["data"]["position"])
                self._cursor = told.id or self._cursor
                if self._has_come_to(end):
                    return

    def _has_come_to(self, end: "Future[int]") -> bool:
        place = 0 if self._cursor is None else cursor_of(self._cursor, field="after").position
        return end.done() and place >= end.result()


def use_credits(books: BlockingLedger) -> None:
    for _ in range(USES):
        books.consume(holder=USER, currency="credits", amount=1)


def issue(books: BlockingLedger, amount: int) -> int:
    """The position of the grant."""
    issued = books.issue_grant(holder=USER, currency="credits", amount=amount, display_name="g", grant_type="PAID")
    return issued.position


@contextmanager
def told_in_any_case(end: "Future[int]") -> Iterator[None]:
    """If something fails, nobody reads on for ever."""
    try:
        yield
    finally:
        if not end.done():
            end.set_result(0)


def service_at(database: Database, port: str) -> AbstractContextManager[Service]:
    return serving("--no-worker", port=port, database_url=database.dsn, schema=database.schema, test_clock="1")


def a_free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def test_each_of_many_readers_gets_exactly_its_events(database: Database) -> None:
    hands, end, acts, port = Hands(database), Future[int](), acts_of(3), a_free_port()
    subscribers = [Subscriber(number) for number in range(READERS)]
    with (
        CreditLedger(database, clock=settable_clock()) as one,
        CreditLedger(database, clock=settable_clock()) as other,
        ThreadPoolExecutor(READERS + 1) as threads,
        told_in_any_case(end),
    ):
        play, books = Play(BlockingLedger(one), hands), BlockingLedger(other)
        issue(books, USES)
        using = threads.submit(use_credits, books)
        with service_at(database, port) as service:
            following = [threads.submit(each.follow, service.url, end) for each in subscribers]
            play.all(acts[::3])
        with service_at(database, port) as service:
            play.all(acts[1::3])
            service.end(signal.SIGKILL)
        with service_at(database, port):
            play.all(acts[2::3])
            using.result()
            end.set_result(issue(books, 1))
            issue(books, 1)  # whoever had come to the end before is told of something once more
            for each in following:
                each.result()
    with database.connect(Role.READER) as connection:
        log = connection.execute("SELECT position, type, holder FROM movements ORDER BY position").fetchall()
    for subscriber in subscribers:
        expected = [row["position"] for row in log if subscriber.wants(row)]
        assert subscriber.positions in (expected, expected[:-1])  # the last one came once it had gone, maybe
        assert subscriber.breaks > 2
