"""The connection breaks at the worst moments of a batch, exactly: before and after the server carries out COMMIT."""

from collections.abc import Iterator

import pytest

from ledger.application import BlockingLedger, CreditLedger, LedgerUnavailable, Receipt
from ledger.application.commands import ConsumeCredits
from ledger.application.limits import WriterLimits
from ledger.domain.credits import credits_of
from ledger.store.database import Database
from tests.faults.bookkeeping import GRANTED, assert_each_happened_once, broken_laws, debits, issue_grants
from tests.faults.cutting_proxy import CuttingProxy, Moment
from tests.faults.writing_program import command_of

BATCHES = {"one": 1, "a statement": 20, "some statements": 200, "a COPY": 1_600}
REPLAY = b"AS wanted (position)"
"""A piece of the statement that reads the answers of commands that were answered before."""


@pytest.fixture
def proxy(database: Database) -> Iterator[CuttingProxy]:
    issue_grants(database)
    with CuttingProxy(database.dsn) as proxy:
        yield proxy


def behind(proxy: CuttingProxy, database: Database, *, outage_seconds_max: float = 30) -> CreditLedger:
    """A ledger that reaches its server through the proxy."""
    limits = WriterLimits(outage_seconds_max=outage_seconds_max)
    return CreditLedger(Database(proxy.dsn, database.schema), limits=limits)


def commands(count: int, *, keys: bool, first: int = 0) -> list[ConsumeCredits]:
    """Commands on one pool, which a first command has brought into the writer's cache."""
    wanted = [command_of(f"k-0-{number}") for number in range(first, first + count)]
    for command in wanted:
        command.idempotency_key = command.idempotency_key if keys else None
    return wanted


@pytest.mark.parametrize("keys", [True, False], ids=["with keys", "without keys"])
@pytest.mark.parametrize("count", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.name)
def test_a_batch_cut_off_at_its_commit_happens_once_and_is_answered(
    database: Database, proxy: CuttingProxy, moment: Moment, count: int, keys: bool
) -> None:
    with behind(proxy, database) as ledger:
        first = ledger.execute_many_blocking(commands(1, keys=True))
        proxy.cut_next(moment)
        outcomes = ledger.execute_many_blocking(commands(count, keys=keys, first=1))
        proxy.wait_until_cut()
        last = ledger.execute_many_blocking(commands(1, keys=True, first=count + 1))
    receipts = [outcome for outcome in [*first, *outcomes, *last] if isinstance(outcome, Receipt)]
    assert len(receipts) == count + 2
    assert [receipt.pool_balance for receipt in receipts] == [
        credits_of(GRANTED - taken) for taken in range(1, count + 3)
    ]
    assert_each_happened_once(database, receipts)


@pytest.mark.parametrize(("moment", "written"), [(Moment.BEFORE, 0), (Moment.AFTER, 1)], ids=["not written", "written"])
def test_a_caller_is_told_that_the_outcome_is_unknown_when_the_database_stays_away_after_a_commit(
    database: Database, proxy: CuttingProxy, moment: Moment, written: int
) -> None:
    """Sent again with its key once the database is back, the command has happened once, whatever had become of it."""
    with behind(proxy, database, outage_seconds_max=1) as ledger:
        ledger.execute_many_blocking(commands(1, keys=True))
        proxy.cut_next(moment, refuse_afterwards=True)
        [outcome] = ledger.execute_many_blocking(commands(1, keys=True, first=1))
        assert isinstance(outcome, LedgerUnavailable)
        assert outcome.outcome_unknown
        assert len(debits(database)) == 1 + written
        proxy.accept()
        receipt = BlockingLedger(ledger).execute(commands(1, keys=True, first=1)[0])
        assert receipt.replayed == bool(written)
        assert receipt.pool_balance == credits_of(GRANTED - 2)
    assert len(debits(database)) == 2
    assert broken_laws(database) == {}


def test_a_batch_whose_replays_cannot_be_read_at_first_is_not_written_again(
    database: Database, proxy: CuttingProxy
) -> None:
    """The connection breaks after COMMIT, while the answer of an older key is read: a command without key stays one."""
    with behind(proxy, database) as ledger:
        [old] = ledger.execute_many_blocking(commands(1, keys=True))
        proxy.cut_next(Moment.BEFORE, REPLAY)
        outcomes = ledger.execute_many_blocking([*commands(1, keys=True), *commands(1, keys=False, first=1)])
        proxy.wait_until_cut()
    [replayed, new] = outcomes
    assert isinstance(old, Receipt)
    assert isinstance(replayed, Receipt)
    assert isinstance(new, Receipt)
    assert replayed.replayed
    assert replayed.transaction_id == old.transaction_id
    assert_each_happened_once(database, [old, new])
