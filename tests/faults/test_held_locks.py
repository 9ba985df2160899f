"""A lock that somebody else holds makes the writer wait and try again; it neither forgets a law nor dies of it."""

import concurrent.futures
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from ledger.application import Command, CreditLedger, Receipt
from ledger.application.limits import WriterLimits
from ledger.application.receipts import Outcome
from ledger.domain.credits import credits_of
from ledger.store.database import Database
from ledger.store.recorder import lock_key
from ledger.store.sql import query
from tests.faults.bookkeeping import GRANTED, assert_each_happened_once, issue_grants
from tests.faults.cutting_proxy import CuttingProxy
from tests.faults.writing_program import command_of

WAIT_SECONDS_MAX = 30.0
ATTEMPTS = 3
WAITING = "SELECT virtualtransaction FROM pg_locks WHERE NOT granted AND (objid = %(schema)s OR relation = %(events)s)"
IDS = "SELECT %s::regnamespace::oid AS schema, to_regclass('events')::oid AS events"


@contextmanager
def held(database: Database, *, writers_lock: bool) -> Iterator[None]:
    """Hold the writers' lock, or keep writes off the log as the building of an index does."""
    with database.connect(None) as connection, connection.transaction():
        if writers_lock:
            connection.execute(query("lock"), {"key": lock_key(connection, database.schema)})
        else:
            connection.execute("LOCK TABLE events IN SHARE MODE")
        yield


def send_and_wait_for_attempts(
    database: Database, ledger: CreditLedger, commands: Sequence[Command]
) -> "concurrent.futures.Future[list[Outcome]]":
    """Send commands from a thread of its own, and return once the writer has waited several times in vain."""
    executor = concurrent.futures.ThreadPoolExecutor(1)
    answer = executor.submit(ledger.execute_many_blocking, commands)
    executor.shutdown(wait=False)
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    attempts: set[str] = set()
    with database.connect(None) as connection:
        ids = connection.execute(IDS, [database.schema]).fetchone()
        while len(attempts) < ATTEMPTS and not answer.done():
            assert time.monotonic() < deadline
            attempts |= {row["virtualtransaction"] for row in connection.execute(WAITING, ids)}
    return answer


@pytest.mark.parametrize("count", [1, 20, 200])
@pytest.mark.parametrize("writers_lock", [True, False], ids=["the writers' lock", "the log against writes"])
@pytest.mark.parametrize("reachable", [True, False], ids=["", "with no new connection to be had"])
def test_commands_that_meet_a_held_lock_happen_once_when_it_comes_free(
    database: Database, writers_lock: bool, reachable: bool, count: int
) -> None:
    issue_grants(database)
    limits = WriterLimits(lock_wait_milliseconds_max=50)
    with (
        CuttingProxy(database.dsn) as proxy,
        CreditLedger(Database(proxy.dsn, database.schema), limits=limits) as ledger,
    ):
        first = ledger.execute_many_blocking([command_of("k-0-0")])
        with held(database, writers_lock=writers_lock):
            if not reachable:
                proxy.refuse()
            answer = send_and_wait_for_attempts(database, ledger, [command_of(f"k-0-{n + 1}") for n in range(count)])
        proxy.accept()
        outcomes = answer.result()
        last = ledger.execute_many_blocking([command_of(f"k-0-{count + 1}")])
        assert ledger.writer.failure is None
    receipts = [outcome for outcome in [*first, *outcomes, *last] if isinstance(outcome, Receipt)]
    assert [receipt.pool_balance for receipt in receipts] == [credits_of(GRANTED - n) for n in range(1, count + 3)]
    assert_each_happened_once(database, receipts)
