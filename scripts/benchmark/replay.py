"""The audit replay of a long log: events a second, and what each event costs the processors, beside a plain COPY."""

import gc
import json
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ledger.store.database import Database
from projections.audit.replay import replay
from projections.audit.sources import LogLines
from scripts.benchmark.debits import Pools, by_lists
from scripts.benchmark.long_log import write_long_log
from scripts.benchmark.measure import progress
from service.bootstrap import GC_ALLOCATIONS, open_ledger

EVENTS = 2_000_000
HOT_LISTS, LIST_LENGTH = 50, 8_000
"""Debits of the holder who has a log alone."""
PER_SECOND_MIN = 150_000
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Row:
    """The runs of one row of the table: seconds by the clock, of PostgreSQL's processes, and of ours."""

    name: str
    must: float | None = None
    events: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    of_server: list[float] = field(default_factory=list)
    of_python: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return self.events[0] / statistics.median(self.seconds)

    def microseconds(self, seconds: Sequence[float]) -> float:
        """Of each event. Of the least run: others on the machine only add to it."""
        return 1e6 * min(seconds) / self.events[0]

    @property
    def processors(self) -> float:
        """Microseconds of all processes together for each event."""
        return self.microseconds([sum(each) for each in zip(self.of_server, self.of_python, strict=True)])

    def run(self, database: Database, work: Callable[[], int]) -> None:
        server, python, begun = server_seconds(database), python_seconds(), time.perf_counter()
        self.events.append(work())
        self.seconds.append(time.perf_counter() - begun)
        self.of_python.append(python_seconds() - python)
        self.of_server.append(server_seconds(database) - server)


def measure_replays(dsn: str | None, folder: Path | None, schema: str, events: int, runs: int) -> list[Row]:
    """Replay a log of about so many events, by one process and by one for each core, and copy it to nowhere; then the
    log of one holder."""
    cores = os.cpu_count() or 1
    with ExitStack() as stack:
        running = stack.enter_context(open_ledger(dsn, data_folder=folder, schema=schema, following=False))
        long, hot = running.database, Database(running.database.dsn, f"{schema}_hot")
        progress(f"a log of about {events:,} events, and one of {HOT_LISTS * LIST_LENGTH:,} of one holder")
        write_long_log(long, events)
        with open_ledger(long.dsn, schema=hot.schema, following=False) as of_one:
            by_lists(Pools(of_one.ledger, 1), LIST_LENGTH, HOT_LISTS)
        gc.freeze()
        gc.set_threshold(GC_ALLOCATIONS, 20, 20)  # as the command does
        plan: list[tuple[Row, Database, Callable[[], int]]] = [
            (Row("COPY to nowhere"), long, lambda: copied(long)),
            (Row("replay, 1 process"), long, lambda: replayed(long, 1)),
            (Row(f"replay, {cores} processes", PER_SECOND_MIN), long, lambda: replayed(long, cores)),
            (Row("COPY to nowhere, one holder"), hot, lambda: copied(hot)),
            (Row(f"replay, {cores} processes, one holder", PER_SECOND_MIN), hot, lambda: replayed(hot, cores)),
        ]
        for run in range(runs):
            for row, database, work in plan:
                progress(f"run {run + 1} of {runs}: {row.name}")
                row.run(database, work)
        return [row for row, _, _ in plan]


def copied(database: Database) -> int:
    """Read the lines that a replay reads, and do nothing with them."""
    return sum(map(len, LogLines(database, 2**62).blocks()))


def replayed(database: Database, processes: int) -> int:
    report = replay(database, processes=processes)
    assert report.passed, report.data()
    events: int = report.numbers["events"]
    return events


def python_seconds() -> float:
    """What this process and those it waited for have used of the processors."""
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + of_children.ru_utime + of_children.ru_stime


def server_seconds(database: Database) -> float:
    """What the server's processes have used of the processors so far; 0 for one on another machine."""
    with database.connect(None) as connection:
        session = connection.info.backend_pid
        try:
            postmaster = _stat(Path(f"/proc/{session}/stat"))[1]
        except OSError:
            return 0.0
    ticks = sum(map(int, _stat(Path(f"/proc/{postmaster}/stat"))[13:15]))  # of those that have ended
    for process in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            told = _stat(process)
            ticks += sum(map(int, told[11:13])) if told[1] == postmaster else 0
    return ticks / TICKS_PER_SECOND


def _stat(path: Path) -> list[str]:
    """What Linux tells of a process, from its state on."""
    return path.read_text().rpartition(")")[2].split()


def as_markdown(rows: Sequence[Row]) -> str:
    lines = [
        f"Medians of {len(rows[0].seconds)} runs; microseconds of the processors are those of the least run.",
        "",
        "| row | events | events/s | PostgreSQL µs | Python µs | of COPY's µs | must | |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    yardstick = rows[0]
    for row in rows:
        yardstick = row if row.name.startswith("COPY") else yardstick
        verdict = "" if row.must is None else "must" if row.per_second >= row.must else "below must"
        lines.append(
            f"| {row.name} | {row.events[0]:,} | {row.per_second:,.0f} | {row.microseconds(row.of_server):.1f} "
            f"| {row.microseconds(row.of_python):.1f} | {row.processors / yardstick.processors:.1f} "
            f"| {'' if row.must is None else f'{row.must:,.0f}'} | {verdict} |"
        )
    return "\n".join(lines)


def as_json(rows: Sequence[Row]) -> str:
    return json.dumps(
        [
            {
                "name": row.name, "events": row.events[0], "per_second": row.per_second, "seconds": row.seconds,
                "server_seconds": row.of_server, "python_seconds": row.of_python, "must": row.must,
            }
            for row in rows
        ],
        indent=2,
    )  # fmt: skip
