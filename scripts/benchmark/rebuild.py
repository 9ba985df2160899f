"""The rows of rebuilds: each read model folded from the beginning of a long log, beside this machine's own yardsticks.

A model that aggregates stands beside one plain SQL aggregate over the same log; one with a row for each event, or for
each instant of use, beside an INSERT of its own rows into a table with the same indexes. All of them on one core.
"""

import json
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.store.database import Role
from ledger.store.sql import statement
from projections.read_model import ENTRIES, GROUP_USAGE, READ_MODELS, USAGE, ReadModel
from projections.rebuild import SESSION, WINDOW_EVENTS
from scripts.benchmark import rebuild_at_work
from scripts.benchmark.long_log import write_long_log
from scripts.benchmark.measure import progress
from scripts.benchmark.rebuild_at_work import measure_at_work
from service.bootstrap import open_ledger

EVENTS = 5_000_000
PER_SECOND_MIN = 800_000
"""Of models that aggregate."""
RATIO = 0.5
"""Of a rebuild's rate to its yardstick's: what models that aggregate aim at, and what the others must reach."""
ROW_PER_EVENT = (ENTRIES, USAGE, GROUP_USAGE)


@dataclass(frozen=True)
class Rebuilt:
    """The seconds of each rebuild of a read model and, run by run, of its yardstick."""

    model: ReadModel
    events: int
    seconds: list[float] = field(default_factory=list)
    yardstick: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return self.events / statistics.median(self.seconds)

    @property
    def yardstick_per_second(self) -> float:
        return self.events / statistics.median(self.yardstick)

    @property
    def ratio(self) -> float:
        return self.per_second / self.yardstick_per_second

    def verdict(self) -> str:
        if self.model in ROW_PER_EVENT:
            return "must" if self.ratio >= RATIO else "below must"
        if self.per_second < PER_SECOND_MIN:
            return "below must"
        return "aim" if self.ratio >= RATIO else "must"


def measure_rebuilds(
    dsn: str | None, folder: Path | None, schema: str, events: int, runs: int, seconds: float
) -> tuple[list[Rebuilt], dict[str, Any]]:
    """Every read model, rebuilt so many times from about so many events; then all of them beside writers."""
    with ExitStack() as stack:
        running = stack.enter_context(open_ledger(dsn, data_folder=folder, schema=schema, following=False))
        write_long_log(running.database, events)
        connection = stack.enter_context(running.database.connect(Role.PROJECTOR, **SESSION))
        head = connection.execute("SELECT max(position) AS head FROM movements").fetchone()
        assert head is not None
        measured = [Rebuilt(model, head["head"]) for model in READ_MODELS]
        _seconds_of_plain_aggregate(connection)  # the first one warms up
        for run in range(runs):
            for each in measured:
                progress(f"run {run + 1} of {runs}: {each.model.name}")
                _measure(connection, each)
        return measured, measure_at_work(running, seconds)


def _measure(connection: Connection[DictRow], each: Rebuilt) -> None:
    """One rebuild, and its yardstick right after it, so that both meet the same machine."""
    rebuilt, copied = ReadModel(each.model.name, "_rebuilt"), ReadModel(each.model.name, "_copied")
    connection.execute(rebuilt.sql(rebuilt.schema_sql))
    each.seconds.append(_seconds_of_rebuild(connection, rebuilt, each.events))
    if each.model in ROW_PER_EVENT:
        connection.execute(copied.sql(copied.schema_sql))
        begun = time.perf_counter()
        connection.execute(copied.sql("INSERT INTO {table} SELECT * FROM ") + rebuilt.table)
        each.yardstick.append(time.perf_counter() - begun)
        connection.execute(copied.sql("DROP TABLE {table}"))
    else:
        each.yardstick.append(_seconds_of_plain_aggregate(connection))
    connection.execute(rebuilt.sql("DROP TABLE {table}"))


def _seconds_of_rebuild(connection: Connection[DictRow], model: ReadModel, head: int) -> float:
    """Fold the log window by window, each in a transaction of its own."""
    begun, after = time.perf_counter(), 0
    while after < head:
        window = {"after": after, "limit": WINDOW_EVENTS}
        end = connection.execute(statement("projections", "queries/window_end.sql"), window).fetchone()
        assert end is not None
        with connection.transaction():
            model.fold(connection, after, end["transaction_last"])
        after = end["transaction_last"]
    return time.perf_counter() - begun


def _seconds_of_plain_aggregate(connection: Connection[DictRow]) -> float:
    begun = time.perf_counter()
    connection.execute(statement("scripts.benchmark", "plain_aggregate.sql")).fetchall()
    return time.perf_counter() - begun


def as_markdown(measured: Sequence[Rebuilt], at_work: dict[str, Any]) -> str:
    lines = [
        f"{measured[0].events:,} events in windows of {WINDOW_EVENTS:,}; medians of {len(measured[0].seconds)} runs.",
        "",
        "| read model | events/s | yardstick | its events/s | ratio | |",
        "|---|--:|---|--:|--:|---|",
    ]
    for each in measured:
        yardstick = "INSERT of its rows" if each.model in ROW_PER_EVENT else "plain aggregate"
        lines.append(
            f"| {each.model.name} | {each.per_second:,.0f} | {yardstick} "
            f"| {each.yardstick_per_second:,.0f} | {each.ratio:.2f} | {each.verdict()} |"
        )
    return "\n".join([*lines, "", rebuild_at_work.as_markdown(at_work)])


def as_json(measured: Sequence[Rebuilt], at_work: dict[str, Any]) -> str:
    return json.dumps(
        {"events": measured[0].events, "window_events": WINDOW_EVENTS, "models": [
            {
                "name": each.model.name, "per_second": each.per_second, "seconds": each.seconds,
                "yardstick_seconds": each.yardstick, "ratio": each.ratio, "verdict": each.verdict(),
            }
            for each in measured
        ], "at_work": at_work},
        indent=2,
    )  # fmt: skip
