"""A service that ends, a database that is away, a reader that takes nothing: nobody is held up and nothing is lost."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger
from ledger.store.clock import settable_clock
from ledger.store.database import Database
from tests.conftest import Hands
from tests.faults.cutting_proxy import CuttingProxy
from tests.feed.reading import EVENTS, Feed
from tests.service.load import eventually
from tests.service.serving import KEY, Service, serving

AT_ONCE = 10.0
"""Far sooner than anything that is waited for would come by itself."""
SUBSCRIBERS_MAX = 500
SLOW_READERS = 20
SLOW_SECONDS_MAX = 10.0
GROWS_MEGABYTES_MAX = 100
"""All the slow readers together were to be sent several times as much."""
EVENTS_KEPT_WAITING = 12_000
LAST_CHUNK = b"0\r\n\r\n"


@pytest.fixture
def books(database: Database) -> Iterator[BlockingLedger]:
    Hands(database)
    with CreditLedger(database, clock=settable_clock()) as ledger:
        books = BlockingLedger(ledger)
        books.issue_grant(holder="acme", currency="credits", amount=10**6, display_name="g", grant_type="PAID")
        yield books


def use(books: BlockingLedger, times: int = 1) -> None:
    books.consume_many([ConsumeCredits(holder="acme", currency="credits", amount=1) for _ in range(times)])


@contextmanager
def feed_of(database: Database) -> Iterator[Feed]:
    with serving("--no-worker", database_url=database.dsn, schema=database.schema, test_clock="1") as service:
        yield Feed(service)


def subscribe(service: Service, after: str) -> socket.socket:
    """A stream, by hand: it has begun, and nobody has read more than that."""
    host, port = service.url.removeprefix("http://").split(":")
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(AT_ONCE)
    reader.connect((host, int(port)))
    asked = f"GET {EVENTS}?after={after} HTTP/1.1\r\nHost: x\r\nX-API-KEY: {KEY}\r\nAccept: text/event-stream\r\n\r\n"
    reader.sendall(asked.encode())
    return reader


def read_until(reader: socket.socket, text: bytes) -> bytes:
    read = b""
    while text not in read:
        piece = reader.recv(65536)
        assert piece, f"it ended: {read!r}"
        read += piece
    return read


def test_a_service_that_ends_tells_whoever_streams_or_waits_and_ends(database: Database, books: BlockingLedger) -> None:
    """At once, each in good order: streams say when to come again, a long poll is empty, a position is not reached."""
    use(books, 40)
    with feed_of(database) as feed, ExitStack() as stack, ThreadPoolExecutor() as threads:
        asked = [{"after": "latest"}, {"after": "0"}, {"after": "latest", "types": "ledger.voided"}]
        streams = [stack.enter_context(feed.stream(**each)) for each in asked]
        for stream in streams:
            next(stream.told())
        waiting = threads.submit(feed.page, after="latest", wait=30)
        named = threads.submit(feed.get, {"X-Ledger-At-Least": "1000000"})
        for each in (waiting, named):
            with pytest.raises(TimeoutError):
                each.result(timeout=0.15)
        begun = time.monotonic()
        assert feed.service.end() == 0
        assert time.monotonic() - begun < AT_ONCE
        assert (waiting.result().events, waiting.result().caught_up) == ([], True)
        refused = named.result()
        assert (refused.status_code, refused.json()["code"]) == (503, "PositionNotReached")
        assert int(refused.headers["Retry-After"]) >= 1
        ends = [
            (len(list(stream.events())), stream.retry) for stream in streams
        ]  # the last chunk is there, or it raises
        assert [count for count, _ in ends] == [0, 41, 0]
        assert all(retry is not None and 1000 <= retry < 2000 for _, retry in ends)
        assert len({retry for _, retry in ends}) > 1 or ends[0][1] != 1000


def test_a_reader_that_takes_nothing_is_cut_off_and_costs_no_memory(database: Database, books: BlockingLedger) -> None:
    """After ten seconds, and not sooner; others are told everything meanwhile."""
    with feed_of(database) as feed, ExitStack() as stack:
        slow = [stack.enter_context(subscribe(feed.service, "0")) for _ in range(SLOW_READERS)]
        for each in slow:
            read_until(each, b"retry: 1000")
        before = megabytes(feed.service)
        for _ in range(EVENTS_KEPT_WAITING // 2000):
            use(books, 2000)
        with feed.stream(after="0", types="ledger.granted,ledger.refunded") as stream:
            refunded = books.refund(
                transaction_id=books.consume(holder="acme", currency="credits", amount=1).transaction_id
            )
            assert [event["data"]["position"] for event in stream.take(2)] == [1, refunded.position]
        assert eventually(lambda: len(streams_ended(feed.service)) > SLOW_READERS, SLOW_SECONDS_MAX + AT_ONCE)
        _, *seconds = sorted(streams_ended(feed.service))
        assert SLOW_SECONDS_MAX <= seconds[0] <= seconds[-1] < SLOW_SECONDS_MAX + AT_ONCE
        assert megabytes(feed.service) - before < GROWS_MEGABYTES_MAX
        for each in slow:
            assert not left_in(each).endswith(LAST_CHUNK)


def megabytes(service: Service) -> float:
    """What a service has of memory of its own."""
    return int(Path(f"/proc/{service._process.pid}/status").read_text().partition("RssAnon:")[2].split()[0]) / 1024


def streams_ended(service: Service) -> list[float]:
    """How long each stream was, in seconds, that has ended."""
    lines = [json.loads(line) for line in service.log().splitlines() if f'"{EVENTS}"' in line]
    return [line["milliseconds"] / 1000 for line in lines]


def left_in(reader: socket.socket) -> bytes:
    last = b""
    try:
        while piece := reader.recv(1 << 20):
            last = (last + piece)[-100:]
    except ConnectionResetError:
        pass
    return last


def test_more_subscribers_than_a_process_takes_are_told_to_try_again(database: Database, books: BlockingLedger) -> None:
    with feed_of(database) as feed, ExitStack() as stack:
        many = [stack.enter_context(subscribe(feed.service, "latest")) for _ in range(SUBSCRIBERS_MAX)]
        for each in many:
            read_until(each, b"retry: 1000")
        refused = feed.get({"Accept": "text/event-stream"})
        assert (refused.status_code, refused.json()["code"]) == (429, "TooManySubscribers")
        assert refused.headers["Retry-After"] == "1"
        assert feed.refusal(after="latest", wait=30)["status"] == 429
        assert len(feed.page().events) == 1
        use(books)
        for each in many:
            assert b"event: ledger.debited" in read_until(each, b'"position":2')
        many[0].close()
        assert eventually(lambda: feed.get(after="latest", wait=1).status_code == 200, AT_ONCE)


def test_a_stream_goes_on_when_the_database_has_been_away(database: Database, books: BlockingLedger) -> None:
    name = f"through the proxy to {database.schema}"
    use(books, 3)
    with CuttingProxy(database.dsn) as proxy:
        away = Database(make_conninfo(proxy.dsn, application_name=name), database.schema)
        with feed_of(away) as feed, feed.stream(after="0") as stream, feed.stream(types="ledger.refunded") as filtered:
            assert len(stream.take(4)) == 4
            next(filtered.told())
            proxy.refuse()
            with psycopg.connect(database.dsn, autocommit=True) as connection:
                gone = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
                assert len(connection.execute(gone, [name]).fetchall()) > 1
            use(books, 30)
            debit = books.consume(holder="acme", currency="credits", amount=1)
            refunded = books.refund(transaction_id=debit.transaction_id)
            assert eventually(lambda: "the feed starts again" in feed.service.log(), AT_ONCE)
            proxy.accept()
            assert [event["data"]["position"] for event in stream.take(32)] == list(range(5, 37))
            assert [event["data"]["position"] for event in filtered.take(1)] == [refunded.position]
