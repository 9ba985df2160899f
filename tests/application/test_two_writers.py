"""Two writers on one log, as two processes have them: each thing happens once, and each sees what the other did."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from ledger.application import BlockingLedger, Command, ConsumeCredits, CreditLedger, Receipt, RechargePool, SettleDue
from ledger.application.receipts import Outcome
from ledger.domain.credits import credits_of
from ledger.domain.values import Kind, PoolKey
from ledger.store.clock import Clock
from ledger.store.database import Database, Role
from tests.conftest import START, Hands
from tests.laws.naive_schedules import stepped

ACME = PoolKey(Kind.CREDIT_GRANT, "acme", "c", None)
ROUNDS = 25


@pytest.fixture
def both(database: Database, clock: Clock, hands: Hands) -> Iterator[tuple[BlockingLedger, BlockingLedger]]:
    with CreditLedger(database, clock=clock) as one, CreditLedger(database, clock=clock) as other:
        yield BlockingLedger(one), BlockingLedger(other)


def at_once(both: tuple[BlockingLedger, BlockingLedger], command: Command, times: int = 3) -> list[Outcome]:
    """Both writers are sent a command several times, at the same moment."""
    start = Barrier(len(both))

    def send(books: BlockingLedger) -> list[Outcome]:
        start.wait()
        return [books.ledger.execute_many_blocking([command])[0] for _ in range(times)]

    with ThreadPoolExecutor(len(both)) as threads:
        return [outcome for outcomes in threads.map(send, both) for outcome in outcomes]


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
