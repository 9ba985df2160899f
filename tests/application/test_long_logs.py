"""What must not depend on how long the log is, or how much falls due at once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from ledger.application import (
    BlockingLedger,
    ConsumeCredits,
    CreditLedger,
    IssueGrant,
    LedgerUnavailable,
    Receipt,
    RefundDebit,
)
from ledger.application.ledger import accepted
from ledger.application.limits import WriterLimits
from ledger.domain.credits import credits_of
from ledger.domain.values import GrantType, Kind, PoolKey
from ledger.store.clock import Clock
from ledger.store.database import Database, Role
from projections.balances.queries import pool_balance
from projections.read_model import BALANCES, READ_MODELS
from projections.reading import Reader
from projections.registry import prepare
from projections.runner import Runner, advance
from tests.conftest import START, Hands

ACME = PoolKey(Kind.CREDIT_GRANT, "acme", "c", None)


def debits(count: int) -> list[ConsumeCredits]:
    return [ConsumeCredits(holder="acme", currency="c", amount=1) for _ in range(count)]


@pytest.fixture
def long_log(books: BlockingLedger) -> int:
    """45,001 events: beyond what fits a smallint, and more than two windows of a runner."""
    books.issue_grant(holder="acme", currency="c", amount=10**6, display_name="g", grant_type="PAID")
    outcomes = books.consume_many(debits(45_000))
    last = outcomes[-1]
    assert isinstance(last, Receipt)
    return last.position


def test_read_models_follow_a_long_log(long_log: int, database: Database, clock: Clock) -> None:
    with Runner(database), Reader(database, clock=clock) as reader, reader.snapshot(at_least=long_log) as snapshot:
        assert pool_balance(snapshot, ACME).debited == credits_of(45_000)
        assert set(snapshot.positions.values()) == {long_log}


@contextmanager
def fresh_process(database: Database, clock: Clock) -> Iterator[BlockingLedger]:
    """Another process on the log, whose session has ended, and told its statistics, when this does."""
    named = Database(make_conninfo(database.dsn, application_name=database.schema), database.schema)
    with CreditLedger(named, clock=clock) as fresh:
        yield BlockingLedger(fresh)
    with database.connect(Role.OWNER) as connection:
        deadline = time.monotonic() + 30
        while connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = %s", [database.schema]
        ).fetchone():
            assert time.monotonic() < deadline, "the session does not end, and with it its statistics"


def events_read(database: Database) -> int:
    """How many rows of the log were fetched so far, by all sessions that have told it."""
    with database.connect(Role.OWNER) as connection:
        fetched = connection.execute(
            "SELECT idx_tup_fetch + seq_tup_read AS n FROM pg_stat_user_tables WHERE relid = 'events'::regclass"
        ).fetchone()
    assert fetched is not None
    return int(fetched["n"])


def test_a_fresh_process_does_not_read_the_log_it_missed(long_log: int, database: Database, clock: Clock) -> None:
    with fresh_process(database, clock) as fresh:
        assert fresh.execute(debits(1)[0]).position == long_log + 1
    assert events_read(database) < 100


def test_a_fresh_process_does_not_read_what_was_used_of_an_execution_credit(
    database: Database, clock: Clock, hands: Hands
) -> None:
    """Neither since it was defined nor since the billing period that a refund goes back to."""
    scan: dict[str, Any] = {"holder": "acme", "currency": "DAST", "amount": 1, "kind": Kind.EXECUTION_CREDIT}
    with fresh_process(database, clock) as books:
        books.open_execution_credit(company="acme", credit_type="DAST", credits=10**5, rollup_type="MONTHLY")
        early = books.consume(**scan)
        hands.set(START + timedelta(days=31))
        books.consume_many([ConsumeCredits(**scan) for _ in range(10_000)])
    before = events_read(database)
    with fresh_process(database, clock) as fresh:
        assert fresh.consume(**scan).pool_balance == credits_of(10**5 - 10_001)
        refund = fresh.refund(transaction_id=early.transaction_id, kind=Kind.EXECUTION_CREDIT)
        assert (refund.lot_id, refund.amount) == (early.lot_id, 0)
    assert events_read(database) - before < 100


def test_a_process_that_was_left_far_behind_goes_on(database: Database, clock: Clock, hands: Hands) -> None:
    limits = WriterLimits(catch_up_events_max=50)
    with CreditLedger(database, clock=clock, limits=limits) as left, CreditLedger(database, clock=clock) as busy:
        slow, fast = BlockingLedger(left), BlockingLedger(busy)
        slow.issue_grant(holder="acme", currency="c", amount=1000, display_name="g", grant_type="PAID")
        fast.consume_many(debits(500))
        assert slow.execute(debits(1)[0]).pool_balance == credits_of(499)


def test_thousands_of_lots_that_end_together_are_settled(books: BlockingLedger, hands: Hands) -> None:
    ends = START + timedelta(days=1)
    grants = [
        IssueGrant(
            holder="acme", currency="c", amount=1, display_name="g", grant_type=GrantType.PAID, expires_at=ends,
            effective_at=START - timedelta(seconds=number),
        )
        for number in range(10_000)
    ]  # fmt: skip
    books.ledger.execute_many_blocking(grants)
    hands.set(ends)
    assert books.settle_due() == 1
    assert books.settle_due() == 0


def test_a_thousand_refunds_find_their_emptied_lots_in_a_pool_of_thousands(books: BlockingLedger) -> None:
    """They are loaded under the lock: what took long there would be ended by the server."""
    grant = {"holder": "acme", "currency": "c", "amount": 4, "display_name": "g", "grant_type": "PAID"}
    books.ledger.execute_many_blocking([IssueGrant(**grant) for _ in range(10_000)])  # type: ignore[arg-type]  # fields
    use = ConsumeCredits(holder="acme", currency="c", amount=4)
    used = [accepted(outcome) for outcome in books.consume_many([use] * 1_000)]
    refunds = [RefundDebit(transaction_id=debit.transaction_id, amount=1) for debit in used]
    for debit, outcome in zip(used, books.ledger.execute_many_blocking(refunds), strict=True):
        assert accepted(outcome).lot_id == debit.lot_id


def test_a_batch_ends_when_it_has_enough_events(database: Database, clock: Clock, hands: Hands) -> None:
    """Each debit draws from ten lots: the list is split over several transactions, each command whole."""
    with CreditLedger(database, clock=clock, limits=WriterLimits(batch_events_max=100)) as ledger:
        books = BlockingLedger(ledger)
        for _ in range(10 * 40):
            books.issue_grant(holder="acme", currency="c", amount=1, display_name="g", grant_type="PAID")
        tens = [ConsumeCredits(holder="acme", currency="c", amount=10) for _ in range(40)]
        outcomes = books.consume_many(tens)
    with database.connect(Role.OWNER) as connection:
        found = connection.execute(
            "SELECT count(*) AS n FROM events WHERE amount < 0 GROUP BY xmin ORDER BY 1"
        ).fetchall()
    assert [row["n"] for row in found] == [100] * 4
    assert [len(outcome.draws) for outcome in outcomes if isinstance(outcome, Receipt)] == [10] * 40


def test_an_event_this_version_does_not_know_stops_the_writer_and_says_why(
    books: BlockingLedger, database: Database, clock: Clock
) -> None:
    """As in a rolling deploy: to go on past it could break a law, and to blame the command would be untrue."""
    books.issue_grant(holder="acme", currency="c", amount=10, display_name="g", grant_type="PAID")
    with CreditLedger(database, clock=clock) as newer:
        BlockingLedger(newer).execute(debits(1)[0])
    with database.connect(Role.OWNER) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER USER")
        connection.execute("UPDATE events SET type = 'ledger.of-the-future' WHERE position = 2")
    with pytest.raises(LedgerUnavailable, match="of-the-future"):
        books.execute(debits(1)[0])
    assert "of-the-future" in (books.ledger.writer.failure or "")


def test_an_answer_that_cannot_be_read_fails_only_its_own_command(
    books: BlockingLedger, database: Database, clock: Clock
) -> None:
    books.issue_grant(holder="acme", currency="c", amount=10, display_name="g", grant_type="PAID")
    keyed = ConsumeCredits(holder="acme", currency="c", amount=1, idempotency_key="k")
    books.execute(keyed)
    with database.connect(Role.OWNER) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER USER")
        connection.execute("UPDATE events SET actor_kind = 'UNHEARD OF' WHERE position = 2")
    outcomes = books.ledger.execute_many_blocking([*debits(1), keyed, *debits(1)])
    assert [type(outcome).__name__ for outcome in outcomes] == ["Receipt", "LedgerUnavailable", "Receipt"]
    with database.connect(Role.READER) as connection:
        assert connection.execute("SELECT -sum(amount) AS used FROM movements WHERE amount < 0").fetchone() == {
            "used": credits_of(3)
        }


def test_reads_use_the_same_now_as_commands(books: BlockingLedger, database: Database, clock: Clock) -> None:
    """A clock that has fallen behind the log does not bring ended credits back to life."""
    position = books.issue_grant(holder="acme", currency="c", amount=1, display_name="g", grant_type="PAID").position
    with database.connect(Role.WRITER) as connection:
        connection.execute("UPDATE test_clock SET instant = instant - interval '1 day'")
    with database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        for model in READ_MODELS:
            advance(connection, model)
    with Reader(database, clock=clock) as reader, reader.snapshot([BALANCES], at_least=position) as snapshot:
        assert snapshot.now == START
