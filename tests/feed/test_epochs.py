"""A log that was restored: no reader goes on by a cursor of before without being told what to undo."""

import base64
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from ledger.store.epochs import begin_epoch
from projections.windows import window_end
from service.feed import pages
from service.feed.messages import EVERYTHING
from tests.conftest import Hands
from tests.feed.reading import Event, Feed
from tests.service.serving import command, serving

LOST_ROWS = """
    ALTER TABLE events DISABLE TRIGGER events_are_never_changed;
    DELETE FROM events WHERE position > {};
    ALTER TABLE events ENABLE TRIGGER events_are_never_changed;
"""
FILTER: dict[str, Any] = {"types": "ledger.debited", "holder": ["acme", "nobody"]}


@pytest.fixture
def feed(database: Database) -> Iterator[Feed]:
    """Of a log that is longer than what streams read at once."""
    Hands(database)
    with CreditLedger(database, clock=settable_clock()) as ledger:
        books = BlockingLedger(ledger)
        books.issue_grant(holder="acme", currency="credits", amount=10**6, display_name="g", grant_type="PAID")
        books.consume_many([ConsumeCredits(holder="acme", currency="credits", amount=1) for _ in range(1200)])
    with serving("--no-worker", database_url=database.dsn, schema=database.schema, test_clock="1") as service:
        yield Feed(service)


def begin(database: Database, *arguments: str) -> dict[str, Any]:
    done = command(
        *("epochs", "begin", "--reason", "restored the backup of Sunday", "--json", *arguments),
        database_url=database.dsn,
        schema=database.schema,
        test_clock="1",
    )
    assert done.returncode == 0, done.stderr
    (begun,) = json.loads(done.stdout)
    return dict(begun)


def cursor(epoch: str, position: int) -> str:
    return base64.urlsafe_b64encode(uuid.UUID(epoch).bytes + position.to_bytes(8)).decode()


def assert_told(feed: Feed, after: str, code: str, common: int, epoch: str) -> None:
    """Through both doors, however it is said."""
    stream = {"Accept": "text/event-stream"}
    told = {"status": 409, "code": code, "lastCommonPosition": common, "lastCommonCursor": cursor(epoch, common)}
    assert feed.refusal(after=after) == feed.refusal(stream, after=after) == told
    assert feed.refusal({**stream, "Last-Event-ID": after}, after="latest", **FILTER) == told


def ids(events: list[Event]) -> list[str]:
    return [event["id"] for event in events]


def test_readers_of_a_former_epoch_are_told_what_they_have_in_common_with_the_log(
    database: Database, feed: Feed
) -> None:
    """A running service notices by itself; who streams or waits is sent away, to come again and be told."""
    before = feed.all(limit=1000)
    head, first = len(before), before[0]["id"].split(":")[0]
    assert ids(before) == [f"{first}:{position}" for position in range(1, head + 1)]
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        streams = [
            stack.enter_context(feed.stream(last_event_id=before[-3]["cursor"], **asked)) for asked in ({}, FILTER)
        ]
        assert [ids(stream.take(2)) for stream in streams] == [ids(before[-2:])] * 2
        behind = stack.enter_context(feed.stream())
        assert ids(behind.take(head)) == ids(before)
        waiting = threads.submit(feed.refusal, after=before[-1]["cursor"], wait=30)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.15)
        second = begin(database, "--after", str(head - 5))["epoch"]
        assert waiting.result()["lastCommonPosition"] == head - 5
        for stream in (*streams, behind):
            assert list(stream.events()) == []
            assert stream.retry is not None
            assert 1000 <= stream.retry < 2000
            assert_told(feed, stream.cursor, "CursorOfAnotherEpoch", head - 5, second)
    assert_told(feed, cursor(first, 7), "CursorOfAnotherEpoch", 7, second)
    rest = feed.all(after=cursor(second, head - 5))
    assert ids(rest) == [f"{second}:{position}" for position in range(head - 4, head + 1)]
    after = feed.all(limit=1000)
    assert ids(after) == ids(before[:-5]) + ids(rest)
    assert [event["data"] for event in after] == [event["data"] for event in before]
    with feed.stream() as stream:  # what the service had kept to tell is not told as if it were of this epoch
        assert stream.take(head) == after

    third = begin(database, "--after", "9")["epoch"]
    fourth = begin(database)["epoch"]
    for epoch, position, common in (
        *((first, head, 9), (second, head, 9), (first, 5, 5), (second, 9, 9), (third, head, head)),
        *((third, 3, 3), (third, head + 7, head)),
    ):
        assert_told(feed, cursor(epoch, position), "CursorOfAnotherEpoch", common, fourth)
    assert_told(feed, cursor(str(uuid.uuid4()), 12), "CursorOfUnknownEpoch", 0, fourth)
    assert [each.split(":")[0] for each in ids(feed.all(limit=1000))] == [first] * 9 + [third] * (head - 9)
    for beyond in (cursor(fourth, head + 1), cursor(fourth, 2**63), str(head + 1), "9" * 18):
        assert_told(feed, beyond, "CursorBeyondHead", head, fourth)
    assert feed.page(after=cursor(fourth, head)).caught_up
    assert feed.page(after=str(head)).caught_up


def test_a_reader_of_what_is_gone_from_the_log_is_sent_away_whatever_it_filters(database: Database, feed: Feed) -> None:
    """Nobody has begun an epoch yet: that the log is shorter than it was is enough."""
    last = feed.page(after="latest")
    with ExitStack() as stack:
        streams = [stack.enter_context(feed.stream(last_event_id=last.cursor, **asked)) for asked in ({}, FILTER)]
        for stream in streams:
            next(stream.told())
        with database.connect(Role.OWNER) as connection:
            connection.execute(LOST_ROWS.format(last.position - 4).encode())
        for stream in streams:
            assert list(stream.events()) == []
    epoch = str(uuid.UUID(bytes=base64.urlsafe_b64decode(last.cursor)[:16]))
    assert_told(feed, last.cursor, "CursorBeyondHead", last.position - 4, epoch)


def test_a_page_that_is_read_while_an_epoch_begins_tells_nothing_of_the_new_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends where the log ended in its own: what comes then has other ids, which it could not know."""

    def grant() -> None:
        with CreditLedger(database) as ledger:
            books = BlockingLedger(ledger)
            books.issue_grant(holder="acme", currency="credits", amount=1, display_name="g", grant_type="PAID")

    def overtaken(*asked: Any) -> int:
        monkeypatch.setattr(pages, "window_end", window_end)
        begin_epoch(database, datetime.now(UTC), after=None, by="an operator", reason="restored a backup")
        grant()
        return window_end(*asked)

    grant()
    monkeypatch.setattr(pages, "window_end", overtaken)
    with database.connect(Role.READER) as connection:
        log = pages.Log()
        first, second = (log.page(connection, 0, EVERYTHING, 100) for _ in range(2))
    former, present = first.epoch, second.epoch
    assert former != present
    assert ([each.id for each in first.messages], first.until, first.head) == ([f"{former}:1"], 1, 1)
    assert ([each.id for each in second.messages], second.until, second.head) == ([f"{former}:1", f"{present}:2"], 2, 2)
