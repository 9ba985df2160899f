"""A report as files: its rows in one of three forms, and the manifest that says what they are.

Law: the same report and the same ledger give the same bytes; no clock, no machine, no language of it goes in.
"""

import io
import zipfile
from functools import partial
from pathlib import Path

from ledger.store.epochs import Identity
from projections.reports.report import Column, Report, camel
from service.audit.files import Fill, into, write
from service.audit.manifest import MANIFEST, Form, Manifest, Positions, Written
from service.audit.text_files import write_csv, write_jsonl

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""What a zip has for the time of a file that has none."""
PLAIN_FILE = 0o100644 << 16
UNIX = 3


def write_export(report: Report, folder: Path, form: Form, *, ledger: Identity) -> Manifest:
    """Write `<name>.<form>` and `manifest.json`; the folder is made if there is none.

    Refuses: ExportExists, before anything is written; AmountTooLong (Parquet alone).
    """
    with into(folder) as files:
        manifest = manifest_of(report, form, ledger, files.write(_name(report, form), _filling(report, form)))
        files.write(MANIFEST, lambda out: out.write(manifest.text().encode()))
    return manifest


def zipped(report: Report, form: Form, *, ledger: Identity) -> bytes:
    """The same two files in one, not compressed: how well that is done differs between machines.

    Refuses: AmountTooLong (Parquet alone).
    """
    rows, whole = io.BytesIO(), io.BytesIO()
    manifest = manifest_of(report, form, ledger, write(_name(report, form), rows, _filling(report, form)))
    with zipfile.ZipFile(whole, "w") as archive:
        for name, data in ((manifest.written.file, rows.getvalue()), (MANIFEST, manifest.text().encode())):
            info = zipfile.ZipInfo(name, EARLIEST)
            info.create_system, info.external_attr = UNIX, PLAIN_FILE
            archive.writestr(info, data)
    return whole.getvalue()


def manifest_of(report: Report, form: Form, ledger: Identity, written: Written) -> Manifest:
    position = report.as_of.position
    return Manifest(
        report=report.name,
        ledger=ledger,
        parameters={camel(name): value for name, value in report.parameters.items()},
        as_of=report.as_of.data(),
        positions=Positions(1 if position else None, position),
        form=form,
        columns=[_told(column, form) for column in report.columns],
        rows=len(report.rows),
        units=[_called(unit, form) for unit in report.units],
        control_totals=report.control_totals(),
        notes=report.notes,
        written=written,
    )


def _told(column: Column, form: Form) -> dict[str, str | bool]:
    told: dict[str, str | bool] = {"name": _called(column.name, form), "of": column.of.value}
    return told | {"summed": True} if column.summed else told


def _called(name: str, form: Form) -> str:
    """What the file calls a column: JSON has the wire's names."""
    return camel(name) if form is Form.JSONL else name


def _name(report: Report, form: Form) -> str:
    return f"{report.name}.{form}"


def _filling(report: Report, form: Form) -> Fill:
    match form:
        case Form.CSV:
            return partial(write_csv, report)
        case Form.JSONL:
            return partial(write_jsonl, report)
        case Form.PARQUET:
            from service.audit.parquet_file import write_parquet  # loading it takes longer than most commands

            return partial(write_parquet, report)
