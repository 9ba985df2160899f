"""Whatever a reader wants, however slow it is and wherever it breaks off, it gets exactly its events in their order.

With bounds so small that readers meet all of them: of a stretch, of a piece, and of what is kept for those at the head.
"""

import asyncio
import json
import random
import re
from collections.abc import Callable, MutableMapping
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.events import EVENT_TYPES
from ledger.store.clock import settable_clock
from ledger.store.database import Database
from projections.reading import CONNECTIONS_MAX, Reader
from service.feed import feed as feed_bounds
from service.feed import pages as page_bounds
from service.feed import stream as stream_bounds
from service.feed import tail as tail_bounds
from service.feed.cursor import Cursor, cursor_of
from service.feed.feed import Feed
from service.feed.messages import Filter
from service.feed.stream import EventStream
from service.reads import Threads
from tests.conftest import Hands
from tests.feed.lived import acts_of
from tests.history import HOLDERS, Play

READERS = 12
LAST_ID = re.compile(rb"id: (\S+)\n")
SECONDS_MAX = 60.0


class SlowReader:
    """Takes a piece when it is let, and resumes by the last id that it took."""

    def __init__(self, feed: Feed, wanted: Filter, begin: Cursor) -> None:
        self.wanted = wanted
        self.cursor = str(begin)
        self.taken: list[bytes] = []
        self._feed = feed
        self._let = 0.0
        self._news = asyncio.Event()
        self._begin()

    def lets(self, pieces: float) -> None:
        self._let += pieces
        self._news.set()

    async def breaks_off(self) -> None:
        """Goes away, in the middle of a piece maybe, and comes again."""
        self._gone.set()
        self._news.set()
        await self.ended()
        self._begin()

    async def ended(self) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            await self._streaming

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def positions(self) -> list[int]:
        """Of the events that it was told."""
        answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=b"".join(self.taken))
        events = [json.loads(each.data) for each in EventSource(answer).iter_sse() if each.data]
        return [event["data"]["position"] for event in events]

    def _begin(self) -> None:
        self._gone = asyncio.Event()
        stream = EventStream(self._feed, self.wanted, cursor_of(self.cursor, field="after"), lambda: asyncio.sleep(0))
        self._streaming = asyncio.create_task(stream({"state": {}}, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        await self.until(lambda: self._let >= 1 or self._gone.is_set())
        if self._gone.is_set() or message["type"] != "http.response.body":
            return
        self._let -= 1
        self.taken.append(message["body"])
        self.cursor = b"".join(LAST_ID.findall(message["body"])[-1:]).decode() or self.cursor
        self._news.set()


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        *((feed_bounds, "STRETCH_EVENTS", 7), (feed_bounds, "STRETCHES_KEPT", 2), (feed_bounds, "PIECE_BYTES", 2000)),
        *((tail_bounds, "KEPT_BYTES_MAX", 10_000), (tail_bounds, "EVENTS_AT_ONCE_MAX", 5)),
        *((stream_bounds, "LOOK_EVERY_SECONDS", 0.05), (stream_bounds, "HEARTBEAT_SECONDS", 0.3)),
    ):
        monkeypatch.setattr(module, name, value)


def filters(chance: random.Random) -> list[Filter]:
    topics = sorted(each.TOPIC for each in EVENT_TYPES)
    some = [
        Filter(
            frozenset(chance.sample(topics, chance.choice([0, 1, 4]))),
            frozenset(chance.sample(HOLDERS, chance.choice([0, 0, 1, 2]))),
            frozenset(chance.sample(["credits", "DAST"], chance.choice([0, 0, 1]))),
        )
        for _ in range(READERS - 4)
    ]
    return [*[Filter()] * 4, *some]


async def read_meanwhile(feed: Feed, play: Play, chance: random.Random) -> list[SlowReader]:
    """All readers, once all that happened was told to them."""
    log, _ = await feed.look()
    readers = [SlowReader(feed, wanted, Cursor(log.present, 0)) for wanted in filters(chance)]
    acts = acts_of(2)
    for begin in range(0, len(acts), 4):
        await asyncio.to_thread(play.all, acts[begin : begin + 4])
        for reader in chance.sample(readers[1:], 5):  # the first one takes nothing before the end
            reader.lets(chance.choice([1, 1, 5, 50]))
        if chance.random() < 0.3:
            await chance.choice(readers).breaks_off()
    head = str(Cursor(log.present, (await feed.look())[1]))
    for reader in readers:
        reader.lets(float("inf"))
    for reader in readers:
        await reader.until(lambda reader=reader: reader.cursor == head)  # type: ignore[misc]
    for idle in readers:
        taken = len(idle.taken)
        await idle.until(lambda idle=idle, taken=taken: len(idle.taken) > taken)  # type: ignore[misc]
        assert idle.taken[-1] == f": caught up\nid: {head}\n\n".encode()
    feed.end()
    for reader in readers:
        await reader.ended()
    await feed.stop()
    return readers


def test_every_reader_gets_exactly_its_events_in_their_order(database: Database) -> None:
    """Who is behind what is kept, who is at the head, who comes and goes; and who is idle hears that all is well."""
    chance, threads = random.Random(7), Threads(CONNECTIONS_MAX)
    with CreditLedger(database, clock=settable_clock()) as ledger, Reader(database) as reader:
        feed, play = Feed(database, reader, threads), Play(BlockingLedger(ledger), Hands(database))
        readers = asyncio.run(read_meanwhile(feed, play, chance))
        threads.close()
        with reader.connection() as connection:
            rows = connection.execute("SELECT position, type, holder, currency FROM movements ORDER BY position")
            log = rows.fetchall()
    for each in readers:
        types, holders, currencies = each.wanted
        assert each.positions() == [
            row["position"]
            for row in log
            if (not types or row["type"] in types)
            and (not holders or row["holder"] in holders)
            and (not currencies or row["currency"] in currencies)
        ]
    assert len({tuple(each.positions()) for each in readers}) > 4
    assert b"retry: " in readers[0].taken[-1]


def test_a_reader_of_next_to_nothing_is_told_while_it_is_behind_how_far_was_looked(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who breaks off in a long log does not have all of it looked through for him again."""
    monkeypatch.setattr(page_bounds, "SCANNED_EVENTS_MAX", 5)
    monkeypatch.setattr(stream_bounds, "LOOK_EVERY_SECONDS", 0.0)

    async def told_until_the_head() -> list[bytes]:
        feed = Feed(database, reader, threads)
        log, head = await feed.look()
        looking = SlowReader(feed, Filter(holders=frozenset({"nobody"})), Cursor(log.present, 0))
        looking.lets(float("inf"))
        await looking.until(lambda: looking.cursor == str(Cursor(log.present, head)))
        feed.end()
        await looking.ended()
        await feed.stop()
        return looking.taken

    threads = Threads(CONNECTIONS_MAX)
    with CreditLedger(database) as ledger, Reader(database) as reader:
        for holder in HOLDERS * 10:
            BlockingLedger(ledger).issue_grant(
                holder=holder, currency="credits", amount=1, display_name="g", grant_type="PAID"
            )
        taken = asyncio.run(told_until_the_head())
        threads.close()
    behind = [LAST_ID.findall(each)[0].decode() for each in taken if each.startswith(b": looking on\n")]
    assert [cursor_of(each, field="id").position for each in behind] == list(range(5, len(HOLDERS) * 10, 5))
