"""Following the log: own writes are read, runners do not get in each other's way, a broken model stops alone."""

from collections.abc import Sequence

import pytest
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application import BlockingLedger
from ledger.domain.credits import credits_of
from ledger.domain.refusals import PositionNotReached
from ledger.domain.values import Kind, PoolKey
from ledger.store.clock import Clock
from ledger.store.database import Database, Role
from projections.balances.queries import EMPTY, pool_balance
from projections.entries.queries import statement_of_pool
from projections.lots.queries import LotStatus, lots_of_pool
from projections.read_model import BALANCES, LOTS, READ_MODELS, ReadModel
from projections.reading import Reader
from projections.registry import prepare
from projections.runner import Runner, advance, advance_together
from tests.conftest import Hands

ACME = PoolKey(Kind.CREDIT_GRANT, "acme", "credits", None)


def issue(books: BlockingLedger, amount: int = 100) -> int:
    return books.issue_grant(
        holder="acme", currency="credits", amount=amount, display_name="grant", grant_type="PAID"
    ).position


def test_a_client_reads_its_own_writes(books: BlockingLedger, database: Database, clock: Clock) -> None:
    issue(books)
    with Runner(database), Reader(database, clock=clock) as reader:
        for used in range(1, 30):
            position = books.consume(holder="acme", currency="credits", amount=1).position
            with reader.snapshot(at_least=position) as snapshot:
                assert pool_balance(snapshot, ACME).balance == credits_of(100 - used)
                assert snapshot.position >= position
                assert not snapshot.stale


def test_rows_and_position_are_of_one_snapshot(books: BlockingLedger, database: Database, clock: Clock) -> None:
    issue(books)
    with Reader(database, clock=clock) as reader, database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        for model in READ_MODELS:
            advance(connection, model)
        with reader.snapshot() as snapshot:
            books.consume(holder="acme", currency="credits", amount=1)
            for model in READ_MODELS:
                advance(connection, model)
            assert snapshot.position == 1
            assert pool_balance(snapshot, ACME).balance == credits_of(100)


def test_without_a_runner_a_read_is_marked_stale(books: BlockingLedger, database: Database, clock: Clock) -> None:
    with Reader(database, clock=clock) as reader, database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        issue(books)
        with reader.snapshot() as snapshot:
            assert snapshot.stale
            assert snapshot.position == 0
            assert pool_balance(snapshot, ACME) == EMPTY


def test_only_a_named_position_is_insisted_on(
    books: BlockingLedger, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.reading.NAMED_POSITION_WAIT_SECONDS_MAX", 0.05)
    with Reader(database, clock=clock) as reader, database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        position = issue(books)
        with pytest.raises(PositionNotReached) as refused, reader.snapshot(at_least=position):
            pass
        assert refused.value.facts == {"wanted": position, "reached": 0}


def test_several_runners_fold_each_event_once(books: BlockingLedger, database: Database, clock: Clock) -> None:
    with Runner(database), Runner(database), Runner(database), Reader(database, clock=clock) as reader:
        position = 0
        for _ in range(40):
            position = issue(books, 1)
        with reader.snapshot(at_least=position) as snapshot:
            assert pool_balance(snapshot, ACME).granted == credits_of(40)
            assert len(lots_of_pool(snapshot, ACME)) == 40


def test_a_runner_that_was_overtaken_undoes_its_fold(books: BlockingLedger, database: Database) -> None:
    class Slow(ReadModel):
        """Balances, on a machine that sleeps after the fold while somebody else moves the position on."""

        def fold(self, connection: Connection[DictRow], after: int, until: int, skips: Sequence[int] = ()) -> None:
            super().fold(connection, after, until, skips)
            fast.execute("UPDATE projections SET position = %s WHERE name = 'balances'", [until])

    with database.connect(Role.PROJECTOR) as slow, database.connect(Role.PROJECTOR) as fast:
        prepare(slow, database)
        issue(books)
        assert advance(slow, Slow("balances")) is not True
        assert fast.execute(BALANCES.sql("SELECT count(*) AS n FROM {table}")).fetchone() == {"n": 0}


def test_a_little_is_folded_into_all_models_at_once_or_into_none(books: BlockingLedger, database: Database) -> None:
    class Overtaken(ReadModel):
        """Balances, whose position somebody else moves on after the fold."""

        def fold(self, connection: Connection[DictRow], after: int, until: int, skips: Sequence[int] = ()) -> None:
            super().fold(connection, after, until, skips)
            fast.execute("UPDATE projections SET position = %s WHERE name = 'balances'", [until])

    def positions() -> set[int]:
        found = fast.execute("SELECT position FROM projections WHERE name <> 'balances'").fetchall()
        return {row["position"] for row in found}

    with database.connect(Role.PROJECTOR) as connection, database.connect(Role.PROJECTOR) as fast:
        prepare(connection, database)
        issue(books)
        overtaken = [Overtaken("balances") if model is BALANCES else model for model in READ_MODELS]
        assert advance_together(connection, overtaken) is None
        assert positions() == {0}, "what one had to undo, all have undone"
        fast.execute("UPDATE projections SET position = 0")
        assert advance_together(connection, READ_MODELS) is True
        assert positions() == {1}
        assert advance_together(connection, READ_MODELS) is False, "there is nothing to fold"
        issue(books)
        advance(connection, BALANCES)
        assert advance_together(connection, READ_MODELS) is None, "they do not stand at one position"
        assert positions() == {1}


def test_a_broken_model_stops_alone_and_says_so(books: BlockingLedger, database: Database, clock: Clock) -> None:
    with database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        connection.execute(LOTS.sql("ALTER TABLE {table} ADD CHECK (granted < 50)"))
    position = issue(books, 100)
    with Runner(database) as runner, Reader(database, clock=clock) as reader:
        with reader.snapshot([BALANCES], at_least=position) as snapshot:
            assert pool_balance(snapshot, ACME).balance == credits_of(100)
        with reader.snapshot([LOTS]) as snapshot:
            assert snapshot.stale
        assert runner.alive
        with database.connect(Role.READER) as connection:
            failed = connection.execute("SELECT name, error FROM projections WHERE error IS NOT NULL").fetchall()
        assert [row["name"] for row in failed] == ["lots"]
        assert "check constraint" in failed[0]["error"]


def test_a_statement_carries_the_balances_that_the_events_recorded(
    books: BlockingLedger, database: Database, clock: Clock, hands: Hands
) -> None:
    issue(books)
    debit = books.consume(holder="acme", currency="credits", amount=30)
    books.refund(transaction_id=debit.transaction_id, amount=10)
    position = books.void_grant(grant=debit.lot_id).position
    with Runner(database), Reader(database, clock=clock) as reader, reader.snapshot(at_least=position) as snapshot:
        told = [(entry.type, entry.amount, entry.pool_balance) for entry in statement_of_pool(snapshot, ACME)]
        assert told == [
            ("ledger.granted", credits_of(100), credits_of(100)),
            ("ledger.debited", -credits_of(30), credits_of(70)),
            ("ledger.refunded", credits_of(10), credits_of(80)),
            ("ledger.voided", -credits_of(80), 0),
        ]
        (lot,) = lots_of_pool(snapshot, ACME)
        assert lot.status(hands.now) is LotStatus.VOIDED
        assert lot.voided_at == hands.now


UNTOLD = """
INSERT INTO events
SELECT (jsonb_populate_record(told, '{"position": 2, "transaction_last": 2, "version": 2}')).*
FROM events AS told
"""


def test_what_no_notification_told_of_is_followed_too(
    books: BlockingLedger, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a runner that rests, before it looks at all of its models again."""
    monkeypatch.setattr("projections.runner.REST_SECONDS_MAX", 3600.0)
    books.define_allocation_rule(name="rule", account_groups=["lab"], allocated=1, alarm_threshold=1)
    with Runner(database), Reader(database, clock=clock) as reader:
        with reader.snapshot(at_least=1) as snapshot:
            assert snapshot.position == 1
        with database.connect(Role.WRITER) as connection:
            connection.execute(UNTOLD)
        with reader.snapshot(at_least=2) as snapshot:
            assert snapshot.position == 2
