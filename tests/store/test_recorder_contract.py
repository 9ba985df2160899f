"""The library's own contract tests for recorders, run against ours.

Its tests store bytes that are not JSON, under topics that are no events; the adapter wraps them as a row's data.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    Notification,
    StoredEvent,
    Subscription,
)
from eventsourcing.tests.persistence import AggregateRecorderTestCase, ApplicationRecorderTestCase

from ledger.store.database import Database
from ledger.store.datastore import LedgerDatastore
from ledger.store.mapper import NULL, LineToAppend, RecordedEvent
from ledger.store.recorder import LogRecorder


class BytesRecorder(LogRecorder):
    """Our recorder, taking and giving plain stored events with bytes."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        return super().insert_events([_line(event) for event in stored_events], **kwargs)

    def select_events(self, originator_id: UUID | str, **bounds: Any) -> Sequence[StoredEvent]:
        return [_plain(event) for event in super().select_events(originator_id, **bounds)]

    def select_notifications(self, *args: Any, **kwargs: Any) -> Sequence[Notification]:
        found = super().select_notifications(*args, **kwargs)
        return [Notification(**vars(_plain(event)), id=event.id) for event in found]

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return super().subscribe(gt, topics)


class AggregateFace(BytesRecorder):
    """The same as an aggregate recorder, which answers no positions."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Any:
        super().insert_events(stored_events, **kwargs)


def _line(event: StoredEvent) -> LineToAppend:
    transaction_id = str(uuid4())
    state = '{"bytes":"' + event.state.hex() + '"}'
    before = [event.originator_id, event.originator_version, event.topic, 1, transaction_id, datetime.now(UTC)]
    fields = [*before, "SYSTEM", "contract", *([NULL] * 19), state]
    return LineToAppend(
        originator_id=event.originator_id,
        originator_version=event.originator_version,
        topic=event.topic,
        state=b"",
        transaction_id=transaction_id,
        line="\t".join(map(str, fields)) + "\n",
    )


def _plain(event: StoredEvent) -> StoredEvent:
    row = cast("RecordedEvent", event).row
    return StoredEvent(UUID(row["stream_id"]), row["version"], row["type"], bytes.fromhex(row["data"]["bytes"]))


class WithDatabase:
    """Gives the library's test cases a fresh ledger."""

    @pytest.fixture(autouse=True)
    def _take(self, database: Database) -> None:
        self.database = database

    def datastore(self) -> LedgerDatastore:
        datastore = LedgerDatastore(self.database)
        cast("Any", self).addCleanup(datastore.close)
        return datastore


class TestAggregateRecorder(WithDatabase, AggregateRecorderTestCase):
    def create_recorder(self) -> AggregateRecorder:
        return AggregateFace(self.datastore())


class TestApplicationRecorder(WithDatabase, ApplicationRecorderTestCase):
    def create_recorder(self) -> ApplicationRecorder:
        return BytesRecorder(self.datastore())

    test_insert_subscribe = ApplicationRecorderTestCase.optional_test_insert_subscribe


def test_a_subscriber_finds_an_event_whose_notification_is_lost(database: Database) -> None:
    with closing(LedgerDatastore(database)) as datastore, ThreadPoolExecutor() as others:
        recorder, quiet = BytesRecorder(datastore), BytesRecorder(datastore)
        quiet.channel_name = "nobody listens here"
        with recorder.subscribe(gt=0) as subscription:
            for number in range(1, 4):
                waiting = others.submit(next, subscription)
                quiet.insert_events([StoredEvent(uuid4(), 1, f"topic{number}", b"")])
                try:
                    assert waiting.result(timeout=20).topic == f"topic{number}"
                finally:
                    if not waiting.done():
                        subscription.stop()
