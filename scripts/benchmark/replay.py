"""The audit replay of a long log: events a second, and what each event costs the processors, beside a plain COPY."""

import gc
import os
import time
from collections.abc import Callable
from functools import partial

from ledger.store.database import Database
from projections.audit.replay import replay
from projections.audit.sources import LogLines
from scripts.benchmark.debits import Pools, by_lists
from scripts.benchmark.long_log import write_long_log
from scripts.benchmark.measure import Measurement, Row, at_least, progress
from scripts.benchmark.places import Place
from scripts.benchmark.processors import Meter, all_python_seconds
from scripts.benchmark.report import Section
from service.bootstrap import GC_ALLOCATIONS, open_ledger

HOT_LISTS, LIST_LENGTH = 50, 8_000
"""Debits of the holder who has a log alone."""
PER_SECOND_MIN = 150_000
COPY, COPY_OF_ONE = "COPY to nowhere", "COPY to nowhere, one holder"


def measure_replays(place: Place, events: int, runs: int) -> Section:
    """Replay a log of about so many events, by one process and by one for each core, and copy it to nowhere; then the
    log of one holder."""
    cores = os.cpu_count() or 1
    long, hot = place.database(), place.database("hot")
    progress(f"a log of about {events:,} events, and one of {HOT_LISTS * LIST_LENGTH:,} of one holder")
    with open_ledger(long.dsn, schema=long.schema, following=False):
        write_long_log(long, events)
    with open_ledger(hot.dsn, schema=hot.schema, following=False) as of_one:
        by_lists(Pools(of_one.ledger, 1), LIST_LENGTH, HOT_LISTS)
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 20)  # as the command does
    meter = Meter(place.postmaster, python=all_python_seconds)
    plan: dict[str, Callable[[], int]] = {
        COPY: partial(copied, long),
        "replay, 1 process": partial(replayed, long, 1),
        f"replay, {cores} processes": partial(replayed, long, cores),
        COPY_OF_ONE: partial(copied, hot),
        f"replay, {cores} processes, one holder": partial(replayed, hot, cores),
    }
    measured: dict[str, list[Measurement]] = {name: [] for name in plan}
    for run in range(runs):
        for name, work in plan.items():
            progress(f"run {run + 1} of {runs}: {name}")
            measured[name].append(meter.measure(partial(_timed, work)))
    return Section(
        "replay",
        "The replay of the log",
        f"{measured[COPY][0].count:,} events, and {measured[COPY_OF_ONE][0].count:,} of one holder; each held to every "
        "law, beside the same rows copied to nowhere. Python is all processes of the replay.",
        [_row(name, measured, cores) for name in plan],
    )


def _row(name: str, measured: dict[str, list[Measurement]], cores: int) -> Row:
    runs = measured[name]
    yardstick = measured[COPY_OF_ONE if "one holder" in name else COPY]
    beside = {"of COPY's µs": [_cost(run) / _cost(other) for run, other in zip(runs, yardstick, strict=True)]}
    if not name.startswith(f"replay, {cores} process"):
        return Row(name, runs, beside=beside)
    return Row(name, runs, at_least([run.per_second for run in runs], PER_SECOND_MIN), beside=beside)


def _cost(run: Measurement) -> float:
    """Microseconds of all processors together for an event, as far as they are known."""
    return sum(each or 0.0 for each in run.microseconds())


def _timed(work: Callable[[], int]) -> Measurement:
    begun = time.perf_counter()
    count = work()
    taken = time.perf_counter() - begun
    return Measurement(count, taken, [taken])


def copied(database: Database) -> int:
    """Read the lines that a replay reads, and do nothing with them."""
    return sum(map(len, LogLines(database, 2**62).blocks()))


def replayed(database: Database, processes: int) -> int:
    report = replay(database, processes=processes)
    assert report.passed, report.data()
    events: int = report.numbers["events"]
    return events
