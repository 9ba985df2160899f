"""One look for thresholds: where it begins, how much it reads, and that it loses and repeats nothing when it fails."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger, DefineAllocationRule, LedgerUnavailable
from ledger.application.limits import WriterLimits
from ledger.store.clock import Clock
from ledger.store.database import Database, Role
from ledger.store.followed import threshold_steps
from ledger.store.sql import query
from projections.read_model import RULE_MODELS
from projections.reading import Reader
from projections.runner import Runner
from service.threshold_reactor import ThresholdReactor
from tests.faults.test_held_locks import held
from tests.service.load import eventually
from tests.service.thresholds import SECONDS_MAX, has_rule, head_of, keep, kept, reached, recorded, uses

WAITING = "SELECT count(*) AS count FROM pg_locks WHERE relation = to_regclass('events') AND NOT granted"


@pytest.fixture
def reader(database: Database, clock: Clock, ledger: CreditLedger) -> Iterator[Reader]:
    """Of a ledger whose log is followed."""
    with Runner(database), Reader(database, clock=clock) as reader:
        yield reader


def test_a_worker_begins_where_one_before_it_has_come_to_and_reads_nothing_again(
    database: Database, books: BlockingLedger, reader: Reader
) -> None:
    """What lies before is believed to be told; what was used there still counts."""
    has_rule(books)
    keep(database, uses(books, 60).position)
    uses(books, 1)
    asyncio.run(ThresholdReactor(books.ledger, reader).act())
    assert [each.used for each in recorded(database)] == ["61.000000000"]
    assert kept(database) == head_of(database) - 1, "all but its own event"


def test_a_worker_begins_with_what_was_used_by_then_though_the_read_models_tell_of_later(
    database: Database, books: BlockingLedger, reader: Reader
) -> None:
    has_rule(books)
    keep(database, uses(books, 10).position)
    crossing = uses(books, 45)
    books.refund(transaction_id=crossing.transaction_id, idempotency_key="back")
    books.execute(DefineAllocationRule(name="later", account_groups=["g"], allocated=0, alarm_threshold=0))
    with reader.snapshot(RULE_MODELS, at_least=head_of(database)):
        asyncio.run(ThresholdReactor(books.ledger, reader).act())
    assert recorded(database) == reached(database)
    assert recorded(database)[0][2:6] == ("55.000000000", 100, 50, crossing.position)


@pytest.mark.parametrize("events_at_once_max", [1, 2, 7, 50_000])
def test_however_much_of_the_log_is_read_at_once_the_same_is_told(
    database: Database, books: BlockingLedger, reader: Reader, events_at_once_max: int
) -> None:
    """A use that draws on many lots is never counted in parts."""
    has_rule(books, lots=100)
    for name in range(4):
        rule = DefineAllocationRule(name=str(name), account_groups=["g"], allocated=10 * name, alarm_threshold=name)
        books.execute(rule)
        crossing = uses(books, 15 + name)
        assert len(crossing.draws) > 1
    asyncio.run(ThresholdReactor(books.ledger, reader, events_at_once_max=events_at_once_max).act())
    assert recorded(database) == reached(database)
    assert {each.transaction for each in recorded(database)} >= {crossing.transaction_id}


def test_a_log_that_ends_before_what_was_followed_of_it_is_not_passed_over(
    database: Database, books: BlockingLedger, reader: Reader
) -> None:
    keep(database, has_rule(books) + 2)
    uses(books, 60)
    with pytest.raises(LedgerUnavailable, match="followed to position 4, but it ends at 3"):
        asyncio.run(ThresholdReactor(books.ledger, reader).act())
    assert (recorded(database), kept(database)) == ([], 4)


def test_nothing_is_lost_while_nothing_can_be_written(database: Database, books: BlockingLedger, clock: Clock) -> None:
    keep(database, has_rule(books))
    crossing = uses(books, 60)
    limits = WriterLimits(lock_wait_milliseconds_max=50, outage_seconds_max=0.2)
    with (
        CreditLedger(database, clock=clock, limits=limits) as ledger,
        Runner(database),
        Reader(database, clock=clock) as reader,
    ):
        reactor = ThresholdReactor(ledger, reader)
        with held(database, writers_lock=True), pytest.raises(LedgerUnavailable):
            asyncio.run(reactor.act())
        assert (recorded(database), kept(database)) == ([], crossing.position - 1)
        asyncio.run(reactor.act())
    assert [each.transaction for each in recorded(database)] == [crossing.transaction_id]


def test_a_look_that_was_broken_off_counts_nothing_twice(
    database: Database, books: BlockingLedger, clock: Clock
) -> None:
    """Its thread still reads when the next one begins."""
    has_rule(books)

    async def broken_off(reactor: ThresholdReactor) -> None:
        await reactor.act()
        await asyncio.to_thread(uses, books, 30)
        with database.connect(None) as connection, connection.transaction():
            connection.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            first = asyncio.create_task(reactor.act())
            assert await asyncio.to_thread(eventually, lambda: waiting(database) == 1, SECONDS_MAX)
            first.cancel()
            with suppress(asyncio.CancelledError):
                await first
            second = asyncio.create_task(reactor.act())
            assert await asyncio.to_thread(eventually, lambda: waiting(database) == 2, SECONDS_MAX)
        await second

    with Reader(database, clock=clock) as reader:
        with Runner(database), reader.snapshot(RULE_MODELS, at_least=head_of(database)):
            pass  # from here on nobody else waits for the log
        reactor = ThresholdReactor(books.ledger, reader)
        asyncio.run(broken_off(reactor))
        assert recorded(database) == []
        crossing = uses(books, 20)
        asyncio.run(reactor.act())
    assert [(each.used, each.position) for each in recorded(database)] == [("50.000000000", crossing.position)]


def waiting(database: Database) -> int:
    """How many wait for the log."""
    with database.connect(None) as connection:
        row = connection.execute(WAITING).fetchone()
    assert row is not None
    return int(row["count"])


@pytest.mark.parametrize("analysed", [False, True])
def test_a_look_reads_what_is_new_of_the_log_and_nothing_else(
    database: Database, books: BlockingLedger, analysed: bool
) -> None:
    has_rule(books)
    use = ConsumeCredits(holder="acme", currency="c", amount="0.1", account_groups=("g",))
    books.consume_many([use] * 2000)
    with database.connect(Role.OWNER) as connection:
        if analysed:
            connection.execute("ANALYZE events")
    with database.connect(Role.WRITER) as connection:
        plan = connection.execute("EXPLAIN " + query("threshold_steps"), {"after": 990, "until": 1002}).fetchall()
        lines = "\n".join(row["QUERY PLAN"] for row in plan)
        assert "Seq Scan" not in lines, lines
        assert 'Index Cond: (("position" >' in lines, lines
        assert len(threshold_steps(connection, after=990, until=1002)) == 12
