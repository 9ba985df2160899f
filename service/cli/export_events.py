"""`audit export`: the log as a file with a manifest, and whether an export is what its manifest says."""

from collections.abc import Iterator
from pathlib import Path

import click
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.refusals import InvalidArgument
from ledger.store.clock import Clock
from ledger.store.database import Database, Role
from projections.reports.as_of import RecordedAsOf, as_of
from projections.reports.report import AsOf
from service.audit.event_exports import EVENTS, export_events
from service.audit.files import sha256_of
from service.audit.manifest import MANIFEST, Form, Manifest
from service.audit.parameters import read_recorded
from service.audit.verification import verify_export
from service.cli.frame import WithExample, show, with_json
from service.cli.progress import Progress
from service.cli.projections import with_database
from service.refusals import Exit
from service.settings import read_settings

FROM, TO = "--from", "--to"


@click.command("events", cls=WithExample, example="credit-ledger audit export events --out log --format parquet")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder to write to.")
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice([form.value for form in Form]),
    help="What the file is written as.",
)
@click.option(FROM, "first", type=click.IntRange(min=1), help="The first position; default: the first there is.")
@click.option(TO, "last", metavar="POSITION|INSTANT", help="The last position or instant, included; default: the head.")
@with_json
@with_database
def export_events_command(
    database: Database, out: Path, form: str, first: int | None, last: str | None, as_json: bool
) -> None:
    """Write the log as it is, every column of every event, with a manifest beside it.

    Transactions are never cut: one that --to falls into is written whole, one that --from falls into belongs to what
    comes before. So what ends with a position and what begins with the next one have every event once. What is there
    already is never overwritten.
    """
    until = None if last is None else read_recorded(last, TO)
    clock = read_settings().clock()
    with database.connect(Role.READER) as connection:
        clocks = _cut(connection, clock, until, TO)
        after = 0 if first is None else _cut(connection, clock, first - 1, FROM).position
    if after > clocks.position:
        raise InvalidArgument(FROM, f"must not be beyond what comes next, {clocks.position + 1}")
    progress = Progress(quiet=as_json)
    try:
        manifest = export_events(
            database, out, Form(form), after=after, as_of=clocks,
            parameters={"from": None if first is None else str(first), "to": last},
            told=lambda done, total, per_second: progress.tell(EVENTS, "exporting", done, total, per_second),
        )  # fmt: skip
    finally:
        progress.clear()
    show(manifest.data(), as_json, lambda: lines_of_export(manifest, out))


@click.command("verify", cls=WithExample, example="credit-ledger audit export verify log")
@click.argument("folder", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path))
@with_json
def verify_export_command(folder: Path, as_json: bool) -> int:
    """Hold an export against its manifest, without a database; exit code 1 if it differs."""
    read_settings()  # none is used, but a wrong one is told here as everywhere
    problems = verify_export(folder)
    lines = [f"BAD  {problem}" for problem in problems] or [f"ok   {folder} is what its {MANIFEST} says"]
    show({"folder": str(folder), "problems": problems}, as_json, lambda: iter(lines))
    return Exit.FAULT if problems else Exit.DONE


def _cut(connection: Connection[DictRow], clock: Clock, recorded: RecordedAsOf, called: str) -> AsOf:
    """Where the log is cut: at the end of a transaction. Refuses: InvalidArgument, by the option's name."""
    try:
        return as_of(connection, clock, None, recorded)
    except InvalidArgument as refusal:
        raise InvalidArgument(called, refusal.reason) from None


def lines_of_export(manifest: Manifest, folder: Path) -> Iterator[str]:
    """What was written, and the hash by which it is known again: the manifest's, which has that of the file."""
    written, positions = manifest.written, manifest.positions
    stretch = "no events" if positions.first is None else f"positions {positions.first:,} to {positions.last:,}"
    yield f"{written.file}: {manifest.rows:,} rows, {stretch}, {written.size:,} bytes, sha256 {written.sha256}"
    yield f"{MANIFEST}: sha256 {sha256_of(folder / MANIFEST)}"
