"""What must hold in the database after any fault, read with plain SQL past all of the ledger's own code."""

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger, Receipt
from ledger.domain.credits import Credits, credits_of
from ledger.store.database import Database
from tests.faults.writing_program import AMOUNT, HOLDERS, command_of

GRANTED = 10_000_000

LAWS = {
    "positions are 1, 2, 3 ...": """
        SELECT count(*), min(position), max(position) FROM events
        HAVING min(position) <> 1 OR max(position) <> count(*)""",
    "versions of a stream are 1, 2, 3 ... in the order of the log": """
        SELECT * FROM (
            SELECT position, version, row_number() OVER (PARTITION BY stream_id ORDER BY position) AS place FROM events
        ) AS e WHERE version <> place""",
    "what moved on a lot is its balance, never below zero": """
        SELECT * FROM (
            SELECT position, lot_balance, sum(amount) OVER (PARTITION BY lot ORDER BY position) AS moved FROM events
        ) AS e WHERE moved <> lot_balance OR moved < 0""",
    "what a lot was granted and used is the sum of its events": """
        SELECT * FROM (
            SELECT position, lot_granted, lot_used,
                sum(amount) FILTER (WHERE type = 'ledger.granted') OVER own AS granted,
                coalesce(-sum(amount) FILTER (WHERE type IN ('ledger.debited', 'ledger.refunded')) OVER own, 0) AS used
            FROM events WINDOW own AS (PARTITION BY lot ORDER BY position)
        ) AS e WHERE granted <> lot_granted OR used <> lot_used""",
    "what moved in a pool is its balance": """
        SELECT * FROM (
            SELECT position, pool_balance,
                sum(amount) OVER (PARTITION BY kind, holder, currency, resource ORDER BY position) AS moved
            FROM events
        ) AS e WHERE moved <> pool_balance""",
    "a transaction's events stand together and know the last of them": """
        SELECT transaction_id FROM events GROUP BY transaction_id
        HAVING max(position) - min(position) + 1 <> count(*)
            OR min(transaction_last) <> max(position) OR max(transaction_last) <> max(position)""",
    "recorded_at never goes back": """
        SELECT * FROM (
            SELECT position, recorded_at, lag(recorded_at) OVER (ORDER BY position) AS before FROM events
        ) AS e WHERE recorded_at < before""",
    "a key points at the first event of its transaction": """
        SELECT k.key FROM idempotency AS k LEFT JOIN (
            SELECT position, transaction_id, lag(transaction_id) OVER (ORDER BY position) AS before FROM events
        ) AS e USING (position)
        WHERE e.transaction_id IS DISTINCT FROM k.transaction_id OR e.before = k.transaction_id""",
    "a transaction has one key at most": """
        SELECT transaction_id FROM idempotency GROUP BY transaction_id HAVING count(*) > 1""",
}


def broken_laws(database: Database) -> dict[str, dict[str, Any]]:
    """Each law that the log breaks, with the first row that shows it."""
    with database.connect(None) as connection:
        connection.execute("ANALYZE events, idempotency")  # else the plans depend on when autovacuum came by
        found = {law: connection.execute(text.encode()).fetchone() for law, text in LAWS.items()}
    return {law: row for law, row in found.items() if row is not None}


def debits(database: Database) -> dict[str, Credits]:
    """Transaction id of each debit to what it took in all, in Credits."""
    statement = "SELECT transaction_id, -sum(amount) AS taken FROM events WHERE type = 'ledger.debited' GROUP BY 1"
    with database.connect(None) as connection:
        return {row["transaction_id"]: row["taken"] for row in connection.execute(statement)}


def keys(database: Database) -> dict[str, str]:
    """Key of each accepted debit to its transaction id."""
    statement = "SELECT key, transaction_id FROM idempotency WHERE operation = 'consume'"
    with database.connect(None) as connection:
        rows = connection.execute(statement).fetchall()
    found = {row["key"]: row["transaction_id"] for row in rows}
    assert len(found) == len(rows)
    return found


def balances(database: Database) -> Credits:
    """The balance of all pools together, from their last events."""
    statement = """
        SELECT DISTINCT ON (kind, holder, currency, resource) pool_balance FROM events
        ORDER BY kind, holder, currency, resource, position DESC"""
    with database.connect(None) as connection:
        return sum(row["pool_balance"] for row in connection.execute(statement))


def issue_grants(database: Database) -> None:
    """Give every holder of the writing programs plenty."""
    with CreditLedger(database) as ledger:
        books = BlockingLedger(ledger)
        for number in range(HOLDERS):
            books.issue_grant(
                holder=f"holder {number}", currency="credits", amount=GRANTED, display_name="plenty", grant_type="PAID"
            )


def assert_each_happened_once(database: Database, answered: Sequence[Receipt]) -> None:
    """The log's debits are exactly those that callers were answered with, and it keeps its laws."""
    recorded = debits(database)
    assert len(answered) == len({receipt.transaction_id for receipt in answered})
    assert recorded.keys() == {receipt.transaction_id for receipt in answered}
    assert set(recorded.values()) <= {credits_of(AMOUNT)}
    assert broken_laws(database) == {}


def assert_once_when_sent_again(database: Database, acknowledged: Mapping[str, str], sent: Sequence[str]) -> None:
    """What was acknowledged is in the log; whatever was sent, sent again, has happened exactly once.

    `acknowledged` is key to transaction id; `sent` are all keys that may have been sent, those included.
    """
    assert acknowledged.items() <= keys(database).items()
    commands: list[ConsumeCredits] = [command_of(key) for key in sent]
    with CreditLedger(database) as ledger:
        outcomes = ledger.execute_many_blocking(commands)
    answers = {}
    for key, outcome in zip(sent, outcomes, strict=True):
        assert isinstance(outcome, Receipt), f"{key}: {outcome!r}"
        answers[key] = outcome.transaction_id
    assert acknowledged.items() <= answers.items()
    assert keys(database) == answers
    taken = debits(database)
    assert sorted(taken) == sorted(answers.values())
    assert set(taken.values()) == {credits_of(AMOUNT)}
    assert balances(database) == credits_of(HOLDERS * GRANTED) - len(sent) * credits_of(AMOUNT)
    assert broken_laws(database) == {}
