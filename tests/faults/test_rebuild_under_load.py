"""Read models are rebuilt, rolled back and pruned while others write and read: no reader ever notices."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from ledger.application import BlockingLedger
from ledger.domain.credits import Credits
from ledger.domain.values import Kind, PoolKey, StreamId
from ledger.store.clock import Clock
from ledger.store.database import Database
from projections.balances.queries import pool_balance
from projections.entries.queries import EntriesFilter, count_entries, page_of_entries
from projections.execution_credits.queries import execution_credits_by_id
from projections.group_usage.queries import used_by_sets
from projections.lots.queries import lots_of_pool
from projections.paging import Window
from projections.pruning import prune
from projections.read_model import BALANCES, ENTRIES, EXECUTION_CREDITS, GROUP_USAGE, LOTS, READ_MODELS, USAGE
from projections.reading import Reader, Snapshot
from projections.rebuild import rebuild, roll_back
from projections.runner import Runner
from projections.usage.queries import UsageFilter, usage_series
from projections.usage.windows import PointSize, UsageWindow
from tests.projections.builds import wrong_builds

WRITERS, READERS, ROUNDS = 8, 8, 2
POOL = PoolKey(Kind.CREDIT_GRANT, "acme", "credits", None)
ALL_TIME = UsageWindow(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
LOG = """
SELECT
    coalesce(sum(amount), 0)::numeric(38, 9) AS balance,
    coalesce(-sum(amount) FILTER (WHERE type IN ('ledger.debited', 'ledger.refunded')), 0)::numeric(38, 9) AS used,
    count(*) AS entries,
    max(position) AS last
FROM movements WHERE position <= %(until)s AND currency = %(currency)s AND lot IS NOT NULL
"""


class Told(NamedTuple):
    """What the read models tell of one pool and one execution credit, each as of its own position."""

    balance: Credits
    balance_of_lots: Credits
    entries: int
    last_entry: int
    last_balance: Credits
    used: Credits
    used_by_groups: Credits
    used_of_credit: Credits


def told(snapshot: Snapshot, credit: StreamId) -> Told:
    entries = EntriesFilter(POOL.kind, POOL.holder, currency=POOL.currency)
    [last] = page_of_entries(snapshot, entries, Window(1)).rows
    usage = usage_series(snapshot, UsageFilter(POOL.kind, POOL.holder), ALL_TIME, PointSize.MONTH)
    groups = used_by_sets(snapshot, ALL_TIME)
    return Told(
        pool_balance(snapshot, POOL).balance,
        sum(lot.balance for lot in lots_of_pool(snapshot, POOL)),
        count_entries(snapshot, entries),
        last.position,
        last.pool_balance,
        sum(each.used for each in usage),
        sum(used for each, used in groups.items() if each.currency == POOL.currency),
        execution_credits_by_id(snapshot, [credit])[credit].used,
    )


def told_by_the_log(snapshot: Snapshot) -> Told:
    """The same, from the log in the same snapshot up to where each of the read models has come."""

    def log(position: int, currency: str = POOL.currency) -> dict[str, int]:
        row = snapshot.connection.execute(LOG, {"until": position, "currency": currency}).fetchone()
        assert row is not None
        return row

    at, entries = snapshot.positions, log(snapshot.position)
    return Told(
        log(at[BALANCES.name])["balance"],
        log(at[LOTS.name])["balance"],
        entries["entries"],
        entries["last"],
        entries["balance"],
        log(at[USAGE.name])["used"],
        log(at[GROUP_USAGE.name])["used"],
        log(at[EXECUTION_CREDITS.name], "DAST")["used"],
    )


def test_nobody_who_writes_or_reads_notices_a_rebuild(books: BlockingLedger, database: Database, clock: Clock) -> None:
    issue(books, 1_000_000)
    credit = books.open_execution_credit(
        company="acme", credit_type="DAST", credits=1_000_000, rollup_type="MONTHLY"
    ).stream_id
    books.consume(holder="acme", currency="credits", amount=1, account_groups=["lab"])
    written: list[int] = []
    read: list[tuple[str, ...]] = []

    def write(going_on: Callable[[], bool]) -> None:
        for number in itertools.count():
            receipt = books.consume(holder="acme", currency="credits", amount=3, account_groups=["lab"])
            if number % 4 == 0:
                books.refund(transaction_id=receipt.transaction_id, amount=1)
            if number % 4 == 1:
                books.consume(holder="acme", currency="DAST", amount=1, kind=Kind.EXECUTION_CREDIT)
            if number % 16 == 2:
                issue(books, 50)
            written.append(receipt.position)
            if not going_on():
                return

    def look(going_on: Callable[[], bool]) -> None:
        before: dict[str, int] = {}
        while going_on():
            with reader.snapshot() as snapshot:
                first, expected, again = told(snapshot, credit), told_by_the_log(snapshot), told(snapshot, credit)
            assert first == expected == again
            assert all(snapshot.positions[name] >= position for name, position in before.items())
            before = dict(snapshot.positions)
            read.append(tuple(build.build for build in snapshot.builds.values()))

    with Reader(database, clock=clock) as reader, Runner(database):
        with reader.snapshot(at_least=4):
            pass
        with all_the_while([write] * WRITERS + [look] * READERS):
            for _ in range(ROUNDS):
                rebuilt = [rebuild(database, model, lambda _: None) for model in READ_MODELS]
                assert [each.comparison and each.comparison.differing for each in rebuilt] == [0] * len(READ_MODELS)
                for model in (BALANCES, LOTS, ENTRIES):
                    roll_back(database, model, lambda _: None)
                prune(database, READ_MODELS)
        with reader.snapshot(at_least=max(written)):
            pass
    assert wrong_builds(database) == []
    assert len(set(read)) > ROUNDS, "they read while one build took the place of another"


@contextmanager
def all_the_while(works: Sequence[Callable[[Callable[[], bool]], None]]) -> Iterator[None]:
    """Each in a thread of its own until the block ends; what goes wrong in one ends all, and is raised."""
    ending = threading.Event()

    def work(each: Callable[[Callable[[], bool]], None]) -> None:
        try:
            each(lambda: not ending.is_set())
        finally:
            ending.set()

    with ThreadPoolExecutor(len(works)) as executor:
        done = [executor.submit(work, each) for each in works]
        try:
            yield
        finally:
            ending.set()
    for each in done:
        each.result()


def issue(books: BlockingLedger, amount: int) -> int:
    return books.issue_grant(
        holder="acme", currency="credits", amount=amount, display_name="grant", grant_type="PAID"
    ).position
