"""The lines of a log from an export of its events: JSONL, CSV or Parquet by the file's ending, beside `manifest.json`.

The file has the log's columns by their names. Amounts are texts with 9 places, instants are texts in ISO 8601 with 6
fraction digits and `Z`; Parquet has types of its own for both. In JSONL `data` is an object and `account_groups` an
array; in CSV both are JSON texts, and an empty field without quotes is no value. The manifest tells the file's `sha256`
and `rows`, and which `ledger` it is of.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ledger.domain.audit.lines import DOCUMENT_ALONE, NO_DATA, NULL, Line, text_of_instant
from ledger.domain.events import Refunded
from ledger.store.mapper import escape_copy
from projections.audit.csv_rows import csv_rows
from projections.audit.refusals import ExportDamaged
from projections.audit.sources import in_blocks

MANIFEST = "manifest.json"
BATCH_ROWS = 10_000
INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.(\d{6})Z", re.ASCII)
AMOUNT = re.compile(r"-?\d+\.\d{9}", re.ASCII)
UNREADABLE = (OSError, ArithmeticError, LookupError, TypeError, ValueError)


class Manifest(NamedTuple):
    """What a manifest tells of an export that a replay has to know."""

    ledger_id: str
    epoch: str
    rows: int
    sha256: str


class ExportLines:
    """The lines of an export; of a part of it, if it ends at a position or an instant."""

    def __init__(self, path: Path, manifest: Manifest, to: int | datetime | None) -> None:
        self._path, self._to = path, to
        self.kind = path.suffix.removeprefix(".")
        self.manifest = manifest
        self.until = min(manifest.rows, to) if isinstance(to, int) else manifest.rows

    @classmethod
    def opened(cls, path: Path, to: int | datetime | None) -> "ExportLines":
        """An export that is what its manifest says. Refuses: ExportDamaged."""
        if path.suffix not in RECORDS:
            raise ExportDamaged(path.name, f"must end with one of {', '.join(RECORDS)}")
        return cls(path, _manifest_of(path), to)

    def refunded(self) -> Set[str]:
        try:
            return set(REFUNDED[self._path.suffix](self._path))
        except UNREADABLE as error:
            raise ExportDamaged(self._path.name, f"cannot be read: {error}") from error

    def blocks(self) -> Iterator[list[bytes]]:
        return in_blocks(f"{line}\n".encode() for line in self._lines())

    def _lines(self) -> Iterator[str]:
        to, rows = self._to, 0
        last = to if isinstance(to, int) else None
        latest = text_of_instant(to) if isinstance(to, datetime) else None
        try:
            for record in RECORDS[self._path.suffix](self._path):
                rows += 1
                line = Line._make(_text(name, record[name]) for name in Line._fields)
                position = int(line.position)
                if rows == 1 and position != 1:
                    raise ExportDamaged(self._path.name, f"begins at position {position}: a replay needs the whole log")
                if (last is not None and position > last) or (latest is not None and line.recorded_at > latest):
                    return
                if position == last:
                    last = int(line.transaction_last)
                yield "\t".join(line)
        except UNREADABLE as error:
            raise ExportDamaged(self._path.name, f"row {rows}: {error!r}") from error
        if rows != self.manifest.rows:
            raise ExportDamaged(self._path.name, f"has {rows} rows, the manifest says {self.manifest.rows}")


def _manifest_of(path: Path) -> Manifest:
    """Refuses: ExportDamaged."""
    try:
        told = json.loads((path.parent / MANIFEST).read_text(encoding="utf-8"))
        manifest = Manifest(told["ledger"]["id"], told["ledger"]["epoch"], told["rows"], told["sha256"])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except UNREADABLE as error:
        raise ExportDamaged(path.name, f"cannot be read beside its {MANIFEST}: {error}") from error
    if digest != manifest.sha256:
        raise ExportDamaged(path.name, f"has the SHA-256 {digest}, the manifest says {manifest.sha256}")
    return manifest


def _text(name: str, value: Any) -> str:
    """A value as a line has it."""
    if value is None:
        return NULL
    convert = CONVERSIONS.get(name)
    return escape_copy(value) if convert is None else convert(value)


@lru_cache(maxsize=4096)
def _instant(text: str | datetime) -> str:
    if isinstance(text, datetime):
        return text_of_instant(text)
    found = INSTANT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no instant with 6 fraction digits and Z")
    return (
        f"{found[1]} {found[2]}.{found[3]}".rstrip("0").rstrip(".") + "+00"
        if int(found[3])
        else (f"{found[1]} {found[2]}+00")
    )


def _number(value: Any) -> str:
    return str(int(value))


def _amount(value: str | Decimal) -> str:
    text = f"{value:f}" if isinstance(value, Decimal) else value
    if AMOUNT.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no amount with 9 places")
    return text


def _data(value: Any) -> str:
    """As PostgreSQL writes it, but for the order of keys."""
    if isinstance(value, str):
        if value == NO_DATA or DOCUMENT_ALONE(value):
            return value
        value = json.loads(value)
    return escape_copy(json.dumps(value, ensure_ascii=False)) if value else NO_DATA


def _array(value: Any) -> str:
    texts = json.loads(value) if isinstance(value, str) else value
    quoted = ('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts)
    return escape_copy("{" + ",".join(quoted) + "}")


CONVERSIONS: Mapping[str, Callable[[Any], str]] = {
    **dict.fromkeys(("position", "transaction_last", "version", "schema_version", "terms_version"), _number),
    **dict.fromkeys(("recorded_at", "effective_at", "use_at"), _instant),
    **dict.fromkeys(("amount", "lot_granted", "lot_used", "lot_balance", "pool_balance"), _amount),
    "account_groups": _array,
    "data": _data,
}


def _of_jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)


def _of_csv(path: Path) -> Iterator[Mapping[str, Any]]:
    rows = csv_rows(path)
    titles = next(rows, [])
    for row in rows:
        yield dict(zip(titles, row, strict=True))  # type: ignore[arg-type]  # a title that is empty is none of ours


def _of_parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    return _rows(_parquet_batches(path, Line._fields))


def _parquet_batches(path: Path, columns: Iterable[str]) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        yield from file.iter_batches(BATCH_ROWS, columns=list(columns))


def _rows(batches: Iterator[Any]) -> Iterator[Mapping[str, Any]]:
    for batch in batches:
        yield from batch.to_pylist()


def _refunded_of_jsonl(path: Path) -> Iterator[str]:
    mark = json.dumps(Refunded.TOPIC).encode()
    with path.open("rb") as file:
        for line in file:
            if mark in line and (record := json.loads(line))["type"] == Refunded.TOPIC:
                yield record["debit_id"]


def _refunded_of(rows: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    return (row["debit_id"] for row in rows if row["type"] == Refunded.TOPIC)


RECORDS: Mapping[str, Callable[[Path], Iterator[Mapping[str, Any]]]] = {
    ".jsonl": _of_jsonl,
    ".csv": _of_csv,
    ".parquet": _of_parquet,
}
REFUNDED: Mapping[str, Callable[[Path], Iterator[str]]] = {
    ".jsonl": _refunded_of_jsonl,
    ".csv": lambda path: _refunded_of(_of_csv(path)),
    ".parquet": lambda path: _refunded_of(_rows(_parquet_batches(path, ("type", "debit_id")))),
}
