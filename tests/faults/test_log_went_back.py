"""A log that is shorter than it was, or of another epoch, was restored: this process must not write to it any more."""

import asyncio

import pytest

from ledger.application import BlockingLedger, CreditLedger, LedgerUnavailable
from ledger.application.limits import WriterLimits
from ledger.application.receipts import Outcome
from ledger.store.database import Database, Role
from tests.faults.bookkeeping import broken_laws, debits, issue_grants
from tests.faults.writing_program import command_of

WAITING = 50
LOST_ROWS = """
    ALTER TABLE events DISABLE TRIGGER events_are_never_changed;
    ALTER TABLE idempotency DISABLE TRIGGER keys_are_never_changed;
    DELETE FROM idempotency WHERE position > 6;
    DELETE FROM events WHERE position > 6;
    ALTER TABLE idempotency ENABLE TRIGGER keys_are_never_changed;
    ALTER TABLE events ENABLE TRIGGER events_are_never_changed;
"""
NEW_EPOCH = "UPDATE log_meta SET epoch = gen_random_uuid()"


@pytest.mark.parametrize("restore", [LOST_ROWS, NEW_EPOCH], ids=["rows are gone", "another epoch"])
def test_a_writer_stops_for_good_when_the_log_went_back(database: Database, restore: str) -> None:
    """All who wait and all who come later hear why; nothing is written; a new process may write again."""
    issue_grants(database)

    async def send(ledger: CreditLedger) -> list[list[Outcome]]:
        return await asyncio.gather(*[ledger.execute_many([command_of(f"w-{n}-0")]) for n in range(WAITING)])

    with CreditLedger(database, limits=WriterLimits(batch_commands_max=10)) as ledger:
        books = BlockingLedger(ledger)
        for number in range(6):
            books.execute(command_of(f"before-0-{number}"))
        with database.connect(Role.OWNER) as connection:
            connection.execute(restore.encode())
        left = debits(database)
        outcomes = [outcome for [outcome] in asyncio.run(send(ledger))]
        assert [type(outcome) for outcome in outcomes] == [LedgerUnavailable] * WAITING
        with pytest.raises(LedgerUnavailable, match="restored or failed over"):
            books.execute(command_of("later-0-0"))
        assert "restored or failed over" in (ledger.writer.failure or "")
        assert debits(database) == left
        held = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()"
        with database.connect(None) as connection:  # whoever has ended keeps the log from nobody
            assert connection.execute(held + " AND mode = 'ExclusiveLock' AND objsubid = 1").fetchall() == []
    with CreditLedger(database) as ledger:
        BlockingLedger(ledger).execute(command_of("new-0-0"))
        assert ledger.writer.failure is None
    assert len(debits(database)) == len(left) + 1
    assert broken_laws(database) == {}
