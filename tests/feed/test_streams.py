"""Other services are told of events as they happen, and go on where they were: the stream tells what the pages tell."""

import asyncio
import gc
import random
import time
from typing import Any

import pytest

from ledger.application import BlockingLedger, CreditLedger
from ledger.store.database import Database, Role
from projections.reading import CONNECTIONS_MAX, Reader
from service.feed import feed as feed_bounds
from service.feed.messages import EVERYTHING, Message
from service.reads import Threads
from tests.feed.conftest import key_for, revoke
from tests.feed.reading import EVENTS, Event, Feed, comes_true
from tests.history import HOLDERS

SECRET = "what nobody shall know"
ONE_BY_ONE = 20
"""So many at the end are read one by one, each by a stream of its own."""
ODD = 'line\nfeed\r\n\u2028\u0085 data: "x"\\'
SOON_SECONDS = 5.0
"""For what comes within about a second, and would without that come after fifteen at the soonest."""


def test_a_reader_that_goes_and_comes_again_misses_nothing_and_gets_nothing_twice(feed: Feed) -> None:
    """At any event, also within a transaction, and with any filter."""
    everything, chance = feed.all(limit=1000), random.Random(1)
    filters: list[dict[str, Any]] = [{}, {"holder": HOLDERS[:2]}, {"types": "ledger.granted,ledger.expired"}]
    for asked in filters:
        hers, read, cursor = feed.all(limit=1000, **asked), list[Event](), None
        while len(read) < len(hers):
            with feed.stream(last_event_id=cursor, after="latest" if cursor else "0", **asked) as stream:
                left = len(hers) - len(read)
                read += stream.take(1 if left <= ONE_BY_ONE else min(chance.randrange(1, 200), left))
                assert stream.retry == 1000
                cursor = stream.cursor
        assert read == hers
        assert cursor == hers[-1]["cursor"]
    assert {event["id"] for event in read} < {event["id"] for event in everything}


def test_what_another_process_writes_is_told_as_it_is_whatever_it_is_called(
    feed: Feed, writer: BlockingLedger, holder: str
) -> None:
    with feed.stream(after="latest", holder=[holder, ODD]) as stream:
        issued = writer.issue_grant(
            holder=ODD, currency="credits", amount=10, display_name=ODD, grant_type="PAID", metadata={ODD: [ODD]}
        )
        used = writer.consume(holder=holder, currency="credits", amount="0.000000001", account_groups=[ODD])
        granted, debited = stream.take(2)
    assert (granted["data"]["position"], debited["data"]["position"]) == (issued.position, used.position)
    assert granted["data"]["holder"] == ODD
    assert "partitionkey" not in granted
    assert debited["partitionkey"] == holder
    assert granted["data"]["document"]["texts"] == {"displayName": ODD, "metadata": {ODD: [ODD]}}
    assert debited["data"]["amount"] == "-0.000000001"
    assert debited["data"]["accountGroups"] == [ODD]
    assert debited["data"]["after"]["lotBalance"] == debited["data"]["after"]["poolBalance"] == "999999.999999999"


def test_a_reader_learns_how_far_the_log_was_looked_through_for_it(
    feed: Feed, writer: BlockingLedger, holder: str
) -> None:
    """In a comment with an id, which an SSE reader takes over without being told of an event."""
    wanted = {"types": "ledger.refunded", "holder": holder}
    with feed.service.http.stream(
        "GET", EVENTS, params={"after": "latest", **wanted}, headers={"Accept": "text/event-stream"}
    ) as answer:
        assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == (
            "no-cache, no-transform",
            "no",
        )
        told = answer.iter_text()
        assert next(told) == "retry: 1000\n\n"
        begun = time.monotonic()
        left_out = [writer.consume(holder=holder, currency="credits", amount=1) for _ in range(3)]
        cursor = feed.page(after=left_out[-1].position).cursor
        assert next(text for text in told if text.endswith(f"id: {cursor}\n\n")).startswith(": caught up\nid: ")
        assert time.monotonic() - begun < SOON_SECONDS
    refunded = writer.refund(transaction_id=left_out[0].transaction_id)
    with feed.stream(last_event_id=cursor, **wanted) as stream:
        assert [event["data"]["position"] for event in stream.take(1)] == [refunded.position]


def test_a_stream_ends_soon_after_its_key_was_revoked(feed: Feed, log: Database) -> None:
    key_id, key = key_for(log)
    hers = Feed(feed.service, key)
    with hers.stream(after="latest") as stream, feed.stream(after="latest") as other:
        next(stream.told())
        begun = time.monotonic()
        revoke(log, key_id)
        assert list(stream.events()) == []
        assert time.monotonic() - begun < SOON_SECONDS
        assert hers.get({"Accept": "text/event-stream"}).status_code == 401
        assert next(other.told()).retry == 1000


def test_a_text_that_was_erased_is_told_no_more_once_what_is_kept_in_memory_has_been_let_go(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither to those at the head nor to those who are behind; and without subscribers nothing is kept at all."""
    bounds = {"RECENT_SECONDS": 0.2, "STRETCH_SECONDS": 0.2, "LINGER_SECONDS": 0.05, "STRETCH_EVENTS": 5}
    for name, value in bounds.items():
        monkeypatch.setattr(feed_bounds, name, value)
    threads, before = Threads(CONNECTIONS_MAX), messages_in_memory()

    async def story(ledger: CreditLedger, reader: Reader) -> None:
        async def grant() -> int:
            granted = await ledger.issue_grant(
                holder="acme", currency="credits", amount=1, display_name=SECRET, grant_type="PAID"
            )
            return granted.position

        async def grant_and_hear() -> int:
            newest = await grant()
            await comes_true(feed.recent, lambda: feed.recent.head == newest)
            return newest

        async def tells(after: int) -> bool:
            """Whether a stream that has come so far is told of a secret next."""
            page = await feed.stretch(after, EVERYTHING)
            assert page.messages
            return SECRET.encode() in b"".join(feed.pieces(after, page, EVERYTHING))

        for _ in range(feed_bounds.STRETCH_EVENTS + 1):
            await grant()
        feed = feed_bounds.Feed(database, reader, threads)
        async with feed.subscribed():
            await comes_true(feed.recent, lambda: feed.recent.epoch is not None)
            newest = await grant_and_hear()
            assert await tells(0)
            assert await tells(newest - 1)
            with database.connect(Role.OWNER) as connection:
                connection.execute("DELETE FROM documents")
            async with asyncio.timeout(SOON_SECONDS):
                while await tells(0) or await tells(newest - 1):
                    await feed.recent.beyond(newest, 0.01)
            await grant_and_hear()
        await comes_true(feed.recent, lambda: messages_in_memory() <= before)
        await feed.stop()

    with CreditLedger(database) as ledger, Reader(database) as reader:
        asyncio.run(story(ledger, reader))
    threads.close()


def messages_in_memory() -> int:
    gc.collect()
    return sum(type(each) is Message for each in gc.get_objects())
