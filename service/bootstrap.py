"""The one composition root: from an address, or a folder, to a running ledger."""

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ledger.application import BlockingLedger, CreditLedger
from ledger.application.limits import WriterLimits
from ledger.application.watching import BatchWatcher
from ledger.store.clock import Clock, set_test_clock
from ledger.store.database import Database, Role
from ledger.store.migrate import check_migrated, migrate
from projections.reading import Reader
from projections.registry import prepare
from projections.runner import Runner
from service.embedded_postgres import EmbeddedPostgres

GC_ALLOCATIONS = 200_000
"""Container allocations between two looks of Python's cycle collector.

A batch of 8,000 debits allocates 80,000 objects, none in a cycle; at the default of 700 the collector walks them again
and again (measured: a third of a debit)."""


@dataclass(frozen=True)
class RunningLedger:
    """A ledger with its writer, its runner and a reader."""

    database: Database
    ledger: CreditLedger
    blocking: BlockingLedger
    runner: Runner | None
    """None where another process follows the log."""
    reader: Reader

    def set_clock(self, instant: datetime) -> None:
        """Set the shared test clock, for a ledger that was opened with `settable_clock()`."""
        with self.database.connect(Role.WRITER) as connection:
            set_test_clock(connection, instant)


@contextmanager
def open_ledger(
    dsn: str | None = None,
    *,
    data_folder: Path | None = None,
    schema: str = "ledger",
    clock: Clock | None = None,
    limits: WriterLimits | None = None,
    migrating: bool = True,
    following: bool = True,
    visitors: bool = False,
    watcher: BatchWatcher | None = None,
) -> Iterator[RunningLedger]:
    """Open a ledger on `dsn`, or on an embedded server in `data_folder`; stop everything in good order.

    Without `migrating` the schema must be there and be this version's (UnusableDatabase); without `following` another
    process has to. With `visitors`, other processes may use the embedded server while it runs.
    """
    if (dsn is None) == (data_folder is None):
        raise ValueError("give either a dsn or a data folder")
    with ExitStack() as stack:
        if data_folder is not None:
            dsn = stack.enter_context(EmbeddedPostgres(data_folder, visitors=visitors)).dsn()
        assert dsn is not None
        database = Database(dsn, schema)
        if migrating:
            migrate(database)
        else:
            check_migrated(database)
        gc.set_threshold(GC_ALLOCATIONS, 20, 20)
        ledger = stack.enter_context(CreditLedger(database, clock=clock, limits=limits, watcher=watcher))
        runner = stack.enter_context(Runner(database)) if following else None
        if runner is None:
            with database.connect(Role.PROJECTOR) as connection:
                prepare(connection, database)  # reads find the tables, be they empty, before anybody follows
        reader = stack.enter_context(Reader(database, clock=clock))
        yield RunningLedger(database, ledger, BlockingLedger(ledger), runner, reader)
