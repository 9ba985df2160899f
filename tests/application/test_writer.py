"""The writer's promises that need no fault: order, bounds, splitting, what is due, the clock, stopping."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger, LedgerUnavailable, Receipt, RefundDebit
from ledger.application.limits import WriterLimits
from ledger.domain.credits import credits_of
from ledger.domain.events import Expired, Granted
from ledger.domain.refusals import (
    ClockWouldGoBack,
    InsufficientCredits,
    InvalidArgument,
    QueueFull,
    TransactionNotFound,
)
from ledger.domain.values import Kind
from ledger.store.clock import Clock
from ledger.store.database import Database, Role
from ledger.store.recorder import lock_key
from ledger.store.sql import query
from tests.conftest import START, Hands


def issue(books: BlockingLedger, holder: str = "acme", amount: int = 1000, **fields: object) -> Receipt:
    return books.issue_grant(
        holder=holder, currency="credits", amount=amount, display_name="g", grant_type="PAID", **fields
    )


def debits(count: int, holder: str = "acme") -> list[ConsumeCredits]:
    return [ConsumeCredits(holder=holder, currency="credits", amount=1) for _ in range(count)]


def test_a_list_is_decided_in_its_order_and_split_over_batches(database: Database, clock: Clock, hands: Hands) -> None:
    limits = WriterLimits(batch_commands_max=100)
    with CreditLedger(database, clock=clock, limits=limits) as ledger:
        books = BlockingLedger(ledger)
        issue(books, amount=450)
        outcomes = books.consume_many(debits(451))
    positions = [outcome.position for outcome in outcomes if isinstance(outcome, Receipt)]
    assert positions == list(range(2, 452))
    assert isinstance(outcomes[-1], InsufficientCredits)


def test_a_refused_command_does_not_fail_its_neighbours(books: BlockingLedger) -> None:
    issue(books, amount=2)
    outcomes = books.consume_many([*debits(1), *debits(1, "nobody"), *debits(2)])
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "Receipt", "InsufficientCredits", "Receipt", "InsufficientCredits",
    ]  # fmt: skip


def test_single_commands_do_not_wait_behind_a_long_list(database: Database, clock: Clock, hands: Hands) -> None:
    with CreditLedger(database, clock=clock) as ledger:
        books = BlockingLedger(ledger)
        issue(books, amount=10**6)

        async def run() -> tuple[int, int]:
            long = asyncio.ensure_future(ledger.consume_many(debits(20_000)))
            await asyncio.sleep(0)
            single = await ledger.execute(debits(1)[0])
            outcomes = await long
            last = outcomes[-1]
            assert isinstance(last, Receipt)
            return single.position, last.position

        single, last = asyncio.run(run())
    assert single < last
    with database.connect(Role.OWNER) as connection:
        beside = connection.execute(
            "SELECT count(*) AS n FROM events WHERE xmin = (SELECT xmin FROM events WHERE position = %s)", [single]
        ).fetchone()
    assert beside is not None
    assert beside["n"] <= 1_001


def test_a_full_queue_refuses_and_keeps_nothing(database: Database, clock: Clock, hands: Hands) -> None:
    limits = WriterLimits(queued_commands_max=10)
    with (
        CreditLedger(database, clock=clock, limits=limits) as ledger,
        database.connect(Role.WRITER) as holder,
    ):

        async def run() -> None:
            with holder.transaction():
                holder.execute(query("lock"), {"key": lock_key(holder, database.schema)})
                first = asyncio.ensure_future(ledger.execute_many(debits(1)))
                waiting = [asyncio.ensure_future(ledger.execute_many(debits(9))) for _ in range(3)]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
            refused = [done for done in waiting if done.done() and isinstance(done.exception(), QueueFull)]
            answered = await asyncio.gather(first, *waiting, return_exceptions=True)
            assert len(refused) >= 1
            assert [len(outcomes) for outcomes in answered if isinstance(outcomes, list)][:2] == [1, 9]

        asyncio.run(run())


def test_a_ledger_that_was_not_started_says_so(database: Database) -> None:
    ledger = CreditLedger(database)
    with pytest.raises(LedgerUnavailable, match="not been started"):
        ledger.execute_many_blocking(debits(1))
    ledger.close()


def test_stopping_answers_what_was_accepted_and_accepts_no_more(database: Database, clock: Clock, hands: Hands) -> None:
    with CreditLedger(database, clock=clock) as ledger:
        issue(BlockingLedger(ledger))

        async def run() -> int:
            accepted = [asyncio.ensure_future(ledger.execute(command)) for command in debits(300)]
            await asyncio.sleep(0)
            await asyncio.to_thread(ledger.writer.stop)
            with pytest.raises(LedgerUnavailable, match="stopping"):
                await ledger.execute(debits(1)[0])
            return len(await asyncio.gather(*accepted))

        assert asyncio.run(run()) == 300


def test_waiting_threads_and_asyncio_callers_share_one_writer(ledger: CreditLedger, books: BlockingLedger) -> None:
    issue(books)
    with ThreadPoolExecutor(8) as threads:
        positions = list(threads.map(lambda _: books.execute(debits(1)[0]).position, range(200)))
    assert sorted(positions) == list(range(2, 202))


def test_what_is_due_comes_first_dated_to_its_instant(books: BlockingLedger, hands: Hands) -> None:
    ends = START + timedelta(hours=1, microseconds=1)
    issue(books, expires_at=ends)
    issue(books, amount=5)
    hands.set(ends)
    books.consume(holder="acme", currency="credits", amount=5)
    with books.ledger.database.connect(Role.READER) as connection:
        rows = connection.execute("SELECT type, amount, effective_at FROM movements ORDER BY position").fetchall()
    assert [(row["type"], row["amount"]) for row in rows[2:]] == [
        (Expired.TOPIC, -credits_of(1000)),
        ("ledger.debited", -credits_of(5)),
    ]
    assert rows[2]["effective_at"] == ends


def test_a_refused_command_leaves_nothing_due_behind(books: BlockingLedger, hands: Hands) -> None:
    """Its lapses are dropped with it; the next settlement brings them."""
    issue(books, expires_at=START + timedelta(hours=1))
    hands.set(START + timedelta(hours=2))
    with pytest.raises(InsufficientCredits) as refused:
        books.consume(holder="acme", currency="credits", amount=1)
    assert refused.value.available == 0
    with books.ledger.database.connect(Role.READER) as connection:
        assert connection.execute("SELECT max(position) AS head FROM movements").fetchone() == {"head": 1}
    assert books.settle_due() == 1
    assert books.settle_due() == 0
    with books.ledger.database.connect(Role.READER) as connection:
        last = connection.execute("SELECT type, effective_at, recorded_at FROM movements WHERE position = 2").fetchone()
    assert last == {"type": Expired.TOPIC, "effective_at": START + timedelta(hours=1), "recorded_at": hands.now}


def test_a_credit_that_slept_renews_once_for_each_period(books: BlockingLedger, hands: Hands) -> None:
    books.open_execution_credit(company="c", credit_type="DAST", credits=10, rollup_type="MONTHLY")
    hands.set(START + timedelta(days=100))
    debit = books.consume(holder="c", currency="DAST", amount=4, kind=Kind.EXECUTION_CREDIT)
    assert debit.pool_balance == credits_of(6)
    with books.ledger.database.connect(Role.READER) as connection:
        rows = connection.execute(
            "SELECT effective_at::date::text AS day FROM movements WHERE type = %s ORDER BY position", [Granted.TOPIC]
        ).fetchall()
    assert [row["day"] for row in rows] == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]


@pytest.mark.parametrize(("ahead", "fine"), [(5, True), (5.000001, False), (-3600, True)])
def test_a_use_lies_at_most_five_seconds_ahead(books: BlockingLedger, hands: Hands, ahead: float, fine: bool) -> None:
    issue(books)
    command = {"holder": "acme", "currency": "credits", "amount": 1, "use_at": hands.now + timedelta(seconds=ahead)}
    if fine:
        event = books.consume(**command).events[0]
        assert event.transaction.recorded_at == hands.now
    else:
        with pytest.raises(InvalidArgument, match="5 seconds"):
            books.consume(**command)


def test_now_never_goes_back_whatever_the_clock_says(books: BlockingLedger, hands: Hands) -> None:
    issue(books)
    with books.ledger.database.connect(Role.WRITER) as connection:
        connection.execute("UPDATE test_clock SET instant = instant - interval '1 day'")
    assert books.consume(holder="acme", currency="credits", amount=1).recorded_at == START


def test_the_test_clock_refuses_to_go_back(hands: Hands) -> None:
    hands.set(START)
    with pytest.raises(ClockWouldGoBack):
        hands.set(START - timedelta(microseconds=1))


def test_a_refund_names_a_debit_of_its_own_door(books: BlockingLedger) -> None:
    granted = issue(books)
    debit = books.consume(holder="acme", currency="credits", amount=1)
    for name, kind in (
        (debit.transaction_id, Kind.EXECUTION_CREDIT),
        (granted.transaction_id, Kind.CREDIT_GRANT),
        ("00000000-0000-7000-8000-000000000000", Kind.CREDIT_GRANT),
        ("no such thing", Kind.CREDIT_GRANT),
    ):
        with pytest.raises(TransactionNotFound):
            books.refund(transaction_id=name, kind=kind)


def test_two_refunds_in_one_batch_see_each_other(books: BlockingLedger) -> None:
    issue(books)
    debit = books.consume(holder="acme", currency="credits", amount=10)
    halves = [RefundDebit(transaction_id=debit.transaction_id, amount=6) for _ in range(2)]
    outcomes = books.ledger.execute_many_blocking(halves)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Receipt", "RefundExceedsDebit"]


def test_a_lot_that_a_batch_empties_and_refills_is_found_as_it_is(books: BlockingLedger) -> None:
    issue(books, amount=10)
    first = books.consume(holder="acme", currency="credits", amount=4)
    outcomes = books.ledger.execute_many_blocking(
        [
            ConsumeCredits(holder="acme", currency="credits", amount=6),
            RefundDebit(transaction_id=first.transaction_id, amount=3),
            ConsumeCredits(holder="acme", currency="credits", amount=3),
        ]
    )
    assert [outcome.pool_balance for outcome in outcomes if isinstance(outcome, Receipt)] == [
        0,
        credits_of(3),
        0,
    ]


def test_two_ledgers_on_one_log_catch_up_with_each_other(database: Database, clock: Clock, hands: Hands) -> None:
    with CreditLedger(database, clock=clock) as one, CreditLedger(database, clock=clock) as two:
        books = (BlockingLedger(one), BlockingLedger(two))
        issue(books[0], amount=100)
        debit = books[1].consume(holder="acme", currency="credits", amount=100)
        books[0].refund(transaction_id=debit.transaction_id, amount=10)
        issue(books[1], amount=5)
        balances = [
            books[turn % 2].consume(holder="acme", currency="credits", amount=1).pool_balance for turn in range(15)
        ]
        assert balances == [credits_of(left) for left in range(14, -1, -1)]


def test_free_text_is_kept_apart_from_the_log(books: BlockingLedger, database: Database) -> None:
    granted = books.issue_grant(
        holder="acme", currency="credits", amount=1, display_name="Secret name", grant_type="PAID",
        comment="secret comment", metadata={"secret": "metadata"},
    )  # fmt: skip
    books.void_grant(grant=granted.stream_id, reason="secret reason")
    with database.connect(Role.WRITER) as connection:
        log = connection.execute("SELECT string_agg(e::text, '') AS text FROM events AS e").fetchone()
        kept = connection.execute("SELECT string_agg(body, '') AS text FROM documents").fetchone()
    assert log is not None
    assert kept is not None
    assert "ecret" not in log["text"]
    assert all(text in kept["text"] for text in ("Secret name", "secret comment", "metadata", "secret reason"))
