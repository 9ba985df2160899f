"""`audit replay`: the log folded a second time by the pure domain, held to every law and to what serves."""

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ledger.domain.audit.findings import CHECKS
from ledger.domain.instants import Instant, instant_from_text
from ledger.domain.refusals import InvalidArgument
from ledger.store.migrate import check_migrated, migrate
from projections.audit.earlier import earlier_from
from projections.audit.replay import replay, replay_export
from projections.audit.report import ReplayReport
from service.bootstrap import GC_ALLOCATIONS
from service.cli.frame import WithExample, database_here, show, table, with_json
from service.cli.progress import Progress
from service.refusals import Exit
from service.settings import read_settings

SUM_COLUMNS = ("kind", "currency", "granted", "debited", "refunded", "voided", "expired", "balance")


@click.command("replay", cls=WithExample, example="credit-ledger audit replay --to 2026-02-01T00:00:00Z")
@click.option("--to", "to_text", metavar="POSITION|INSTANT", help="Where to end; else at the head of the log.")
@click.option("--from-export", type=click.Path(path_type=Path), metavar="FILE", help="Read exported events instead.")
@click.option(
    "--against", type=click.Path(path_type=Path), metavar="FILE", help="What an earlier replay --json printed."
)
@click.option("--processes", type=click.IntRange(min=1), help="At most so many; else one for each core.")
@with_json
def replay_command(
    to_text: str | None, from_export: Path | None, against: Path | None, processes: int | None, as_json: bool
) -> int:
    """Fold the log from empty and check every law at every position; exit code 1 if one is broken.

    What serves is compared with it, where it stands; with --to, what the same folds make of the log up to there. An
    export is read without a database.
    """
    settings = read_settings()
    to, earlier = end_of(to_text), None if against is None else earlier_from(against)
    progress, begun = Progress(quiet=as_json), time.monotonic()

    def told(done: int, total: int) -> None:
        progress.tell("audit", "replaying", done, total, done / max(time.monotonic() - begun, 0.001))

    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 20)  # the fold allocates for each line, and nothing in a cycle
    if from_export is not None:
        report = replay_export(from_export, to=to, against=earlier, processes=processes, told=told)
    else:
        with database_here(settings) as database:
            if settings.database_url is None:
                migrate(database)
            else:
                check_migrated(database)
            report = replay(database, to=to, against=earlier, processes=processes, told=told)
    progress.clear()
    show(report.data(), as_json, lambda: replay_lines(report))
    return Exit.DONE if report.passed else Exit.FAULT


def end_of(text: str | None) -> int | Instant | None:
    """A position or an instant, as somebody writes it. Refuses: InvalidArgument."""
    if text is None:
        return None
    if text.isdecimal() and text.isascii():
        if not 1 <= int(text) < 2**63:
            raise InvalidArgument("to", "must be a position of the log")
        return int(text)
    return instant_from_text(text, field="to")


def replay_lines(report: ReplayReport) -> Iterator[str]:
    """The report on one page."""
    numbers = report.numbers
    yield f"ledger     {report.ledger_id}, epoch {report.epoch}"
    yield f"up to      position {report.position}, recorded at {report.recorded_at or '-'}"
    yield (
        f"replayed   {numbers['events']:,} events in {report.seconds:.1f} s: {report.events_per_second:,.0f}/s, "
        f"{report.processes} {'process' if report.processes == 1 else 'processes'}"
    )
    yield f"holds      {numbers['transactions']:,} transactions, {numbers['lots']:,} lots, {numbers['pools']:,} pools"
    yield ""
    yield from _check_lines(report)
    yield ""
    sums: list[dict[str, Any]] = numbers["sums"]
    rows = [[row[column] for column in SUM_COLUMNS] for row in sums]
    yield from table(SUM_COLUMNS, rows, right=SUM_COLUMNS[2:])
    yield ""
    compared = any(each.position is not None for each in report.comparisons)
    yield ("PASS" if compared else "PASS; nothing was compared with it") if report.passed else "FAIL"


def _check_lines(report: ReplayReport) -> Iterator[str]:
    for check in report.checks:
        yield _line(check.faults == 0, check.name, f"{check.seen:>12,}", CHECKS[check.name])
        if check.first is not None:
            position, stream, version, says, should = check.first
            others = "" if check.faults == 1 else f" ({check.faults:,} events in all)"
            yield f"      position {position}, stream {stream} version {version}: {says}; should be {should}{others}"
    for each in report.comparisons:
        if each.position is None:
            yield f"  --  {each.name:17} {'':12}  not compared: {each.by}"
            continue
        says = f"rows at position {each.position}, {each.by}"
        yield _line(each.differences == 0, each.name, f"{each.rows:>12,}", says)
        if each.first is not None:
            yield f"      {each.first}" + (f" ({each.differences:,} rows in all)" if each.differences > 1 else "")
    if report.earlier is not None:
        said = f"its numbers at position {report.earlier.position}"
        yield _line(report.earlier.difference is None, "earlier-replay", " " * 12, said)
        if report.earlier.difference is not None:
            yield f"      {report.earlier.difference}"


def _line(passed: bool, name: str, seen: str, says: str) -> str:
    return f"{'pass' if passed else 'FAIL'}  {name:17} {seen}  {says}"
