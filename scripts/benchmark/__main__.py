"""Run the benchmark and print it: a Markdown table, or `--json`."""

import argparse
import json
import os
import platform
import secrets
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from scripts.benchmark import events, rebuild, replay, rules
from scripts.benchmark.debits import Pools, by_callers, by_lists
from scripts.benchmark.events import measure_events
from scripts.benchmark.measure import Measurement, Row, progress
from scripts.benchmark.rebuild import measure_rebuilds
from scripts.benchmark.replay import measure_replays
from scripts.benchmark.rules import measure_rules
from scripts.benchmark.yardsticks import copy_rows, insert_one_row, load_decide_save
from service.bootstrap import RunningLedger, open_ledger

HISTORY = 1_000_000
EVENTS = 10_000_000
LIST_LENGTH_MAX = 8_000


def main() -> None:
    options = _options()
    with ExitStack() as stack:
        folder = None
        if options.dsn is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ledger-bench-")))
        if options.what == "rules":
            count = options.events or EVENTS
            asked = measure_rules(options.dsn, folder, count, 7 * options.runs)
            print(rules.as_json(asked, count) if options.json else rules.as_markdown(asked, count))
            return
        schema = f"bench_{secrets.token_hex(4)}"
        if options.what == "rebuild":
            count = options.events or rebuild.EVENTS
            told = measure_rebuilds(options.dsn, folder, schema, count, options.runs, 10 * options.seconds)
            print(rebuild.as_json(*told) if options.json else rebuild.as_markdown(*told))
            return
        if options.what == "replay":
            done = measure_replays(options.dsn, folder, schema, options.events or replay.EVENTS, options.runs)
            print(replay.as_json(done) if options.json else replay.as_markdown(done))
            return
        if options.what == "events":
            count = options.events or events.EVENTS
            seen = measure_events(options.dsn, folder, schema, count, options.runs, 5 * options.seconds)
            print(events.as_json(seen) if options.json else events.as_markdown(seen))
            sys.exit(0 if seen.crowd.whole else 1)
        # the debit rows measure the writer; followers are measured by their own rows
        running = stack.enter_context(open_ledger(options.dsn, data_folder=folder, schema=schema, following=False))
        rows = _measure(running, options.runs, options.seconds, options.history)
        version = _server_version(running)
    print(_as_json(rows, version) if options.json else _as_markdown(rows, version))


def _measure(running: RunningLedger, runs: int, seconds: int, history: int) -> list[Row]:
    ledger = running.ledger
    spread, hot = Pools(ledger, 64), Pools(ledger, 1)
    lists = max(1, 4 * seconds)
    plan: list[tuple[str, float | None, float | None, Callable[[], Measurement]]] = [
        ("INSERT of one row, 1 connection", None, None, lambda: insert_one_row(running.database, 1, seconds)),
        ("INSERT of one row, 8 connections", None, None, lambda: insert_one_row(running.database, 8, seconds)),
        ("INSERT of one row, 32 connections", None, None, lambda: insert_one_row(running.database, 32, seconds)),
        ("binary COPY of 1,000 rows", None, None, lambda: copy_rows(running.database, 1_000, 20 * seconds)),
        ("library's load, decide, save", None, None, lambda: load_decide_save(ledger, 100 * seconds)),
        ("debits, 1 caller", 1_000, 1_500, lambda: by_callers(spread, 1, seconds)),
        ("debits, 32 callers", 8_000, 10_000, lambda: by_callers(spread, 32, seconds)),
        ("debits, 256 callers", 12_000, 20_000, lambda: by_callers(spread, 256, seconds)),
        ("debits, lists of 100", 20_000, 30_000, lambda: by_lists(spread, 100, 50 * lists)),
        ("debits, lists of 8,000", 40_000, 64_000, lambda: by_lists(spread, LIST_LENGTH_MAX, lists)),
        ("debits, 256 callers, one hot pool", None, None, lambda: by_callers(hot, 256, seconds)),
        ("debits, lists of 8,000, one hot pool", None, None, lambda: by_lists(hot, LIST_LENGTH_MAX, lists)),
    ]
    measured: dict[str, list[Measurement]] = {name: [] for name, *_ in plan}
    for run in range(runs):
        for name, _, _, measure in plan:
            progress(f"run {run + 1} of {runs}: {name}")
            measured[name].append(measure())
    rows = [Row(name, measured[name], must, aim) for name, must, aim, _ in plan]
    return rows + _long_history(running, runs, seconds, history)


def _long_history(running: RunningLedger, runs: int, seconds: int, history: int) -> list[Row]:
    """The first debits on one lot against those after so many; a fresh lot is measured beside each, in turns."""
    old = Pools(running.ledger, 1)
    progress(f"{history:,} debits on one lot")
    for _ in range(max(1, history // LIST_LENGTH_MAX)):
        by_lists(old, LIST_LENGTH_MAX, 1)
    first: list[Measurement] = []
    later: list[Measurement] = []
    for run in range(2 * runs):
        progress(f"run {run + 1} of {2 * runs}: debits on a fresh lot and after {history:,}")
        turns = [(first, Pools(running.ledger, 1)), (later, old)]
        for measured, pools in turns if run % 2 == 0 else reversed(turns):
            measured.append(by_callers(pools, 1, seconds))
    return [Row("debits on a fresh lot, 1 caller", first), Row(f"debits after {history:,} on one lot, 1 caller", later)]


def _as_markdown(rows: list[Row], version: str) -> str:
    yardstick = rows[0].per_second
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {_machine()}, PostgreSQL {version}, fsync on;",
        f"medians of {len(rows[0].runs)} runs.",
        "",
        "| row | per second | of one-row INSERT | p50 ms | p99 ms | must | aim | |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        must, aim = (f"{bound:,.0f}" if bound else "" for bound in (row.must, row.aim))
        lines.append(
            f"| {row.name} | {row.per_second:,.0f} | {row.per_second / yardstick:.2f} "
            f"| {row.p50_ms:.2f} | {row.p99_ms:.2f} | {must} | {aim} | {row.verdict()} |"
        )
    lines += ["", "| ratio | | must | |", "|---|--:|--:|---|"]
    lines += [
        f"| {name} | {ratio:.2f} | {least:.2f} | {'must' if ratio >= least else 'below must'} |"
        for name, (ratio, least) in _ratios(rows).items()
    ]
    return "\n".join(lines)


def _ratios(rows: list[Row]) -> dict[str, tuple[float, float]]:
    """The rows that the design compares with each other: the ratio of their rates, and the least it may be.

    "No slower" leaves a twentieth for the machine's noise.
    """
    named = {row.name: row.per_second for row in rows}
    return {
        "one hot pool to spread pools, 256 callers": (
            named["debits, 256 callers, one hot pool"] / named["debits, 256 callers"], 0.95,
        ),
        "one hot pool to spread pools, lists of 8,000": (
            named["debits, lists of 8,000, one hot pool"] / named["debits, lists of 8,000"], 0.95,
        ),
        "the debit after a long history to the first": (rows[-1].per_second / rows[-2].per_second, 0.90),
    }  # fmt: skip


def _as_json(rows: list[Row], version: str) -> str:
    return json.dumps(
        {
            "date": datetime.now(UTC).isoformat(),
            "machine": _machine(),
            "postgresql": version,
            "ratios": {name: {"ratio": ratio, "must": least} for name, (ratio, least) in _ratios(rows).items()},
            "rows": [
                {
                    "name": row.name,
                    "per_second": row.per_second,
                    "runs_per_second": [run.per_second for run in row.runs],
                    "ratio_to_one_row_insert": row.per_second / rows[0].per_second,
                    "p50_ms": row.p50_ms,
                    "p99_ms": row.p99_ms,
                    "must": row.must,
                    "aim": row.aim,
                    "verdict": row.verdict(),
                }
                for row in rows
            ],
        },
        indent=2,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=("debits", "rules", "rebuild", "events", "replay"),
        default="debits",
        help="what to measure",
    )
    parser.add_argument(
        "--events",
        type=int,
        help="how many, of rules (default 10,000,000), rebuild (5,000,000), replay (2,000,000) or events (50,000)",
    )
    parser.add_argument("--dsn", help="a PostgreSQL 15 or later; default: an embedded one")
    parser.add_argument("--runs", type=int, default=3, help="runs of each row; the table shows medians (default 3)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a run of one row (default 3)")
    parser.add_argument("--history", type=int, default=HISTORY, help="debits on one lot before the last row")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a Markdown table")
    return parser.parse_args()


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def _server_version(running: RunningLedger) -> str:
    with running.database.connect(None) as connection:
        row = connection.execute("SHOW server_version").fetchone()
        assert row is not None
        return str(row["server_version"]).split()[0]


if __name__ == "__main__":
    main()
