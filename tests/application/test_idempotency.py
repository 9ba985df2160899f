"""Law 7: the same key and body is the first answer again, for ever; another body is a named conflict."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from ledger.application import BlockingLedger, Command, ConsumeCredits, CreditLedger, IssueGrant, Receipt, RefundDebit
from ledger.domain.credits import credits_of
from ledger.domain.refusals import (
    CreditGrantAlreadyVoided,
    IdempotencyKeyReused,
    InsufficientCredits,
    InvalidArgument,
    RefundExceedsDebit,
)
from ledger.store.clock import Clock
from ledger.store.database import Database, Role

SIZES = (1, 20, 400)
"""Alone, in a batch that goes out as one pipeline, and in one that goes in by COPY."""


@pytest.fixture
def paid(books: BlockingLedger) -> Receipt:
    return books.issue_grant(holder="acme", currency="credits", amount=1000, display_name="g", grant_type="PAID")


def debit(key: str, amount: Any = "1.5", **fields: Any) -> ConsumeCredits:
    return ConsumeCredits(holder="acme", currency="credits", amount=amount, idempotency_key=key, **fields)


def events_in(database: Database) -> int:
    with database.connect(Role.READER) as connection:
        row = connection.execute("SELECT count(*) AS n FROM movements").fetchone()
        assert row is not None
        return int(row["n"])


@pytest.mark.parametrize("size", SIZES)
def test_commands_sent_twice_happen_once(books: BlockingLedger, database: Database, paid: Receipt, size: int) -> None:
    first = books.consume_many([debit(f"k{number}") for number in range(size)])
    again = books.consume_many([debit(f"k{number}", "1.50") for number in range(size)])
    assert again == [receipt._replace(replayed=True) for receipt in first if isinstance(receipt, Receipt)]
    assert events_in(database) == 1 + size


def test_the_first_answer_is_kept_across_a_restart(
    books: BlockingLedger, database: Database, clock: Clock, paid: Receipt
) -> None:
    command = debit("k", use_at=None, account_groups=("g2", "g1"), dimensions={"model": "x"}, correlation_id="c-1")
    first = books.execute(command)
    with CreditLedger(database, clock=clock) as restarted:
        again = BlockingLedger(restarted).execute(command)
    assert again == first._replace(replayed=True)
    assert again.events[0].transaction.correlation_id == "c-1"


@pytest.mark.parametrize("size", SIZES)
def test_a_key_repeated_within_one_batch_counts(books: BlockingLedger, paid: Receipt, size: int) -> None:
    outcomes = books.consume_many([debit("same") for _ in range(size)])
    assert [isinstance(outcome, Receipt) and outcome.replayed for outcome in outcomes] == [False] + [True] * (size - 1)
    assert len({outcome.transaction_id for outcome in outcomes if isinstance(outcome, Receipt)}) == 1


@pytest.mark.parametrize("size", SIZES)
def test_one_repeated_key_among_new_ones_is_answered_as_before(books: BlockingLedger, paid: Receipt, size: int) -> None:
    first = books.execute(debit("old"))
    outcomes = books.consume_many([debit(f"new{number}") for number in range(size)] + [debit("old")])
    assert outcomes[-1] == first._replace(replayed=True)
    assert all(isinstance(outcome, Receipt) and not outcome.replayed for outcome in outcomes[:-1])
    assert books.execute(debit("last")).pool_balance == paid.amount - (size + 2) * credits_of("1.5")


def test_another_body_under_the_same_key_names_the_fields_that_differ(books: BlockingLedger, paid: Receipt) -> None:
    books.execute(debit("k"))
    with pytest.raises(IdempotencyKeyReused) as refused:
        books.execute(debit("k", 2, account_groups=("g",)))
    assert refused.value.facts == {"key": "k", "differing": ("accountGroups", "amount")}


def test_a_key_belongs_to_its_operation_holder_and_kind(books: BlockingLedger, paid: Receipt) -> None:
    other: dict[str, Any] = {"currency": "credits", "display_name": "g", "grant_type": "PAID", "idempotency_key": "k"}
    receipts = [
        books.execute(debit("k")),
        books.execute(IssueGrant(holder="acme", amount=1, **other)),
        books.execute(IssueGrant(holder="else", amount=1, **other)),
        books.execute(ConsumeCredits(holder="else", currency="credits", amount=1, idempotency_key="k")),
    ]
    assert not any(receipt.replayed for receipt in receipts)


def test_a_refusal_keeps_no_key(books: BlockingLedger) -> None:
    with pytest.raises(InsufficientCredits):
        books.execute(debit("k"))
    books.issue_grant(holder="acme", currency="credits", amount=10, display_name="g", grant_type="PAID")
    assert not books.execute(debit("k")).replayed


def test_what_was_accepted_is_answered_even_if_it_could_not_happen_now(books: BlockingLedger, paid: Receipt) -> None:
    """The balance is gone, the grant is void, the debit is refunded: the first answers still stand."""
    all_of_it = debit("all", 1000)
    first = books.execute(all_of_it)
    refund = RefundDebit(transaction_id=first.transaction_id, idempotency_key="back")
    back = books.execute(refund)
    voided = books.void_grant(grant=paid.stream_id, idempotency_key="end")
    assert books.execute(all_of_it) == first._replace(replayed=True)
    assert books.execute(refund) == back._replace(replayed=True)
    assert books.void_grant(grant=paid.stream_id, idempotency_key="end") == voided._replace(replayed=True)
    for command, refusal in (
        (debit("more"), InsufficientCredits),
        (replace(refund, idempotency_key="b2"), RefundExceedsDebit),
    ):
        with pytest.raises(refusal):
            books.execute(command)
    with pytest.raises(CreditGrantAlreadyVoided):
        books.void_grant(grant=paid.stream_id)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\0b", "\ud800"])
def test_a_key_has_1_to_255_characters_that_can_be_kept(key: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        debit(key)
    assert refused.value.field == "idempotencyKey"


def test_odd_but_lawful_keys_are_kept_to_the_letter(books: BlockingLedger, paid: Receipt) -> None:
    keys = ["x" * 255, "tab\tnew\nline\\N", "\\N", '{"a"}', "\u00e4\u20ac\U0001f600", " ", "'; --"]
    commands: list[Command] = [debit(key) for key in keys]
    for outcomes in (books.ledger.execute_many_blocking(commands * 10), books.ledger.execute_many_blocking(commands)):
        assert len({outcome.transaction_id for outcome in outcomes if isinstance(outcome, Receipt)}) == len(keys)


def test_callers_that_send_the_same_key_at_once_get_one_answer(ledger: CreditLedger, paid: Receipt) -> None:
    async def run() -> list[Receipt]:
        return await asyncio.gather(*(ledger.execute(debit("same")) for _ in range(50)))

    receipts = asyncio.run(run())
    assert len({receipt.transaction_id for receipt in receipts}) == 1
    assert sum(not receipt.replayed for receipt in receipts) == 1
