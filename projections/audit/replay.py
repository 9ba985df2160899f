"""The audit replay: every law at every position, and whether what serves agrees."""

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.instants import instant_text
from ledger.domain.refusals import InvalidArgument
from ledger.store.database import Database, Role
from projections.audit.comparison import Comparison, Standing, compare, compare_folded, not_compared, standings
from projections.audit.earlier import Earlier, check_comparable, first_difference, numbers
from projections.audit.export_lines import ExportLines
from projections.audit.folding import Replayed, Told, fold_all
from projections.audit.report import EarlierCheck, ReplayReport
from projections.audit.sources import LogLines, end_of_log
from projections.audit.states import COMPARED, Mark

PATIENT = {"idle_in_transaction_session_timeout": "0", "statement_timeout": "0"}
"""A snapshot waits for the whole fold, whatever the account's or the server's settings are."""


def replay(
    database: Database,
    *,
    to: int | datetime | None = None,
    against: Earlier | None = None,
    processes: int | None = None,
    told: Told = lambda done, total: None,
) -> ReplayReport:
    """Fold a database's log up to a position or an instant, and compare it with what serves.

    The read models are compared at one snapshot, each where it stands; one that is further is folded again up to the
    end of the replay. `told` is called with how far it is of how much. Refuses: InvalidArgument.
    """
    begun = time.perf_counter()
    with _snapshot(database) as connection:
        end = end_of_log(connection, to)
        if against is not None:
            check_comparable(against, end.ledger, end.ledger.ledger_id, end.position)
        stand = standings(connection, end.position, end_of_log(connection, None).position)
        source = LogLines(database, end.position)
        replayed = fold_all(source, _marks(stand, against), processes or os.cpu_count() or 1, told)
        comparisons = list(_compared(database, connection, stand, replayed))
    epoch = end.ledger.epoch_of(end.position) if end.position else end.ledger.present
    return _report(replayed, end.ledger.ledger_id, epoch, comparisons, against, begun)


def replay_export(
    path: Path,
    *,
    to: int | datetime | None = None,
    against: Earlier | None = None,
    processes: int | None = None,
    told: Told = lambda done, total: None,
) -> ReplayReport:
    """Fold the events of an export, which no database is needed for; what serves is not compared.

    Refuses: ExportDamaged, InvalidArgument.
    """
    begun = time.perf_counter()
    source = ExportLines.opened(path, to)
    if against is not None:
        check_comparable(against, None, source.manifest.ledger_id, source.until)
    stand = [Standing(name, None, "an export alone was read") for name in COMPARED]
    replayed = fold_all(source, _marks(stand, against), processes or os.cpu_count() or 1, told)
    if isinstance(to, int) and replayed.position < to:
        raise InvalidArgument("to", "must be a position of the log")
    comparisons = [not_compared(each) for each in stand]
    return _report(replayed, source.manifest.ledger_id, source.manifest.epoch, comparisons, against, begun)


@contextmanager
def _snapshot(database: Database) -> Iterator[Connection[DictRow]]:
    """One moment of a database, for a role that may only read."""
    with database.connect(Role.READER, **PATIENT) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


def _marks(stand: Sequence[Standing], against: Earlier | None) -> list[Mark]:
    """Where the folds are looked at: each position once."""
    models: defaultdict[int, list[str]] = defaultdict(list)
    for each in stand:
        if each.position is not None:
            models[each.position].append(each.name)
    if against is not None:
        models[against.position] += []
    return [
        Mark(position, against is not None and position == against.position, tuple(names))
        for position, names in sorted(models.items())
    ]


def _compared(
    database: Database, connection: Connection[DictRow], stand: Sequence[Standing], replayed: Replayed
) -> Iterator[Comparison]:
    """Those that stand at a position in the snapshot; the others in a session that may make tables of its own."""
    rows = {name: found for _, marked in replayed.at_marks.values() for name, found in marked.rows.items()}
    for each in stand:
        if each.position is None:
            yield not_compared(each)
        elif each.model is not None:
            yield compare(connection, each, rows[each.name])
        else:
            with database.connect(Role.READER) as folding:
                yield compare_folded(folding, each, rows[each.name])


def _report(
    replayed: Replayed,
    ledger_id: str,
    epoch: str,
    comparisons: Sequence[Comparison],
    against: Earlier | None,
    begun: float,
) -> ReplayReport:
    """Refuses: InvalidArgument, for an earlier replay that went further than this one came."""
    earlier = None
    if against is not None:
        if against.position > replayed.position:
            raise InvalidArgument("against", f"went to position {against.position}, beyond {replayed.position}")
        passed, marked = replayed.at_marks[against.position]
        assert marked.totals is not None
        difference = first_difference(against.numbers, numbers(passed, marked.totals))
        earlier = EarlierCheck(against.position, difference)
    return ReplayReport(
        ledger_id, epoch, replayed.position, _told(replayed.recorded_at), time.perf_counter() - begun,
        replayed.processes, numbers(replayed.passed, replayed.totals), list(replayed.findings.checks.values()),
        comparisons, earlier,
    )  # fmt: skip


def _told(recorded_at: str) -> str | None:
    """An instant of a line as it is told everywhere; what is none, in a damaged log, as it is."""
    try:
        return instant_text(datetime.fromisoformat(recorded_at)) if recorded_at else None
    except ValueError:
        return recorded_at
