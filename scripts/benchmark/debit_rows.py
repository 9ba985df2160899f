"""The section of debits: callers, lists, one hot pool, the length of history, each beside the machine's yardsticks.

It measures the writer alone: whoever follows the log has rows of his own. Commits are durable, every debit carries an
idempotency key of its own, and building the commands is part of the time.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain

from scripts.benchmark.debits import Pools, by_callers, by_lists, in_turns
from scripts.benchmark.long_history import History, measure_history
from scripts.benchmark.measure import Comparison, Measurement, Row, at_least, progress, ratios
from scripts.benchmark.places import Place
from scripts.benchmark.plot import Line, Panel
from scripts.benchmark.processors import Meter, children_seconds
from scripts.benchmark.report import Section, small_table
from scripts.benchmark.yardsticks import copy_rows, insert_one_row, load_decide_save, plain_grants
from service.bootstrap import RunningLedger, open_ledger

CONNECTIONS = {n: f"INSERT of one row, {n} connection{'s' if n > 1 else ''}" for n in (1, 8, 32)}
BY_ONE = CONNECTIONS[1]
BY_COPY = "binary COPY of 1,000 rows"
BY_LIBRARY = "library's load, decide, save"
CALLERS = {n: f"debits, {n} caller{'s' if n > 1 else ''}" for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)}
LISTS = {n: f"debits, lists of {n:,}" for n in (100, 8_000)}
ASKED: Mapping[str, tuple[float, float]] = {
    CALLERS[1]: (1_000, 1_500),
    CALLERS[32]: (8_000, 10_000),
    CALLERS[256]: (12_000, 20_000),
    LISTS[100]: (20_000, 30_000),
    LISTS[8_000]: (40_000, 64_000),
}
"""Must and aim of debits a second."""
HOT = {CALLERS[256]: "256 callers", LISTS[8_000]: "lists of 8,000"}
NO_SLOWER = 0.95
"""It leaves a twentieth for the machine's noise."""
TURNS = 8
"""Of two rows that are compared, in each run."""
LINES = ("debits_per_second_by_callers", "inserts_per_second_by_connections", "p50_ms_by_debits_on_the_lot")

Runs = dict[str, list[Measurement]]


def measure_debits(place: Place, runs: int, seconds: float, history: int) -> Section:
    """All rows once in every run; then what the length of a lot's history does."""
    with open_ledger(place.dsn, schema=place.schema, following=False) as running:
        meter = Meter(place.postmaster, client=children_seconds)
        spread, hot = Pools(running.ledger, 64), Pools(running.ledger, 1)
        measured: Runs = {}
        for run in range(runs):
            for name, work in _plan(running, spread, seconds).items():
                progress(f"run {run + 1} of {runs}: {name}")
                measured.setdefault(name, []).append(meter.measure(work))
            for name, of in _compared(seconds / TURNS).items():
                progress(f"run {run + 1} of {runs}: {name}, spread and hot")
                of_spread, of_hot = (partial(meter.measure, partial(of, pools)) for pools in (spread, hot))
                for each, done in zip((name, _hot(name)), in_turns(of_spread, of_hot, TURNS), strict=True):
                    measured.setdefault(each, []).append(done)
        return _section(measured, measure_history(running.ledger, meter, runs, seconds, history))


def _plan(running: RunningLedger, spread: Pools, seconds: float) -> dict[str, Callable[[], Measurement]]:
    ledger, database = running.ledger, running.database
    plan: dict[str, Callable[[], Measurement]] = {
        name: partial(insert_one_row, database, connections, seconds) for connections, name in CONNECTIONS.items()
    }
    plan[BY_COPY] = partial(copy_rows, database, 1_000, _whole(20 * seconds))
    plan[BY_LIBRARY] = partial(load_decide_save, ledger, plain_grants(ledger), _whole(100 * seconds))
    plan |= {
        name: partial(by_callers, spread, callers, seconds) for callers, name in CALLERS.items() if name not in HOT
    }
    return plan | {LISTS[100]: partial(by_lists, spread, 100, _whole(200 * seconds))}


def _compared(seconds: float) -> dict[str, Callable[[Pools], Measurement]]:
    """What is measured on spread pools and on a hot one, in turns of so many seconds."""
    return {
        CALLERS[256]: lambda pools: by_callers(pools, 256, seconds),
        LISTS[8_000]: lambda pools: by_lists(pools, 8_000, _whole(4 * seconds)),
    }


def _section(measured: Runs, history: History) -> Section:
    hot = {what: ratios(measured[_hot(name)], measured[name]) for name, what in HOT.items()}
    names = [*CONNECTIONS.values(), BY_COPY, BY_LIBRARY, *ASKED, *map(_hot, HOT)]
    by_callers = [(callers, _rate(measured[name])) for callers, name in CALLERS.items()]
    by_connections = [(connections, _rate(measured[name])) for connections, name in CONNECTIONS.items()]
    tables = [
        small_table("callers", "debits/s", by_callers),
        small_table("debits on the lot before", "p50 ms of the next", history.line),
    ]
    return Section(
        "debits",
        "Debits",
        "Durable, each under a key of its own, building the commands included. The yardsticks write the same rows into "
        "a table with the log's columns, indexes and checks; a client's time is that of PostgreSQL's own, in C.",
        [*(_row(name, measured) for name in names), *history.rows(measured[BY_ONE])],
        [
            *(
                Comparison(f"one hot pool to spread pools, {what}", each, at_least(each, NO_SLOWER, f"{NO_SLOWER}"))
                for what, each in hot.items()
            ),
            history.comparison,
        ],
        more="\n\n".join(tables),
        data=dict(zip(LINES, (by_callers, by_connections, history.line), strict=True)),
    )


def _row(name: str, measured: Runs) -> Row:
    runs = measured[name]
    rates = [run.per_second for run in runs]
    beside = {"of one-row INSERT": ratios(runs, measured[BY_ONE])}
    if name in chain(LISTS.values(), map(_hot, LISTS.values())):
        beside["of COPY"] = ratios(runs, measured[BY_COPY])
    if name not in ASKED:
        return Row(name, runs, beside=beside)
    must, aim = ASKED[name]
    return Row(name, runs, at_least(rates, must), at_least(rates, aim), beside)


def _hot(name: str) -> str:
    return f"{name}, one hot pool"


def _rate(runs: Sequence[Measurement]) -> float:
    return statistics.median(run.per_second for run in runs)


def _whole(number: float) -> int:
    return max(1, round(number))


def picture(section: Section) -> list[Panel]:
    """Debits a second by callers, and one debit's time by the length of the lot's history."""
    by_callers, by_connections, by_history = (section.data[name] for name in LINES)
    return [
        Panel(
            "Debits a second",
            "asyncio callers at once (of INSERT: connections)",
            "per second",
            [callers for callers, _ in by_callers],
            [Line("debits", by_callers), Line("one-row INSERTs", by_connections, dashed=True)],
        ),
        Panel(
            "One debit, by what was debited from its lot before",
            "debits on the lot before",
            "p50, ms, one caller",
            [length for length, _ in by_history],
            [Line("one debit", by_history)],
        ),
    ]
