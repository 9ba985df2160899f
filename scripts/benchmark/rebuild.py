"""The rows of rebuilds: each read model folded from the beginning of a long log, beside this machine's own yardsticks.

A model that aggregates stands beside one plain SQL aggregate over the same log; one with a row for each event, or for
each instant of use, beside an INSERT of its own rows into a table with the same indexes. All of them on one core.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.store.database import Role
from ledger.store.sql import statement
from projections.read_model import ENTRIES, GROUP_USAGE, READ_MODELS, USAGE, ReadModel
from projections.rebuild import SESSION, WINDOW_EVENTS
from scripts.benchmark import rebuild_at_work
from scripts.benchmark.long_log import write_long_log
from scripts.benchmark.measure import Measurement, Row, at_least, merged, progress, ratios
from scripts.benchmark.places import Place
from scripts.benchmark.processors import Meter
from scripts.benchmark.rebuild_at_work import measure_at_work
from scripts.benchmark.report import Section
from service.bootstrap import open_ledger

PER_SECOND_MIN = 800_000
"""Of models that aggregate."""
RATIO = 0.5
"""Of a rebuild's rate to its yardstick's: what models that aggregate aim at, and what the others must reach."""
ROW_PER_EVENT = (ENTRIES, USAGE, GROUP_USAGE)
OF_AGGREGATE, OF_INSERT = "of plain aggregate", "of INSERT of its rows"


@dataclass(frozen=True)
class Rebuilt:
    """The rebuilds of a read model and, run by run, its yardstick."""

    model: ReadModel
    runs: list[Measurement] = field(default_factory=list)
    yardstick: list[Measurement] = field(default_factory=list)

    def row(self) -> Row:
        ratio = ratios(self.runs, self.yardstick)
        if self.model in ROW_PER_EVENT:
            must = at_least(ratio, RATIO, f"{RATIO} of INSERT")
            return Row(self.model.name, self.runs, must, beside={OF_INSERT: ratio})
        must = at_least((run.per_second for run in self.runs), PER_SECOND_MIN)
        aim = at_least(ratio, RATIO, f"{RATIO} of aggregate")
        return Row(self.model.name, self.runs, must, aim, {OF_AGGREGATE: ratio})


def measure_rebuilds(place: Place, events: int, runs: int, at_work_seconds: float | None) -> Section:
    """Every read model, rebuilt so many times from about so many events; then, for so many seconds and as long as it
    takes, all of them beside writers."""
    with open_ledger(place.dsn, schema=place.schema, following=False) as running:
        write_long_log(running.database, events)
        with running.database.connect(Role.PROJECTOR, **SESSION) as connection:
            measured = _measure_all(connection, Meter(place.postmaster), runs)
        at_work = None if at_work_seconds is None else measure_at_work(running, at_work_seconds)
    written = measured[0].runs[0].count
    return Section(
        "rebuild",
        "Rebuilds",
        f"{written:,} events in windows of {WINDOW_EVENTS:,}, on one core; p50 and p99 are of a window. Each yardstick "
        "is taken right after its rebuild.",
        [*_yardsticks(measured, runs), *(each.row() for each in measured)],
        more="" if at_work is None else rebuild_at_work.as_markdown(at_work),
        faults=rebuild_at_work.faults(at_work) if at_work else [],
        data={"events": written, "window_events": WINDOW_EVENTS, "at_work": at_work},
    )


def _measure_all(connection: "Connection[DictRow]", meter: Meter, runs: int) -> list[Rebuilt]:
    head = connection.execute("SELECT max(position) AS head FROM movements").fetchone()
    assert head is not None
    measured = [Rebuilt(model) for model in READ_MODELS]
    _run_plain_aggregate(connection)  # the first one warms up
    for run in range(runs):
        for each in measured:
            progress(f"run {run + 1} of {runs}: {each.model.name}")
            _measure(connection, meter, each, head["head"])
    return measured


def _measure(connection: "Connection[DictRow]", meter: Meter, each: Rebuilt, events: int) -> None:
    """One rebuild, and its yardstick right after it, so that both meet the same machine."""
    rebuilt, copied = ReadModel(each.model.name, "_rebuilt"), ReadModel(each.model.name, "_copied")
    connection.execute(rebuilt.sql(rebuilt.schema_sql))
    each.runs.append(meter.measure(partial(_rebuild, connection, rebuilt, events)))
    if each.model in ROW_PER_EVENT:
        connection.execute(copied.sql(copied.schema_sql))
        copy = copied.sql("INSERT INTO {table} SELECT * FROM ") + rebuilt.table
        each.yardstick.append(meter.measure(partial(_timed, events, lambda: connection.execute(copy))))
        connection.execute(copied.sql("DROP TABLE {table}"))
    else:
        work = partial(_run_plain_aggregate, connection)
        each.yardstick.append(meter.measure(partial(_timed, events, work)))
    connection.execute(rebuilt.sql("DROP TABLE {table}"))


def _yardsticks(measured: list[Rebuilt], runs: int) -> list[Row]:
    aggregates = [each.yardstick for each in measured if each.model not in ROW_PER_EVENT]
    of_all = [merged([yardstick[run] for yardstick in aggregates]) for run in range(runs)]
    inserts = [
        Row(f"INSERT of the rows of {each.model.name}", each.yardstick)
        for each in measured
        if each.model in ROW_PER_EVENT
    ]
    return [Row("plain aggregate", of_all), *inserts]


def _rebuild(connection: "Connection[DictRow]", model: ReadModel, head: int) -> Measurement:
    """Fold the log window by window, each in a transaction of its own."""
    begun, after, latencies = time.perf_counter(), 0, []
    while after < head:
        window_begun = time.perf_counter()
        window = {"after": after, "limit": WINDOW_EVENTS}
        end = connection.execute(statement("projections", "queries/window_end.sql"), window).fetchone()
        assert end is not None
        with connection.transaction():
            model.fold(connection, after, end["transaction_last"])
        after = end["transaction_last"]
        latencies.append(time.perf_counter() - window_begun)
    return Measurement(head, time.perf_counter() - begun, latencies)


def _timed(events: int, work: Callable[[], object]) -> Measurement:
    begun = time.perf_counter()
    work()
    taken = time.perf_counter() - begun
    return Measurement(events, taken, [taken])


def _run_plain_aggregate(connection: "Connection[DictRow]") -> None:
    connection.execute(statement("scripts.benchmark", "plain_aggregate.sql")).fetchall()
