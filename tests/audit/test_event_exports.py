"""The log as a file: every form says of every event what the table says, from any position to any other."""

import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from psycopg.rows import DictRow

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger, Receipt
from ledger.domain.credits import credits_column, credits_text
from ledger.domain.instants import instant_from_text, instant_text
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from ledger.store.mapper import COLUMNS
from projections.audit.csv_rows import csv_rows
from projections.reports.report import AsOf
from service.audit import event_exports, files, verification
from service.audit.manifest import Form
from service.cli.export_events import export_events_command, verify_export_command
from service.cli.frame import run
from tests.audit.reading import read_back
from tests.conftest import Hands
from tests.history import Play, histories

AMOUNTS = ("amount", "lot_granted", "lot_used", "lot_balance", "pool_balance")
INSTANTS = ("recorded_at", "effective_at", "use_at")
NUMBERS = ("position", "transaction_last", "version", "schema_version", "terms_version")
ODD = '=1+1, "\u00e4\U0001f600\u2028\r\n\t\\'
BLOCK_BYTES = 4096
"""A row is shorter, the log is many times longer."""
MOST = "9999999999999999999.999999999"
every_form = pytest.mark.parametrize("form", Form)


@dataclass(frozen=True)
class Log:
    """A ledger that much has happened in, and every row of its log."""

    database: Database
    rows: list[DictRow]

    @property
    def head(self) -> int:
        return len(self.rows)

    @property
    def clocks(self) -> AsOf:
        recorded_at = self.rows[-1]["recorded_at"]
        return AsOf(recorded_at, self.head, recorded_at, final=True)

    @property
    def settings(self) -> dict[str, str]:
        database = {"LEDGER_DATABASE_URL": self.database.dsn, "LEDGER_SCHEMA": self.database.schema}
        return database | {"LEDGER_TEST_CLOCK": "1"}

    def export(self, folder: Path, form: Form, *options: str) -> dict[str, Any]:
        """Export with the command; what its manifest says."""
        ended, says = self.run("--out", str(folder), "--format", form.value, *options)
        assert ended == 0, says
        return manifest_of(folder)

    def run(self, *arguments: str) -> tuple[int, str]:
        """The command's exit code, and what it says on stderr."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in self.settings.items():
                patch.setenv(name, value)
            ended = run(export_events_command, list(arguments))
        return ended, err.getvalue()

    def inside_a_transaction(self) -> DictRow:
        """The first of three events of one transaction, far from both ends of the log."""
        return next(row for row in self.rows[self.head // 3 :] if row["transaction_last"] >= row["position"] + 2)


@pytest.fixture(scope="module")
def log(schema: Database) -> Iterator[Log]:
    """Some histories of the same holders after one another, and what may be hard to tell."""
    hands = Hands(schema)
    with CreditLedger(schema, clock=settable_clock()) as ledger:
        books = BlockingLedger(ledger)

        @settings(max_examples=4, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
        @given(acts=histories)
        def play(acts: list[Any]) -> None:
            Play(books, hands).all(acts)

        play()
        hands.set(hands.now + timedelta(microseconds=1))
        whose: Any = {"holder": ODD, "currency": ODD, "resource": ODD}
        for amount in (MOST, "0.0000001"):
            books.issue_grant(**whose, amount=amount, display_name="g", grant_type="PAID")
        books.consume(**whose, amount=MOST, account_groups=["a\\", ODD])
        few = books.consume_many([ConsumeCredits(**whose, amount="0.000000001") for _ in range(100)])
        assert all(isinstance(outcome, Receipt) for outcome in few)
    with schema.connect(Role.WRITER) as connection:
        yield Log(schema, connection.execute("SELECT * FROM events ORDER BY position").fetchall())


def manifest_of(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return told


def in_words(row: DictRow) -> dict[str, Any]:
    """A row of the table as JSON lines tell it."""
    told = dict(row)
    for name in AMOUNTS:
        told[name] = None if row[name] is None else credits_column(row[name])
    for name in INSTANTS:
        instant = row[name]
        told[name] = None if instant is None else instant.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    return told


def from_file(form: Form, row: dict[str, Any]) -> dict[str, Any]:
    """A row of a file in the same words."""
    if form is Form.JSONL:
        return row
    told = dict(row)
    told["data"] = json.loads(row["data"])
    if form is Form.CSV:
        told |= {name: None if row[name] is None else int(row[name]) for name in NUMBERS}
        told["account_groups"] = None if row["account_groups"] is None else json.loads(row["account_groups"])
        return told
    for name in AMOUNTS:
        assert row[name] is None or isinstance(row[name], Decimal)
        told[name] = None if row[name] is None else f"{row[name]:f}"
    for name in INSTANTS:
        instant = row[name]
        told[name] = None if instant is None else instant.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    return told


def rows_of(folder: Path, form: Form) -> list[dict[str, Any]]:
    return [from_file(form, row) for row in read_back(folder / f"events.{form}", form)]


@every_form
def test_a_file_agrees_with_the_table_event_by_event(log: Log, form: Form, tmp_path: Path) -> None:
    log.export(tmp_path, form)
    rows = rows_of(tmp_path, form)
    assert [list(row) for row in rows] == [list(COLUMNS)] * log.head
    assert rows == [in_words(row) for row in log.rows]


@every_form
def test_pages_lose_nothing_and_repeat_nothing(
    log: Log, form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_exports, "PAGE_EVENTS", 97)
    told = log.export(tmp_path, form)
    assert rows_of(tmp_path, form) == [in_words(row) for row in log.rows]
    assert told["rows"] == log.head
    if form is Form.PARQUET:
        assert pq.ParquetFile(tmp_path / "events.parquet").num_row_groups == -(-log.head // 97)


def test_parquet_says_which_columns_every_event_has_and_how_wide_they_are(log: Log, tmp_path: Path) -> None:
    log.export(tmp_path, Form.PARQUET)
    schema = pq.read_schema(tmp_path / "events.parquet")
    with log.database.connect(None) as connection:
        required = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'events'::regclass AND attnum > 0 AND attnotnull"
        ).fetchall()
    assert {field.name for field in schema if not field.nullable} == {row["attname"] for row in required}
    types = {name: str(schema.field(name).type) for name in ("position", "version", "schema_version", "amount")}
    assert types == {
        "position": "int64", "version": "int32", "schema_version": "int16", "amount": "decimal128(38, 9)",
    }  # fmt: skip
    assert str(schema.field("recorded_at").type) == "timestamp[us, tz=UTC]"


def test_the_control_totals_are_those_of_the_log(log: Log, tmp_path: Path) -> None:
    """By kind and currency, each sum without its sign; every event is counted once."""
    told = log.export(tmp_path, Form.JSONL)
    assert told["rows"] == sum(total["rows"] for total in told["controlTotals"]) == log.head
    names = {"ledger.granted": "granted", "ledger.debited": "debited", "ledger.refunded": "refunded"}
    names |= {"ledger.voided": "voided", "ledger.expired": "expired"}
    for total in told["controlTotals"]:
        unit = (total["kind"], total["currency"])
        rows = [row for row in log.rows if (row["kind"], row["currency"]) == unit]
        assert total["rows"] == len(rows)
        for topic, name in names.items():
            moved = sum(abs(row["amount"]) for row in rows if row["type"] == topic)
            assert total[name] == credits_text(moved), (unit, name)
    assert all(any(total[name] != "0" for total in told["controlTotals"]) for name in names.values())


def test_the_manifest_names_the_ledger_the_stretch_and_the_clock(log: Log, tmp_path: Path) -> None:
    told = log.export(tmp_path, Form.CSV, "--to", str(log.head))
    with log.database.connect(Role.READER) as connection:
        ledger = connection.execute("SELECT ledger_id, epoch FROM log_meta").fetchone()
    assert ledger is not None
    assert told["ledger"] == {"id": ledger["ledger_id"], "epoch": ledger["epoch"]}
    assert told["positions"] == {"first": 1, "last": log.head}
    assert told["parameters"] == {"from": None, "to": str(log.head)}
    assert told["asOf"] == {
        "effectiveAsOf": None,
        "recordedAsOf": str(log.head),
        "recordedAt": instant_text(log.rows[-1]["recorded_at"]),
        "final": True,
    }
    assert [column["name"] for column in told["columns"]] == list(COLUMNS)


@every_form
def test_a_transaction_is_never_cut_and_stretches_side_by_side_have_every_event_once(
    log: Log, form: Form, tmp_path: Path
) -> None:
    """Two exports that meet inside a transaction: the first has the whole of it, the second begins after it."""
    inside = log.inside_a_transaction()
    first = log.export(tmp_path / "first", form, "--to", str(inside["position"]))
    assert first["positions"] == {"first": 1, "last": inside["transaction_last"]}
    second = log.export(tmp_path / "second", form, "--from", str(inside["position"] + 1))
    assert second["positions"] == {"first": inside["transaction_last"] + 1, "last": log.head}
    rows = rows_of(tmp_path / "first", form) + rows_of(tmp_path / "second", form)
    assert rows == [in_words(row) for row in log.rows]


def test_an_instant_means_what_was_recorded_at_or_before_it(log: Log, tmp_path: Path) -> None:
    recorded_at = log.rows[log.head // 2]["recorded_at"]
    until = [row for row in log.rows if row["recorded_at"] <= recorded_at]
    told = log.export(tmp_path / "at", Form.CSV, "--to", instant_text(recorded_at))
    assert told["positions"]["last"] == len(until)
    before = recorded_at - timedelta(microseconds=1)
    told = log.export(tmp_path / "before", Form.CSV, "--to", instant_text(before))
    assert told["positions"]["last"] == len([row for row in log.rows if row["recorded_at"] <= before])
    assert instant_from_text(told["asOf"]["recordedAt"], field="recordedAt") <= before


@every_form
def test_what_comes_after_the_head_is_an_export_without_rows(log: Log, form: Form, tmp_path: Path) -> None:
    told = log.export(tmp_path, form, "--from", str(log.head + 1))
    assert (told["rows"], told["positions"]) == (0, {"first": None, "last": log.head})
    assert rows_of(tmp_path, form) == []
    assert run(verify_export_command, [str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--to", "{beyond}"), "error: --to must not be beyond the head of the log"),
        (("--from", "{beyond}", "--to", "5"), "error: --from must not be beyond"),
        (("--from", "9", "--to", "3"), "error: --from must not be beyond what comes next, "),
        (("--to", "soon"), "error: --to must be a position of the log, or an instant like"),
        (("--from", "0"), "Error: Invalid value for '--from'"),
    ],
)
def test_a_stretch_that_is_none_is_refused(log: Log, options: tuple[str, ...], says: str, tmp_path: Path) -> None:
    given_options = [option.format(beyond=log.head + 2) for option in options]
    ended, err = log.run("--out", str(tmp_path / "out"), "--format", "csv", *given_options)
    assert ended == 2
    assert says in err
    assert not (tmp_path / "out").exists()


def test_the_same_stretch_is_the_same_bytes_and_another_is_not_written_over_it(log: Log, tmp_path: Path) -> None:
    log.export(tmp_path, Form.CSV, "--to", str(log.head))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    log.export(tmp_path, Form.CSV, "--to", str(log.head))
    ended, says = log.run("--out", str(tmp_path), "--format", "csv", "--to", "5")
    assert (ended, says.splitlines()[-1]) == (
        3,
        "error: events.csv exists and is another export: nothing was written",
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_process_in_another_zone_and_language_writes_the_same_bytes(log: Log, tmp_path: Path) -> None:
    program = (
        "import sys; from service.cli.frame import run; from service.cli.export_events import export_events_command\n"
        "for form in ('csv', 'jsonl', 'parquet'):\n"
        "    assert run(export_events_command, ['--out', sys.argv[1] + form, '--format', form]) == 0"
    )
    elsewhere = {"TZ": "Asia/Kathmandu", "PGTZ": "Asia/Kathmandu", "LC_ALL": "C"}
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)} | log.settings | elsewhere
    subprocess.run([sys.executable, "-c", program, f"{tmp_path}/there-"], env=environment, check=True, timeout=60)
    for form in Form:
        log.export(tmp_path / form, form)
        for name in (f"events.{form}", "manifest.json"):
            assert (tmp_path / form / name).read_bytes() == (tmp_path / f"there-{form}" / name).read_bytes()


@every_form
def test_an_event_that_was_taken_out_is_found_without_a_database(log: Log, form: Form, tmp_path: Path) -> None:
    log.export(tmp_path, form)
    assert run(verify_export_command, [str(tmp_path)]) == 0
    path = tmp_path / f"events.{form}"
    if form is Form.PARQUET:
        table = pq.read_table(path)
        pq.write_table(table.slice(0, table.num_rows - 1), path)
    else:
        begins = {Form.CSV: f"\n{log.head},", Form.JSONL: f'\n{{"position":{log.head},'}[form].encode()
        path.write_bytes(path.read_bytes()[: path.read_bytes().rindex(begins) + 1])
    out = io.StringIO()
    with redirect_stdout(out):
        assert run(verify_export_command, [str(tmp_path)]) == 1
    assert f"BAD  rows of events.{form}: {log.head - 1}, the manifest says {log.head}\n" in out.getvalue()
    found, told = (f"1{'0' * 19}.0000000{last}" for last in (98, 99))
    assert f"BAD  debited of CREDIT_GRANT {ODD}: {found}, the manifest says {told}\n" in out.getvalue()


def test_texts_with_line_ends_are_verified_as_they_are(log: Log, tmp_path: Path) -> None:
    log.export(tmp_path, Form.CSV)
    assert verification.verify_export(tmp_path) == []
    titles, *rows = csv_rows(tmp_path / "events.csv")
    assert [dict(zip(titles, row, strict=True))["holder"] for row in rows] == [row["holder"] for row in log.rows]
    assert any("\r\n" in row["holder"] for row in log.rows)


@every_form
def test_an_export_that_ends_early_leaves_nothing(log: Log, form: Form, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, per_second: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        event_exports.export_events(
            log.database, tmp_path, form, after=0, as_of=log.clocks, parameters={}, told=interrupt
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@every_form
def test_a_disk_that_is_full_ends_an_export_while_there_is_more_to_come(
    log: Log, form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BUFFER_BYTES", 1024)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            event_exports.export_events(log.database, tmp_path, form, after=0, as_of=log.clocks, parameters={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
