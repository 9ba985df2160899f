"""Ways in which the library, used as it comes, would break a law; each stays shut."""

from datetime import UTC, datetime
from typing import Any

import pytest
from freezegun import freeze_time

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.instants import instant_of
from ledger.domain.refusals import CreditGrantNotFound, InsufficientCredits
from ledger.domain.values import StreamId
from ledger.store.database import Database, Role
from ledger.store.mapper import UnknownEvent, event_of_row
from ledger.store.recorder import LogRecorder
from tests.store.golden import GOLDEN, row_of
from tests.store.test_golden import golden, read_back


def test_the_environment_changes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, books: BlockingLedger
) -> None:
    """POSTGRES_ENABLE_DB_FUNCTIONS, for one, would append without the lock, and subscribers would miss events."""
    for name, value in {
        "POSTGRES_ENABLE_DB_FUNCTIONS": "y",
        "POSTGRES_DBNAME": "elsewhere",
        "POSTGRES_SCHEMA": "elsewhere",
        "AGGREGATE_CACHE_MAXSIZE": "100",
        "COMPRESSOR_TOPIC": "zlib",
        "CIPHER_TOPIC": "nonsense",
        "PERSISTENCE_MODULE": "eventsourcing.sqlite",
    }.items():
        monkeypatch.setenv(name, value)
    with CreditLedger(database) as ledger:
        BlockingLedger(ledger).issue_grant(holder="a", currency="c", amount=1, display_name="g", grant_type="PAID")
        assert ledger.repository.cache is None
        assert ledger.snapshots is None
    with database.connect(Role.READER) as connection:
        assert connection.execute("SELECT count(*) AS n FROM movements").fetchone() == {"n": 1}


def test_an_append_is_never_tried_again_by_itself() -> None:
    """The library's `retry` would append a second time, outside the lock."""
    assert not hasattr(LogRecorder.insert_events, "__wrapped__")


@pytest.mark.parametrize("topic", ["ledger.domain.events:Granted", "os:system", "ledger.granted2", ""])
def test_a_topic_is_never_resolved_by_import(schema: Database, topic: str) -> None:
    row: dict[str, Any] = read_back(schema, golden("granted-v1")["row"]).row | {"type": topic}
    with pytest.raises(UnknownEvent):
        event_of_row(row)


def test_an_event_of_a_later_schema_is_not_guessed_at(schema: Database) -> None:
    row: dict[str, Any] = read_back(schema, golden("granted-v1")["row"]).row | {"schema_version": 2}
    with pytest.raises(UnknownEvent, match="too new"):
        event_of_row(row)


def test_a_frozen_clock_is_written_like_any_other() -> None:
    """freezegun puts a class of its own in datetime's place, which the library's transcoder does not know."""
    with freeze_time("2026-02-28 23:59:59.999999"):
        instant = instant_of(datetime.now(UTC), field="useAt")
        event = GOLDEN["expired-v1"].model_copy(update={"effective_at": instant})
        row = row_of(event)
    assert type(instant) is not datetime
    assert row["effective_at"] == "2026-02-28T23:59:59.999999+00:00"


def test_a_failed_command_leaves_no_wrong_balance_in_a_cache(books: BlockingLedger) -> None:
    granted = books.issue_grant(holder="a", currency="c", amount=5, display_name="g", grant_type="PAID")
    with pytest.raises(InsufficientCredits):
        books.consume(holder="a", currency="c", amount=6)
    assert books.consume(holder="a", currency="c", amount=5).pool_balance == 0
    assert books.ledger.grant(granted.stream_id).version == 2


def test_a_grant_is_folded_from_its_own_events(books: BlockingLedger) -> None:
    granted = books.issue_grant(holder="a", currency="c", amount=5, display_name="g", grant_type="PAID")
    books.consume(holder="a", currency="c", amount=2)
    (lot,) = books.ledger.grant(granted.stream_id).lots.values()
    assert (lot.granted, lot.used, lot.balance) == (5 * 10**9, 2 * 10**9, 3 * 10**9)
    for unknown in ("no such grant", "018f0000-0000-7000-8000-000000000009"):
        with pytest.raises(CreditGrantNotFound):
            books.ledger.grant(StreamId(unknown))


def test_every_golden_event_is_of_this_version() -> None:
    assert {event.SCHEMA_VERSION for event in GOLDEN.values()} == {1}
