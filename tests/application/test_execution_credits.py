"""Execution credits through the Python face: update, delete, refund and refusal, on a real PostgreSQL."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ledger.application import (
    BlockingLedger,
    ConsumeCredits,
    CreditLedger,
    DeleteExecutionCredit,
    Receipt,
    RefundDebit,
    UpdateExecutionCredit,
)
from ledger.application.ledger import accepted
from ledger.domain.credits import credits_of
from ledger.domain.events import ExecutionCreditDefined, Expired, Granted, Refunded, Voided
from ledger.domain.refusals import (
    CreditsBelowUsed,
    ExecutionCreditDeleted,
    ExecutionCreditNotFound,
    IdempotencyKeyReused,
    InsufficientExecutionCredits,
    RollupTypeStays,
)
from ledger.domain.values import Kind, RollupType
from ledger.store.clock import Clock
from ledger.store.database import Database, Role
from tests.conftest import START, Hands
from tests.laws.naive_schedules import stepped

FEB, MARCH, MAY = (stepped(START, month) for month in (1, 2, 4))
NOTHING_LEFT = "Insufficient credits: no available recurrent balance and no ADDON pool found for AI_PENTEST"


def opened(books: BlockingLedger, rollup_type: str = "MONTHLY", size: int = 10) -> str:
    fields = {"company": "acme", "credit_type": "AI_PENTEST", "rollup_type": rollup_type, "credits": size}
    return books.open_execution_credit(**fields).stream_id


def used(books: BlockingLedger, amount: int) -> str:
    fields: dict[str, Any] = {"holder": "acme", "currency": "AI_PENTEST", "kind": Kind.EXECUTION_CREDIT}
    return books.consume(**fields, amount=amount).transaction_id


def written(database: Database, after: int = 0) -> list[tuple[str, str | None]]:
    """What the log says after a position: each event's type and the day it counts at."""
    with database.connect(Role.READER) as connection:
        rows = connection.execute(
            "SELECT type, effective_at::date::text AS day FROM movements WHERE position > %s ORDER BY position", [after]
        )
        return [(row["type"], row["day"]) for row in rows]


def test_an_update_is_its_movement_and_the_whole_definition(books: BlockingLedger) -> None:
    credit = opened(books)
    used(books, 3)
    receipt = books.update_execution_credit(credit=credit, credits=15, rollup_type="YEARLY")
    granted, defined = receipt.events
    assert isinstance(granted, Granted)
    assert isinstance(defined, ExecutionCreditDefined)
    assert (granted.amount, defined.credits) == (credits_of(5), credits_of(15))
    assert (defined.rollup_type, defined.next_rollup_type) == (RollupType.MONTHLY, RollupType.YEARLY)
    assert (receipt.stream_id, receipt.pool_balance) == (credit, credits_of(12))


def test_an_update_after_a_long_sleep_writes_the_renewals_first(books: BlockingLedger, hands: Hands) -> None:
    credit = opened(books)
    books.update_execution_credit(credit=credit, rollup_type="QUARTERLY")
    hands.set(MAY + timedelta(days=1))
    receipt = books.update_execution_credit(credit=credit, credits=4)
    assert [type(event) for event in receipt.events] == [Voided, ExecutionCreditDefined]
    assert written(books.ledger.database, after=3) == [
        (Expired.TOPIC, "2026-02-28"), (Granted.TOPIC, "2026-02-28"), (ExecutionCreditDefined.TOPIC, None),
        (Expired.TOPIC, "2026-05-31"), (Granted.TOPIC, "2026-05-31"),
        (Voided.TOPIC, "2026-06-01"), (ExecutionCreditDefined.TOPIC, None),
    ]  # fmt: skip


def test_a_fresh_process_renews_by_the_rollup_type_that_was_asked_for(
    books: BlockingLedger, database: Database, clock: Clock, hands: Hands
) -> None:
    credit = opened(books)
    books.update_execution_credit(credit=credit, rollup_type="QUARTERLY")
    for instant, settled in ((FEB, 1), (MARCH, 0), (MAY - timedelta(microseconds=1), 0), (MAY, 1)):
        hands.set(instant)
        with CreditLedger(database, clock=clock) as fresh:
            assert BlockingLedger(fresh).settle_due() == settled


def test_what_is_due_of_a_refused_command_is_dropped_with_it(
    books: BlockingLedger, database: Database, hands: Hands
) -> None:
    """A turn included: the refusal has seen the new period, and the next settlement writes it."""
    credit = opened(books)
    books.update_execution_credit(credit=credit, credits=12, rollup_type="QUARTERLY")
    hands.set(MARCH)
    head = len(written(database))
    with pytest.raises(InsufficientExecutionCredits) as refused:
        used(books, 13)
    assert refused.value.available == credits_of(12)
    with pytest.raises(RollupTypeStays) as stays:
        books.update_execution_credit(credit=credit, credits=12, rollup_type="ADDON")
    assert stays.value.rollup_type == "QUARTERLY"
    assert len(written(database)) == head
    assert books.settle_due() == 1
    turn = [(Expired.TOPIC, "2026-02-28"), (Granted.TOPIC, "2026-02-28"), (ExecutionCreditDefined.TOPIC, None)]
    assert written(database, after=head) == turn
    assert books.settle_due() == 0


def test_an_update_that_is_refused_changes_nothing(books: BlockingLedger, database: Database) -> None:
    credit = opened(books)
    used(books, 5)
    head = len(written(database))
    with pytest.raises(CreditsBelowUsed):
        books.update_execution_credit(credit=credit, credits=4, rollup_type="YEARLY")
    assert len(written(database)) == head


def test_a_refund_into_an_earlier_period_of_a_living_credit_leaves_the_present_one_as_it_is(
    books: BlockingLedger, database: Database, clock: Clock, hands: Hands
) -> None:
    """Whoever writes it: a process that has held the pool all along, or one that has never seen the old lot."""
    credit = opened(books)
    debit = used(books, 8)
    books.update_execution_credit(credit=credit, rollup_type="YEARLY")
    hands.set(MARCH)
    used(books, 4)
    with CreditLedger(database, clock=clock) as other:
        for ledger in (books, BlockingLedger(other)):
            refund = ledger.refund(transaction_id=debit, amount=3, kind=Kind.EXECUTION_CREDIT)
            assert [type(event) for event in refund.events] == [Refunded, Expired]
            assert refund.pool_balance == credits_of(6)
        receipt = BlockingLedger(other).update_execution_credit(credit=credit, credits=4)
    defined = receipt.events[-1]
    assert isinstance(defined, ExecutionCreditDefined)
    assert (defined.rollup_type, defined.first_month, receipt.pool_balance) == (RollupType.YEARLY, 1, 0)
    hands.set(stepped(START, 13))
    assert books.settle_due() == 1
    assert written(database)[-1] == (Granted.TOPIC, "2027-02-28")


def test_in_one_batch_a_refund_into_an_earlier_period_leaves_the_definition_just_written_in_force(
    books: BlockingLedger, database: Database, clock: Clock, hands: Hands
) -> None:
    credit = opened(books)
    debit = used(books, 8)
    hands.set(FEB)
    books.settle_due()
    with CreditLedger(database, clock=clock) as fresh:
        *_, receipt = fresh.execute_many_blocking(
            [
                UpdateExecutionCredit(credit=credit, rollup_type=RollupType.YEARLY),
                RefundDebit(transaction_id=debit, kind=Kind.EXECUTION_CREDIT),
                UpdateExecutionCredit(credit=credit, credits=6),
            ]
        )
    assert isinstance(receipt, Receipt)
    defined = receipt.events[-1]
    assert isinstance(defined, ExecutionCreditDefined)
    assert (defined.next_rollup_type, defined.credits, receipt.pool_balance) == (
        RollupType.YEARLY,
        *[credits_of(6)] * 2,
    )


def test_a_refund_to_a_deleted_credit_is_void_at_once_and_brings_it_not_back(
    books: BlockingLedger, hands: Hands
) -> None:
    credit = opened(books)
    first = used(books, 2)
    hands.set(FEB)
    second = used(books, 3)
    books.delete_execution_credit(credit=credit)
    for debit, ending in ((second, Voided), (first, Expired)):
        refund = books.refund(transaction_id=debit, kind=Kind.EXECUTION_CREDIT)
        assert [type(event) for event in refund.events] == [Refunded, ending]
        assert refund.pool_balance == 0
        with pytest.raises(ExecutionCreditDeleted):
            books.update_execution_credit(credit=credit, credits=20)
    hands.set(MAY)
    assert books.settle_due() == 0


def test_a_deleted_credit_is_told_from_one_that_never_was(
    books: BlockingLedger, database: Database, clock: Clock
) -> None:
    credit, other = opened(books), opened(books, "ADDON")
    grant = books.issue_grant(holder="acme", currency="c", amount=1, display_name="g", grant_type="PAID").stream_id
    books.delete_execution_credit(credit=credit)
    with CreditLedger(database, clock=clock) as fresh:
        for ledger in (books, BlockingLedger(fresh)):
            for act in (ledger.delete_execution_credit, ledger.update_execution_credit):
                fields = {} if act == ledger.delete_execution_credit else {"credits": 20}
                with pytest.raises(ExecutionCreditDeleted):
                    act(credit=credit, **fields)
                for unknown in ("018f0000-0000-7000-8000-000000000001", "7", grant):
                    with pytest.raises(ExecutionCreditNotFound):
                        act(credit=unknown, **fields)
    assert books.update_execution_credit(credit=other, credits=20).pool_balance == credits_of(20)


def test_the_same_update_and_the_same_delete_happen_once_for_ever(
    books: BlockingLedger, database: Database, clock: Clock, hands: Hands
) -> None:
    """Also when the credit has turned or is gone, and after a restart."""
    credit = opened(books)
    update = UpdateExecutionCredit(credit=credit, credits=15, rollup_type=RollupType.YEARLY, idempotency_key="k")
    delete = DeleteExecutionCredit(credit=credit, idempotency_key="k")
    updated = books.execute(update)
    assert books.execute(replace(update, credits="15.0")) == updated._replace(replayed=True)
    hands.set(FEB)
    assert books.execute(update) == updated._replace(replayed=True)
    deleted = books.execute(delete)
    head = len(written(database))
    with CreditLedger(database, clock=clock) as restarted:
        for ledger in (books, BlockingLedger(restarted)):
            assert ledger.execute(update) == updated._replace(replayed=True)
            assert ledger.execute(delete) == deleted._replace(replayed=True)
    assert len(written(database)) == head


def test_another_update_under_the_same_key_names_what_differs(books: BlockingLedger) -> None:
    credit = opened(books)
    books.update_execution_credit(credit=credit, credits=15, rollup_type="YEARLY", idempotency_key="k")
    for fields, differing in (
        ({"credits": 15}, ("rollupType",)),
        ({"rollup_type": "YEARLY"}, ("credits",)),
        ({"credits": 16, "rollup_type": "MONTHLY"}, ("credits", "rollupType")),
    ):
        with pytest.raises(IdempotencyKeyReused) as refused:
            books.update_execution_credit(credit=credit, idempotency_key="k", **fields)
        assert refused.value.differing == differing


def test_a_debit_that_is_not_covered_says_whether_there_is_an_addon(
    books: BlockingLedger, database: Database, clock: Clock, hands: Hands
) -> None:
    def told(ledger: BlockingLedger) -> str:
        command = ConsumeCredits(holder="acme", currency="AI_PENTEST", amount=11, kind=Kind.EXECUTION_CREDIT)
        (refusal,) = ledger.ledger.execute_many_blocking([command])
        assert isinstance(refusal, InsufficientExecutionCredits)
        return refusal.message

    def both() -> str:
        """A process that knows the pool and one that loads it say the same."""
        with CreditLedger(database, clock=clock) as fresh:
            message = told(BlockingLedger(fresh))
        assert told(books) == message
        return message

    assert both() == NOTHING_LEFT
    opened(books)
    assert both() == "Insufficient credits: 11 requested, 10 available for AI_PENTEST"
    used(books, 10)
    assert both() == NOTHING_LEFT
    addon = opened(books, "ADDON", 5)
    assert both() == "Insufficient credits: 11 requested, 5 available for AI_PENTEST"
    used(books, 5)
    assert both() == "Insufficient credits: 11 requested, 0 available for AI_PENTEST"
    books.delete_execution_credit(credit=addon)
    assert both() == NOTHING_LEFT
    hands.set(FEB)
    assert both() == "Insufficient credits: 11 requested, 10 available for AI_PENTEST"


def test_a_debits_id_names_no_credit_not_even_beside_a_refund_of_that_debit(books: BlockingLedger) -> None:
    """The look-up of a batch's names finds the debit for the refund; the update is about something else."""
    opened(books)
    debit = used(books, 4)
    update, delete, refund = books.ledger.execute_many_blocking(
        [
            UpdateExecutionCredit(credit=debit, credits=20),
            DeleteExecutionCredit(credit=debit),
            RefundDebit(transaction_id=debit, kind=Kind.EXECUTION_CREDIT),
        ]
    )
    assert [type(update), type(delete)] == [ExecutionCreditNotFound, ExecutionCreditNotFound]
    assert accepted(refund).amount == credits_of(4)
