"""An export held against its manifest, without a database: for whoever received the files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from ledger.domain.credits import EXACT, PLACES, Credits
from projections.audit.csv_rows import csv_rows
from projections.reports.report import AsOf, Column, Of, Report
from service.audit.event_exports import EVENTS
from service.audit.event_totals import EventTotals
from service.audit.files import sha256_of
from service.audit.manifest import Form, read_manifest

TOTALLED = ("kind", "currency", "type", "amount")
"""The columns of events that their control totals come from."""
NOWHERE = AsOf(datetime.min.replace(tzinfo=UTC), 0, None, final=True)
Values: TypeAlias = tuple[Any, ...]


def verify_export(folder: Path) -> list[str]:
    """Hold the file in a folder against `manifest.json` beside it; returns in words all that differs.

    Bytes and hash, then rows and control totals as they are read from the file. That the manifest itself was changed is
    found by its own hash alone, which the export has told.
    """
    try:
        manifest = read_manifest(folder)
    except ValueError as error:
        return [str(error)]
    path = folder / Path(manifest["file"]).name
    if not path.is_file():
        return [f"{path.name} is missing"]
    found: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    try:
        found["rows"], totals = _recomputed(path, manifest)
        problems = list(_totals_that_differ(totals, manifest["controlTotals"]))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        problems = [f"{path.name} cannot be read: {error}"]
    facts = [
        f"{name} of {path.name}: {value}, the manifest says {manifest[name]}"
        for name, value in found.items()
        if value != manifest[name]
    ]
    return facts + problems


def _recomputed(path: Path, manifest: Mapping[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    """How many rows the file has, and their control totals."""
    form = Form(manifest["format"])
    if manifest["report"] == EVENTS:
        totals = EventTotals()
        for kind, currency, topic, amount in _rows(path, form, TOTALLED):
            totals.take(kind, currency, topic, _credits(amount))
        return totals.rows, totals.told()
    told = [Column(each["name"], Of(each["of"]), each.get("summed", False)) for each in manifest["columns"]]
    columns = tuple(column for column in told if column.summed or column.name in manifest["units"])
    rows = [
        tuple(_credits(value) if column.summed else value for column, value in zip(columns, row, strict=True))
        for row in _rows(path, form, [column.name for column in columns])
    ]
    read = Report(
        name=manifest["report"], parameters={}, as_of=NOWHERE, columns=columns, rows=rows,
        units=tuple(manifest["units"]),
    )  # fmt: skip
    return len(rows), read.control_totals()


def _rows(path: Path, form: Form, columns: Sequence[str]) -> Iterator[Values]:
    """The values of these columns, row by row."""
    match form:
        case Form.CSV:
            return _rows_of_csv(path, columns)
        case Form.JSONL:
            return _rows_of_jsonl(path, columns)
        case Form.PARQUET:
            return _rows_of_parquet(path, columns)


def _rows_of_csv(path: Path, columns: Sequence[str]) -> Iterator[Values]:
    rows = csv_rows(path)
    titles = next(rows, [])
    places = [titles.index(column) for column in columns]
    for row in rows:
        if len(row) != len(titles):
            raise ValueError(f"a row has {len(row)} fields, not {len(titles)}")
        yield tuple(row[place] for place in places)


def _rows_of_jsonl(path: Path, columns: Sequence[str]) -> Iterator[Values]:
    with path.open("rb") as lines:
        for line in lines:
            row = json.loads(line)
            yield tuple(row[column] for column in columns)


def _rows_of_parquet(path: Path, columns: Sequence[str]) -> Iterator[Values]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=list(columns)):
            yield from _rows_of_batch(batch)


def _rows_of_batch(batch: Any) -> Iterator[Values]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _credits(value: str | int | Decimal | None) -> Credits | None:
    """An amount as any of the forms has it; a number stays what it is."""
    if value is None or isinstance(value, int):
        return value
    return int(Decimal(value).scaleb(PLACES, EXACT))


def _totals_that_differ(found: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Each sum that is another, and units that only one of the two has."""
    of_unit = {_unit(total): total for total in found}
    expected = {_unit(total): total for total in told}
    for unit in sorted(of_unit.keys() | expected.keys()):
        here, there = of_unit.get(unit), expected.get(unit)
        if here is None or there is None:
            yield f"control totals of {' '.join(unit)}: only {'the manifest' if here is None else 'the file'} has them"
            continue
        for name in there:
            if here.get(name) != there[name]:
                yield f"{name} of {' '.join(unit)}: {here.get(name)}, the manifest says {there[name]}"


def _unit(total: Mapping[str, Any]) -> tuple[str, ...]:
    """What is told before the number of rows."""
    names = list(total)
    return tuple(str(total[name]) for name in names[: names.index("rows")])
