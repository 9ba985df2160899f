"""Exports of a report: each form says exactly what the report says, in the same bytes wherever it is written."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ledger.store.epochs import Epoch, Identity
from projections.reports.report import AsOf, Column, Of, Report
from service.audit.export_refusals import AmountTooLong, ExportExists
from service.audit.exports import write_export, zipped
from service.audit.manifest import Form
from service.audit.parquet_file import ROW_GROUP_ROWS
from service.cli.export_events import verify_export_command
from service.cli.frame import run
from tests.audit.reading import read_back

ROOT = Path(__file__).parent.parent.parent
MOMENT = datetime(2026, 3, 5, 9, 30, 0, 123456, UTC)
WHOLE_SECOND = datetime(2026, 3, 31, tzinfo=UTC)
LEDGER = Identity("ledger-1", (Epoch("first", 0, None, None, None), Epoch("second", 40, MOMENT, "op", "restored")))
REPORT = Report(
    name="statement",
    parameters={"customer": "=1+1", "grant_type": None},
    as_of=AsOf(MOMENT, 40, WHOLE_SECOND, final=True),
    columns=(
        Column("kind"),
        Column("display_name"),
        Column("rolled_over_in", Of.CREDITS, summed=True),
        Column("cost", Of.MONEY, summed=True),
        Column("position", Of.NUMBER),
        Column("recorded_at", Of.INSTANT),
        Column("paid", Of.FLAG),
    ),
    rows=[
        ("CREDIT_GRANT", "plain", 12_500_000_000, 0, 1, MOMENT, True),
        ("CREDIT_GRANT", "", 10**28 - 1, -1, 2, WHOLE_SECOND, False),
        ("CREDIT_GRANT", None, -(10**28 - 1), None, None, None, None),
        ("EXECUTION_CREDIT", "=1+1", 10**9, 3 * 10**9, 2**62, MOMENT, True),
        ("EXECUTION_CREDIT", 'says "no, never"\r\n\tor maybe\\', -10, 7, 0, MOMENT, None),
        ("EXECUTION_CREDIT", "gr\u00fcn \u96ea \U0001f600 \u2028 end", 0, 10, -5, MOMENT, None),
    ],
    units=("kind",),
    notes=("One note.",),
)
"""What may be hard to tell apart, or to tell at all."""
CSV = (
    "kind,display_name,rolled_over_in,cost,position,recorded_at,paid\n"
    "CREDIT_GRANT,plain,12.5,0,1,2026-03-05T09:30:00.123456Z,true\n"
    'CREDIT_GRANT,"",9999999999999999999.999999999,-0.000000001,2,2026-03-31T00:00:00.000Z,false\n'
    "CREDIT_GRANT,,-9999999999999999999.999999999,,,,\n"
    "EXECUTION_CREDIT,=1+1,1,3,4611686018427387904,2026-03-05T09:30:00.123456Z,true\n"
    'EXECUTION_CREDIT,"says ""no, never""\r\n\tor maybe\\",-0.00000001,0.000000007,0,2026-03-05T09:30:00.123456Z,\n'
    "EXECUTION_CREDIT,gr\u00fcn \u96ea \U0001f600 \u2028 end,0,0.00000001,-5,2026-03-05T09:30:00.123456Z,\n"
)
JSONL_SECOND = (
    '{"kind":"CREDIT_GRANT","displayName":"","rolledOverIn":"9999999999999999999.999999999",'
    '"cost":"-0.000000001","position":2,"recordedAt":"2026-03-31T00:00:00.000Z","paid":false}'
)
JSONL_LAST = (
    '{"kind":"EXECUTION_CREDIT","displayName":"gr\u00fcn \u96ea \U0001f600 \u2028 end","rolledOverIn":"0",'
    '"cost":"0.00000001","position":-5,"recordedAt":"2026-03-05T09:30:00.123456Z","paid":null}'
)
every_form = pytest.mark.parametrize("form", Form)


def cells(form: Form, row: dict[str, Any]) -> tuple[Any, ...]:
    """What a file said of a row, as the report has it."""
    values: list[Any] = []
    for column, value in zip(REPORT.columns, row.values(), strict=True):
        if value is None or column.of is Of.TEXT:
            values.append(value)
        elif column.of in (Of.CREDITS, Of.MONEY):
            sign, digits, exponent = Decimal(value).as_tuple()
            assert isinstance(exponent, int)
            units = int("".join(map(str, digits))) * 10 ** (9 + exponent)
            values.append(-units if sign else units)
        elif form is Form.PARQUET:
            values.append(value)
        elif column.of is Of.INSTANT:
            values.append(datetime.fromisoformat(value))
        elif form is Form.CSV:
            values.append(int(value) if column.of is Of.NUMBER else {"true": True, "false": False}[value])
        else:
            values.append(value)
    return tuple(values)


def verified(folder: Path) -> tuple[int, str]:
    """The exit code of the command, and what it says."""
    out = io.StringIO()
    with redirect_stdout(out):
        ended = run(verify_export_command, [str(folder)])
    return ended, out.getvalue()


def shas() -> list[str]:
    """Of the zips of all forms."""
    return [hashlib.sha256(zipped(REPORT, form, ledger=LEDGER)).hexdigest() for form in Form]


@every_form
def test_a_file_holds_every_value_of_the_report_exactly(form: Form, tmp_path: Path) -> None:
    write_export(REPORT, tmp_path, form, ledger=LEDGER)
    rows = read_back(tmp_path / f"statement.{form}", form)
    assert [cells(form, row) for row in rows] == REPORT.rows


def test_the_bytes_of_csv_and_of_json_lines_are_these_for_ever(tmp_path: Path) -> None:
    write_export(REPORT, tmp_path / "csv", Form.CSV, ledger=LEDGER)
    assert (tmp_path / "csv" / "statement.csv").read_bytes().decode() == CSV
    write_export(REPORT, tmp_path / "jsonl", Form.JSONL, ledger=LEDGER)
    lines = (tmp_path / "jsonl" / "statement.jsonl").read_bytes().decode().split("\n")
    assert lines[1] == JSONL_SECOND
    assert lines[5:] == [JSONL_LAST, ""]


def test_a_parquet_file_has_types_and_says_what_it_is(tmp_path: Path) -> None:
    write_export(REPORT, tmp_path, Form.PARQUET, ledger=LEDGER)
    schema = pq.read_schema(tmp_path / "statement.parquet")
    amount, instant = pa.decimal128(38, 9), pa.timestamp("us", "UTC")
    assert schema.names == [column.name for column in REPORT.columns]
    assert schema.types == [pa.string(), pa.string(), amount, amount, pa.int64(), instant, pa.bool_()]
    assert set(schema.metadata) == {b"report", b"parameters", b"asOf"}
    assert json.loads(schema.metadata[b"asOf"]) == REPORT.as_of.data()


def test_a_parquet_file_of_many_rows_has_row_groups_of_one_size(tmp_path: Path) -> None:
    rows = [(number,) for number in range(ROW_GROUP_ROWS + 1)]
    report = replace(REPORT, columns=(Column("number", Of.NUMBER),), rows=rows, units=())
    write_export(report, tmp_path, Form.PARQUET, ledger=LEDGER)
    with pq.ParquetFile(tmp_path / "statement.parquet") as file:
        groups = [file.metadata.row_group(place).num_rows for place in range(file.num_row_groups)]
        assert groups == [ROW_GROUP_ROWS, 1]
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
        assert file.read()["number"].to_pylist() == list(range(ROW_GROUP_ROWS + 1))


def test_another_process_in_another_zone_and_language_writes_the_same_bytes() -> None:
    elsewhere = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", "from tests.audit.test_exports import shas; print(*shas())"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)} | elsewhere,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == shas()


@every_form
def test_the_manifest_says_what_was_asked_as_of_when_and_what_the_file_is(form: Form, tmp_path: Path) -> None:
    write_export(REPORT, tmp_path, form, ledger=LEDGER)
    told = json.loads((tmp_path / "manifest.json").read_bytes())
    data = (tmp_path / f"statement.{form}").read_bytes()
    assert (told["file"], told["format"], told["bytes"]) == (f"statement.{form}", form, len(data))
    assert told["sha256"] == hashlib.sha256(data).hexdigest()
    assert told["report"] == "statement"
    assert told["ledger"] == {"id": "ledger-1", "epoch": "first"}, "that of position 40, whatever has begun since"
    assert told["parameters"] == {"customer": "=1+1", "grantType": None}
    assert told["asOf"] == {
        "effectiveAsOf": "2026-03-05T09:30:00.123456Z",
        "recordedAsOf": "40",
        "recordedAt": "2026-03-31T00:00:00.000Z",
        "final": True,
    }
    assert told["positions"] == {"first": 1, "last": 40}
    assert told["rows"] == 6
    assert told["controlTotals"] == [
        {"kind": "CREDIT_GRANT", "rows": 3, "rolledOverIn": "12.5", "cost": "-0.000000001"},
        {"kind": "EXECUTION_CREDIT", "rows": 3, "rolledOverIn": "0.99999999", "cost": "3.000000017"},
    ]
    assert told["notes"] == ["One note."]
    assert told["columns"][2] == {
        "name": "rolledOverIn" if form is Form.JSONL else "rolled_over_in", "of": "credits", "summed": True,
    }  # fmt: skip
    assert ("pyarrow" in told["writer"]) == (form is Form.PARQUET)
    assert verified(tmp_path) == (0, f"ok   {tmp_path} is what its manifest.json says\n")


@every_form
def test_a_report_without_rows_is_an_export_too(form: Form, tmp_path: Path) -> None:
    nothing = replace(REPORT, rows=[], as_of=AsOf(MOMENT, 0, None, final=True))
    told = write_export(nothing, tmp_path, form, ledger=LEDGER).data()
    assert (told["rows"], told["controlTotals"], told["positions"]) == (0, [], {"first": None, "last": 0})
    assert verified(tmp_path) == (0, f"ok   {tmp_path} is what its manifest.json says\n")


@every_form
def test_a_zip_holds_the_files_that_a_folder_gets(form: Form, tmp_path: Path) -> None:
    write_export(REPORT, tmp_path, form, ledger=LEDGER)
    with zipfile.ZipFile(io.BytesIO(zipped(REPORT, form, ledger=LEDGER))) as archive:
        assert archive.namelist() == [f"statement.{form}", "manifest.json"]
        for name in archive.namelist():
            assert archive.read(name) == (tmp_path / name).read_bytes()
            info = archive.getinfo(name)
            assert info.compress_type == zipfile.ZIP_STORED, "compressors differ in their bytes"
            assert info.external_attr >> 16 == 0o100644


@pytest.mark.parametrize("name", ["statement.csv", "manifest.json"])
def test_nothing_is_written_over_what_says_something_else(name: str, tmp_path: Path) -> None:
    write_export(REPORT, tmp_path, Form.CSV, ledger=LEDGER)
    write_export(REPORT, tmp_path, Form.CSV, ledger=LEDGER)
    (tmp_path / name).write_text("mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ExportExists, match=re.escape(name)):
        write_export(REPORT, tmp_path, Form.CSV, ledger=LEDGER)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_amount_that_parquet_cannot_hold_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    longest = replace(REPORT, rows=[("CREDIT_GRANT", "g", 10**38 - 1, 0, 1, None, None)])
    write_export(longest, tmp_path / "longest", Form.PARQUET, ledger=LEDGER)
    [row] = read_back(tmp_path / "longest" / "statement.parquet", Form.PARQUET)
    assert row["rolled_over_in"] == Decimal("9" * 29 + "." + "9" * 9)
    longer = replace(REPORT, rows=[("CREDIT_GRANT", "g", -(10**38), 0, 1, None, None)])
    with pytest.raises(AmountTooLong, match="rolled_over_in has an amount of more than 38 digits, -1000"):
        write_export(longer, tmp_path / "longer", Form.PARQUET, ledger=LEDGER)
    assert list((tmp_path / "longer").iterdir()) == []
    write_export(longer, tmp_path / "text", Form.CSV, ledger=LEDGER)
    assert verified(tmp_path / "text")[0] == 0


def test_an_export_that_was_changed_is_found_with_all_that_differs(tmp_path: Path) -> None:
    write_export(REPORT, tmp_path, Form.CSV, ledger=LEDGER)
    path = tmp_path / "statement.csv"
    path.write_bytes(path.read_bytes().replace(b",12.5,", b",13.5,"))
    ended, says = verified(tmp_path)
    assert ended == 1
    assert f"sha256 of statement.csv: {hashlib.sha256(path.read_bytes()).hexdigest()}, the manifest says " in says
    assert "rolledOverIn of CREDIT_GRANT: 13.5, the manifest says 12.5" in says
    path.write_bytes(path.read_bytes() + b"CREDIT_GRANT,,1,,,,\n")
    assert "rows of statement.csv: 7, the manifest says 6" in verified(tmp_path)[1]
    path.write_bytes(path.read_bytes() + b"half a line")
    assert "statement.csv cannot be read" in verified(tmp_path)[1]
    path.unlink()
    assert verified(tmp_path) == (1, "BAD  statement.csv is missing\n")
    (tmp_path / "manifest.json").unlink()
    assert verified(tmp_path) == (1, "BAD  manifest.json is missing\n")


@every_form
def test_a_manifest_that_tells_other_figures_is_found(form: Form, tmp_path: Path) -> None:
    """Its file is as it was: rows and totals are read from there."""
    write_export(REPORT, tmp_path, form, ledger=LEDGER)
    manifest = tmp_path / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole.replace('"0.99999999"', '"1"'))
    assert "rolledOverIn of EXECUTION_CREDIT: 0.99999999, the manifest says 1\n" in verified(tmp_path)[1]
    manifest.write_text(whole.replace('"rows": 6', '"rows": 5'))
    assert "rows of statement" in verified(tmp_path)[1]
    manifest.write_text(whole.replace('"sha256"', '"sha"'))
    assert verified(tmp_path) == (1, "BAD  manifest.json does not tell sha256\n")
