"""Two writers on one log, as two processes have them: each thing happens once, and each sees what the other did."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from threading import Barrier
from typing import Any

import pytest

from ledger.application import (
    BlockingLedger,
    Command,
    ConsumeCredits,
    CreditLedger,
    DeleteExecutionCredit,
    Receipt,
    RechargePool,
    SettleDue,
    UpdateExecutionCredit,
)
from ledger.application.receipts import Outcome
from ledger.domain.credits import credits_of
from ledger.domain.events import ExecutionCreditDefined
from ledger.domain.values import Kind, PoolKey, RollupType
from ledger.store.clock import Clock
from ledger.store.database import Database, Role
from tests.conftest import START, Hands
from tests.laws.naive_schedules import stepped

ACME = PoolKey(Kind.CREDIT_GRANT, "acme", "c", None)
SCANS = PoolKey(Kind.EXECUTION_CREDIT, "acme", "DAST", None)
ROUNDS = 25


@pytest.fixture
def both(database: Database, clock: Clock, hands: Hands) -> Iterator[tuple[BlockingLedger, BlockingLedger]]:
    with CreditLedger(database, clock=clock) as one, CreditLedger(database, clock=clock) as other:
        yield BlockingLedger(one), BlockingLedger(other)


def at_once(writers: Sequence[BlockingLedger], command: Command, times: int = 3) -> list[Outcome]:
    """The writers are sent a command several times each, at the same moment; one may be asked by several."""
    start = Barrier(len(writers))

    def send(books: BlockingLedger) -> list[Outcome]:
        start.wait()
        return [books.ledger.execute_many_blocking([command])[0] for _ in range(times)]

    with ThreadPoolExecutor(len(writers)) as threads:
        return [outcome for outcomes in threads.map(send, writers) for outcome in outcomes]


def use(amount: int) -> ConsumeCredits:
    return ConsumeCredits(holder="acme", currency="c", amount=amount)


def issue(books: BlockingLedger, **fields: Any) -> Receipt:
    wanted = {"holder": "acme", "currency": "c", "amount": 10, "display_name": "g", "grant_type": "PAID"}
    return books.issue_grant(**wanted | fields)


def test_one_crossing_is_recharged_once_whoever_asks_and_however_often(
    both: tuple[BlockingLedger, BlockingLedger], database: Database
) -> None:
    one, other = both
    one.save_auto_recharge(holder="acme", currency="c", enabled=True, threshold=10, target=100, unit_price="0.5")
    command = RechargePool(holder="acme", currency="c")
    for number in range(ROUNDS):
        outcomes = at_once(both, command)
        receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
        assert len(receipts) == len(outcomes)
        assert [receipt.amount for receipt in receipts if receipt.events] == [credits_of(95 if number else 100)]
        (one, other)[number % 2].execute(use(95))
    with database.connect(Role.WRITER) as connection:
        granted = connection.execute("SELECT lot FROM movements WHERE cause = 'RECHARGED'").fetchall()
        claims = connection.execute("SELECT value FROM claims WHERE kind = 'RECHARGE'").fetchall()
    assert len(granted) == ROUNDS
    assert sorted(json.loads(row["value"])[1] for row in claims) == list(range(1, ROUNDS + 1))


def test_each_part_is_granted_once_whoever_settles(
    both: tuple[BlockingLedger, BlockingLedger], database: Database, hands: Hands
) -> None:
    fields = {"currency": "c", "display_name": "p", "amount": 10, "billing_period": "MONTH", "cadence": "MONTHLY"}
    both[0].create_grant_schedule(holder="acme", rollover_periods=1, **fields)
    for month in range(1, ROUNDS):
        hands.set(stepped(START, month))
        at_once(both, SettleDue(due_pool=ACME), times=2)
    with database.connect(Role.READER) as connection:
        found = connection.execute(
            "SELECT grant_type, effective_at FROM movements WHERE type = 'ledger.granted' ORDER BY position"
        ).fetchall()
        lapses = connection.execute("SELECT lot, cause FROM movements WHERE type = 'ledger.expired'").fetchall()
    parts = [row["effective_at"] for row in found if row["grant_type"] == "SUBSCRIPTION"]
    assert parts == [stepped(START, month) for month in range(ROUNDS)]
    assert [row["effective_at"] for row in found if row["grant_type"] == "ROLLOVER"] == parts[1:]
    assert set(Counter((row["lot"], row["cause"]) for row in lapses).values()) == {1}
    assert both[0].settle_due() == both[1].settle_due() == 0


def test_another_processs_update_changes_the_order_in_which_a_cached_pool_pays(
    both: tuple[BlockingLedger, BlockingLedger],
) -> None:
    one, other = both
    first, second = issue(one, priority=1), issue(one, priority=2)
    assert [lot for lot, _ in one.execute(use(1)).draws] == [first.lot_id]
    other.update_grant(grant=first.stream_id, priority=3)
    assert [lot for lot, _ in one.execute(use(1)).draws] == [second.lot_id]
    other.update_grant(grant=second.stream_id, expires_at=START + timedelta(days=1), priority=3)
    one.update_grant(grant=first.stream_id, expires_at=START + timedelta(hours=1))
    for books in (one, other):
        assert [lot for lot, _ in books.execute(use(1)).draws] == [first.lot_id]


def test_another_processs_end_of_a_grant_is_seen(both: tuple[BlockingLedger, BlockingLedger], hands: Hands) -> None:
    one, other = both
    grant = issue(one)
    one.execute(use(1))
    other.update_grant(grant=grant.stream_id, expires_at=START + timedelta(days=1))
    hands.set(START + timedelta(days=1))
    assert one.settle_due() == 1
    assert one.execute(SettleDue(due_pool=ACME)).events == other.execute(SettleDue(due_pool=ACME)).events == ()


def test_another_processs_payment_is_seen(both: tuple[BlockingLedger, BlockingLedger]) -> None:
    one, other = both
    grant = issue(one, cost=5, payment_method="INVOICE")
    assert not isinstance(one.ledger.execute_many_blocking([use(1)])[0], Receipt)
    other.mark_invoice_paid(grant=grant.stream_id)
    assert one.execute(use(1)).pool_balance == credits_of(9)


def test_an_update_of_a_grant_that_is_empty_here_is_seen_once_it_is_refilled(
    both: tuple[BlockingLedger, BlockingLedger],
) -> None:
    """Its lot is not in the cached pool any more, so the pool is loaded again."""
    one, other = both
    grant = issue(one)
    debit = one.execute(use(10))
    one.execute(SettleDue(due_pool=ACME))
    other.update_grant(grant=grant.stream_id, priority=3)
    other.refund(transaction_id=debit.transaction_id, amount=4)
    later = issue(one, priority=2)
    assert [lot for lot, _ in one.execute(use(11)).draws] == [later.lot_id, grant.lot_id]


def test_another_processs_schedule_and_its_end_are_seen(
    both: tuple[BlockingLedger, BlockingLedger], hands: Hands
) -> None:
    one, other = both
    issue(one)
    fields = {"currency": "c", "display_name": "p", "amount": 10, "billing_period": "MONTH", "cadence": "MONTHLY"}
    schedule = other.create_grant_schedule(holder="acme", **fields).stream_id
    assert one.execute(use(1)).pool_balance == credits_of(19)
    hands.set(stepped(START, 1))
    assert one.execute(use(1)).pool_balance == credits_of(19)  # 9 of the first part lapsed, 10 came
    one.end_grant_schedule(schedule=schedule)
    hands.set(stepped(START, 2))
    assert other.execute(use(1)).pool_balance == credits_of(9)
    assert one.settle_due() == other.settle_due() == 0


def opened(books: BlockingLedger, rollup_type: str = "MONTHLY") -> str:
    fields = {"company": "acme", "credit_type": "DAST", "rollup_type": rollup_type, "credits": 10}
    return books.open_execution_credit(**fields).stream_id


def scan(amount: int) -> ConsumeCredits:
    return ConsumeCredits(holder="acme", currency="DAST", amount=amount, kind=Kind.EXECUTION_CREDIT)


def test_each_period_is_renewed_once_however_many_settle_after_however_long_a_sleep(
    both: tuple[BlockingLedger, BlockingLedger], database: Database, hands: Hands
) -> None:
    """Monthly for a year and four months, then quarterly; what a round finds due is a sleep of one to seven months."""
    credit, months = opened(both[0]), 0
    for number, slept in enumerate([1, 5, 3, 7, 6, 7, 3, 1]):
        months += slept
        hands.set(stepped(START, months))
        workers = (*both, *both, *both, *both)
        command = scan(1) if number % 2 else SettleDue(due_pool=SCANS)
        assert all(isinstance(outcome, Receipt) for outcome in at_once(workers, command, times=1))
        if months == 16:
            both[1].update_execution_credit(credit=credit, rollup_type="QUARTERLY")
    with database.connect(Role.READER) as connection:
        granted = connection.execute(
            "SELECT lot_effective_at, lot_expires_at FROM movements WHERE type = 'ledger.granted' ORDER BY position"
        ).fetchall()
        lapsed = connection.execute("SELECT lot FROM movements WHERE cause = 'LAPSED'").fetchall()
        turned = connection.execute("SELECT 1 FROM movements WHERE definition ->> 'first_month' = '17'").fetchall()
    edges = [stepped(START, month) for month in [*range(17), *range(17, 37, 3)]]
    assert [(row["lot_effective_at"], row["lot_expires_at"]) for row in granted] == list(pairwise(edges))
    assert len({row["lot"] for row in lapsed}) == len(lapsed) == len(granted) - 1
    assert len(turned) == 1
    assert both[0].settle_due() == both[1].settle_due() == 0


def test_a_delete_and_renewals_that_race_leave_one_end(
    both: tuple[BlockingLedger, BlockingLedger], hands: Hands
) -> None:
    for number in range(1, 10):
        credit = opened(both[number % 2])
        hands.set(stepped(START, number))
        outcomes = at_once(both, DeleteExecutionCredit(credit=credit), times=2)
        assert [type(outcome).__name__ for outcome in outcomes if not isinstance(outcome, Receipt)] == [
            "ExecutionCreditDeleted"
        ] * 3
        assert both[0].settle_due() == both[1].settle_due() == 0


def test_another_processs_update_of_a_credit_is_seen(both: tuple[BlockingLedger, BlockingLedger], hands: Hands) -> None:
    one, other = both
    credit = opened(one)
    one.execute(scan(4))
    other.update_execution_credit(credit=credit, credits=20, rollup_type="QUARTERLY")
    assert one.execute(scan(1)).pool_balance == credits_of(15)
    hands.set(stepped(START, 1))
    assert one.execute(scan(1)).pool_balance == credits_of(19)
    hands.set(stepped(START, 4) - timedelta(microseconds=1))
    assert one.settle_due() == other.settle_due() == 0
    assert other.execute(scan(19)).pool_balance == 0
    hands.set(stepped(START, 4))
    assert [books.execute(scan(1)).pool_balance for books in (one, other)] == [credits_of(19), credits_of(18)]


def test_another_processs_renewal_is_seen(both: tuple[BlockingLedger, BlockingLedger], hands: Hands) -> None:
    """Also the one that turned the cycle: what is asked here after it is asked of the cycle as it is now."""
    one, other = both
    credit = opened(one)
    one.update_execution_credit(credit=credit, rollup_type="YEARLY")
    debit = one.execute(scan(4))
    hands.set(stepped(START, 1))
    assert other.settle_due() == 1
    assert one.execute(SettleDue(due_pool=SCANS)).events == ()
    assert one.refund(transaction_id=debit.transaction_id, kind=Kind.EXECUTION_CREDIT).pool_balance == credits_of(10)
    (defined,) = one.update_execution_credit(credit=credit, rollup_type="YEARLY").events
    assert isinstance(defined, ExecutionCreditDefined)
    assert (defined.rollup_type, defined.next_rollup_type, defined.first_month) == (RollupType.YEARLY, None, 1)


def test_another_processs_deletion_is_seen(both: tuple[BlockingLedger, BlockingLedger], hands: Hands) -> None:
    one, other = both
    credit = opened(one)
    one.execute(scan(4))
    other.delete_execution_credit(credit=credit)
    outcomes = one.ledger.execute_many_blocking([scan(1), UpdateExecutionCredit(credit=credit, credits=20)])
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "InsufficientExecutionCredits",
        "ExecutionCreditDeleted",
    ]
    hands.set(stepped(START, 1))
    assert one.settle_due() == other.settle_due() == 0
    assert one.execute(SettleDue(due_pool=SCANS)).events == ()
    assert opened(one, "YEARLY") != credit
