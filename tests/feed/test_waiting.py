"""Long polling: an answer as soon as there is something to tell, and an empty one when the time is up."""

import asyncio
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ledger.application import BlockingLedger, CreditLedger
from ledger.store.clock import Clock
from ledger.store.database import Database
from projections.reading import CONNECTIONS_MAX, Reader
from projections.runner import Runner
from service.app import build_app
from service.bootstrap import RunningLedger
from service.feed.messages import Filter
from service.feed.pages import Log
from service.reads import Threads
from service.server import parts_of
from service.settings import read_settings
from tests.feed.conftest import key_for, revoke
from tests.feed.reading import EVENTS, Feed, Page, comes_true
from tests.service.load import eventually
from tests.service.serving import KEY, Service, client_of

SOON = 10.0
"""Far sooner than the 30 seconds that are asked for, and long for a machine that is busy."""
READERS = 20
USES = 40


def test_a_reader_that_waits_is_answered_as_soon_as_something_is_for_it(
    feed: Feed, writer: BlockingLedger, holder: str
) -> None:
    """By another process's write. What its filter leaves out answers nothing, and is passed over."""

    def use() -> int:
        return writer.consume(holder=holder, currency="credits", amount=1).position

    head = feed.page(after="latest").cursor
    with ThreadPoolExecutor() as threads:
        everything = threads.submit(feed.page, after=head, wait=30)
        refunds = threads.submit(feed.page, after=head, wait=30, types="ledger.refunded", holder=holder)
        assert_it_waits(everything, refunds)
        begun = time.monotonic()
        used = use()
        assert everything.result().positions == [used]
        assert_it_waits(refunds)
        debit = writer.consume(holder=holder, currency="credits", amount=1).transaction_id
        refunded = writer.refund(transaction_id=debit)
        page = refunds.result()
        assert (page.positions, page.position) == ([refunded.position], refunded.position)
        assert time.monotonic() - begun < SOON
    begun = time.monotonic()
    assert feed.page(after=head, wait=30).events[0]["data"]["position"] == used
    assert feed.page(limit=1, wait=30).events != []
    assert feed.page(after=head, types="ledger.voided", wait=0).events == []
    assert time.monotonic() - begun < SOON


def test_a_reader_whose_key_is_revoked_while_it_waits_is_told_nothing_more(
    feed: Feed, writer: BlockingLedger, holder: str, log: Database
) -> None:
    key_id, key = key_for(log)
    with ThreadPoolExecutor() as threads, client_of(feed.service.url, key) as http:
        waiting = threads.submit(http.get, EVENTS, params={"after": "latest", "wait": "30"})
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.5)
        revoke(log, key_id)
        assert eventually(lambda: http.get(EVENTS).status_code == 401, SOON)
        writer.consume(holder=holder, currency="credits", amount=1)
        assert waiting.result().status_code == 401


def assert_it_waits(*asked: "Future[Page]") -> None:
    for each in asked:
        with pytest.raises(TimeoutError):
            each.result(timeout=0.15)


def test_a_reader_that_waited_in_vain_is_told_how_far_it_has_come(
    feed: Feed, writer: BlockingLedger, holder: str
) -> None:
    head = feed.page(after="latest")
    asked = {"after": head.cursor, "wait": 1, "types": "ledger.voided", "holder": holder}
    with ThreadPoolExecutor() as threads:
        begun = time.monotonic()
        waiting = threads.submit(feed.page, None, **asked)
        assert_it_waits(waiting)
        passed_over = writer.consume(holder=holder, currency="credits", amount=1)
        page = waiting.result()
    assert 1.0 <= time.monotonic() - begun < SOON
    assert (page.events, page.position, page.caught_up) == ([], passed_over.position, True)
    assert feed.page(after=page.cursor).events == []


def subscribers(service: Service) -> float:
    lines = service.http.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("credit_ledger_subscribers "))


def test_a_reader_that_waits_and_goes_gives_its_place_to_another_one(feed: Feed) -> None:
    host, port = feed.service.url.removeprefix("http://").split(":")
    asked = f"GET {EVENTS}?after=latest&wait=30 HTTP/1.1\r\nHost: x\r\nX-API-KEY: {feed.service.key}\r\n\r\n"
    assert eventually(lambda: subscribers(feed.service) == 0, SOON)
    readers = [socket.create_connection((host, int(port))) for _ in range(READERS)]
    for reader in readers:
        reader.sendall(asked.encode())
    assert eventually(lambda: subscribers(feed.service) == READERS, SOON)
    for reader in readers:
        reader.close()
    assert eventually(lambda: subscribers(feed.service) == 0, SOON)


def test_a_reader_that_waits_has_the_log_read_when_something_is_for_it_and_not_for_each_that_is_not(
    database: Database, ledger: CreditLedger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Filter] = []
    page = Log.page

    def reads(log: Log, connection: Any, after: int, wanted: Filter, limit: int) -> Any:
        read.append(wanted)
        return page(log, connection, after, wanted, limit)

    monkeypatch.setattr(Log, "page", reads)
    threads, books = Threads(CONNECTIONS_MAX), BlockingLedger(ledger)
    with Runner(database) as runner, Reader(database, clock=clock) as reader:
        running = RunningLedger(database, ledger, books, runner, reader)
        parts = parts_of(running, read_settings({}), threads, KEY)

        async def use() -> str:
            used = await ledger.consume(holder="acme", currency="credits", amount=1)
            await comes_true(parts.feed.recent, lambda: parts.feed.recent.head >= used.position)
            return used.transaction_id

        async def story() -> Any:
            await ledger.issue_grant(holder="acme", currency="credits", amount=100, display_name="g", grant_type="PAID")
            transport = httpx.ASGITransport(build_app(parts))
            async with httpx.AsyncClient(
                transport=transport, base_url="http://ledger", headers={"X-API-KEY": KEY}
            ) as http:
                asked = {"after": "latest", "wait": "30", "types": "ledger.refunded"}
                waiting = asyncio.create_task(http.get(EVENTS, params=asked))
                await comes_true(parts.feed.recent, lambda: parts.feed.recent.epoch is not None)
                used = [await use() for _ in range(USES)]
                refunded = await ledger.refund(transaction_id=used[0])
                answer = await waiting
            await parts.feed.stop()
            return refunded.position, [event["data"]["position"] for event in answer.json()]

        refunded, told = asyncio.run(story())
    threads.close()
    assert told == [refunded]
    assert len(read) <= USES // 4
