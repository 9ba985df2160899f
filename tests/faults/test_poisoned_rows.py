"""A row that the database turns down fails alone: hundreds of neighbours in the same batch are written, each once."""

import asyncio

import pytest

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger, Receipt
from ledger.application.receipts import Outcome
from ledger.domain.refusals import NotStorable
from ledger.store.database import Database, Role
from tests.faults.bookkeeping import GRANTED, assert_each_happened_once, issue_grants
from tests.faults.writing_program import AMOUNT, command_of

LISTS, LIST_LENGTH, SINGLES = 3, 100, 50
POISON = ConsumeCredits(holder="poison", currency="credits", amount=AMOUNT, idempotency_key="poison")
TURN_DOWN_POISON = "ALTER TABLE events ADD CONSTRAINT no_poison CHECK (holder <> 'poison') NOT VALID"


@pytest.fixture
def poisoned(database: Database) -> Database:
    """A log that takes no more events of one holder."""
    issue_grants(database)
    with CreditLedger(database) as ledger:
        BlockingLedger(ledger).issue_grant(
            holder="poison", currency="credits", amount=GRANTED, display_name="plenty", grant_type="PAID"
        )
    with database.connect(Role.OWNER) as connection:
        connection.execute(TURN_DOWN_POISON)
    return database


@pytest.mark.parametrize(
    ("submission", "place"),
    [(0, 0), (1, 57), (LISTS - 1, LIST_LENGTH - 1), (LISTS, 0), (LISTS + SINGLES - 1, 0)],
    ids=["first of all lists", "inside a list", "last of all lists", "first single", "last single"],
)
def test_a_command_that_cannot_be_stored_is_the_only_one_turned_down(
    poisoned: Database, submission: int, place: int
) -> None:
    submissions = [[command_of(f"l{n}-{p}-0") for p in range(LIST_LENGTH)] for n in range(LISTS)]
    submissions += [[command_of(f"s-{number}-0")] for number in range(SINGLES)]
    submissions[submission][place] = POISON

    async def send(ledger: CreditLedger) -> list[list[Outcome]]:
        return await asyncio.gather(*map(ledger.execute_many, submissions))

    with CreditLedger(poisoned) as ledger:
        outcomes = asyncio.run(send(ledger))
        assert isinstance(outcomes[submission].pop(place), NotStorable)
        receipts = [outcome for outcomes_of in outcomes for outcome in outcomes_of if isinstance(outcome, Receipt)]
        assert len(receipts) == LISTS * LIST_LENGTH + SINGLES - 1
        assert_each_happened_once(poisoned, receipts)


def test_a_command_that_could_not_be_stored_keeps_no_key(poisoned: Database) -> None:
    """Once the database takes it, the same command with the same key is carried out."""
    with CreditLedger(poisoned) as ledger:
        books = BlockingLedger(ledger)
        with pytest.raises(NotStorable, match="no_poison"):
            books.execute(POISON)
        with poisoned.connect(Role.OWNER) as connection:
            connection.execute("ALTER TABLE events DROP CONSTRAINT no_poison")
        assert_each_happened_once(poisoned, [books.execute(POISON)])
