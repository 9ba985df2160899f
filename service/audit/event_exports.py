"""The log as a file: every column of every event of a stretch, in order, read a page after the other.

A log is its own snapshot, so each page is a transaction of its own; PostgreSQL renders the rows, in constant memory.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, LiteralString, TypeAlias

from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.store.database import Database, Role
from ledger.store.epochs import identity
from ledger.store.mapper import COLUMNS
from ledger.store.sql import statement
from projections.reports.report import AsOf
from service.audit.event_totals import UNITS, EventTotals
from service.audit.files import Fill, into
from service.audit.manifest import MANIFEST, Form, Manifest, Positions
from service.audit.text_files import csv_line

EVENTS = "events"
PAGE_EVENTS = 16_384
"""In Parquet a page is a row group."""
OF = {
    **dict.fromkeys(("position", "transaction_last", "version", "schema_version", "terms_version"), "number"),
    **dict.fromkeys(("recorded_at", "effective_at", "use_at"), "instant"),
    **dict.fromkeys(("amount", "lot_granted", "lot_used", "lot_balance", "pool_balance"), "credits"),
    "account_groups": "texts",
    "data": "json",
}
"""What columns hold that are no texts."""
Rendered: TypeAlias = bytes | bytearray | memoryview
Told = Callable[[int, int, float], None]
"""Is called with how many events are written, of how many, and how many a second."""


def export_events(
    database: Database,
    folder: Path,
    form: Form,
    *,
    after: int,
    as_of: AsOf,
    parameters: Mapping[str, str | None],
    told: Told = lambda done, total, per_second: None,
) -> Manifest:
    """Write the events after a position, up to that of `as_of`, with their manifest.

    Both positions are the ends of transactions. Refuses: ExportExists, before anything is written.
    """
    with (
        database.connect(Role.WRITER, default_transaction_read_only="on") as connection,  # readers have the view alone
        into(folder) as files,
    ):
        reading = _Reading(connection, after, as_of.position, told)
        clocks = as_of.data() | {"effectiveAsOf": None}  # a log has all there is, whenever it counts
        written = files.write(f"{EVENTS}.{form}", _filling(form, reading, parameters, clocks))
        manifest = Manifest(
            report=EVENTS,
            ledger=identity(connection),
            parameters=parameters,
            as_of=clocks,
            positions=Positions(after + 1 if after < as_of.position else None, as_of.position),
            form=form,
            columns=[{"name": column, "of": OF.get(column, "text")} for column in COLUMNS],
            rows=reading.totals.rows,
            units=UNITS,
            control_totals=reading.totals.told(),
            notes=(),
            written=written,
        )
        files.write(MANIFEST, lambda out: out.write(manifest.text().encode()))
    return manifest


class _Reading:
    """A stretch of the log on its way into a file, and its totals so far."""

    def __init__(self, connection: Connection[DictRow], after: int, until: int, told: Told) -> None:
        self._connection = connection
        self._after, self._until = after, until
        self._told = told
        self.totals = EventTotals()

    def write_csv(self, out: BinaryIO) -> None:
        out.write(csv_line(COLUMNS))
        self.each_page("copy_csv", out.writelines)

    def write_jsonl(self, out: BinaryIO) -> None:
        self.each_page("copy_jsonl", out.writelines)

    def each_page(self, copy: LiteralString, take: Callable[[Iterator[Rendered]], None]) -> None:
        """`take` gets the rows of a page after the other. If it fails, the copy is ended before anything else."""
        begun = time.monotonic()
        text = sql.SQL(_query(copy)).format(rows=sql.SQL(_query("events")))
        for after in range(self._after, self._until, PAGE_EVENTS):
            stretch = {"after": after, "until": min(after + PAGE_EVENTS, self._until)}
            with self._connection.cursor().copy(text, stretch) as page:
                take(iter(page))
            for row in self._connection.execute(_query("event_totals"), stretch):
                self.totals.take(row["kind"], row["currency"], row["type"], row["amount"], row["rows"])
            done = stretch["until"] - self._after
            self._told(done, self._until - self._after, done / max(time.monotonic() - begun, 0.001))


def _filling(form: Form, reading: _Reading, parameters: Mapping[str, str | None], clocks: Mapping[str, Any]) -> Fill:
    match form:
        case Form.CSV:
            return reading.write_csv
        case Form.JSONL:
            return reading.write_jsonl
        case Form.PARQUET:
            from service.audit.parquet_events import events_writer  # loading it takes longer than most commands

            def fill(out: BinaryIO) -> None:
                with events_writer(out, parameters, clocks) as write_page:
                    reading.each_page("copy_csv", lambda page: write_page(b"".join(page)))

            return fill


def _query(name: str) -> LiteralString:
    return statement("service.audit", f"queries/{name}.sql")
