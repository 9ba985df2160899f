"""The manifest of an export: what was asked, as of when, and what its file must hold, for whoever receives it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from ledger.store.epochs import Identity

MANIFEST = "manifest.json"
TOLD = {"report", "file", "format", "columns", "rows", "units", "controlTotals", "sha256", "bytes"}
"""What a file is held against."""


class Form(StrEnum):
    """What a file is written as; its name ends so."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Written(NamedTuple):
    """A file by its name, and what its bytes are."""

    file: str
    size: int
    sha256: str


class Positions(NamedTuple):
    """The stretch of the log that was read, both ends included; `first` is None where it has no event."""

    first: int | None
    last: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`columns` name those of the file as the file does; `units` are those that the control totals are told by."""

    report: str
    ledger: Identity
    parameters: Mapping[str, str | None]
    as_of: Mapping[str, Any]
    positions: Positions
    form: Form
    columns: Sequence[Mapping[str, Any]]
    rows: int
    units: Sequence[str]
    control_totals: Sequence[Mapping[str, Any]]
    notes: Sequence[str]
    written: Written

    def data(self) -> dict[str, Any]:
        """As JSON. The epoch is the one that the last position was recorded in: later ones do not change it."""
        return {
            "report": self.report,
            "ledger": {"id": self.ledger.ledger_id, "epoch": _epoch(self.ledger, self.positions.last)},
            "parameters": dict(self.parameters),
            "asOf": dict(self.as_of),
            "positions": self.positions._asdict(),
            "file": self.written.file,
            "format": self.form.value,
            "columns": [dict(column) for column in self.columns],
            "rows": self.rows,
            "units": list(self.units),
            "controlTotals": [dict(total) for total in self.control_totals],
            "notes": list(self.notes),
            "sha256": self.written.sha256,
            "bytes": self.written.size,
            "writer": _writer(self.form),
        }

    def text(self) -> str:
        """The file `manifest.json`."""
        return json.dumps(self.data(), indent=2, ensure_ascii=False) + "\n"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an export in a folder. Raises ValueError, where there is none that can be read."""
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{MANIFEST} is missing") from None
    except ValueError as error:
        raise ValueError(f"{MANIFEST} is not JSON: {error}") from None
    missing = TOLD - set(data)
    if missing:
        raise ValueError(f"{MANIFEST} does not tell {', '.join(sorted(missing))}")
    return dict(data)


def _epoch(ledger: Identity, position: int) -> str:
    return ledger.epoch_of(position) if position else ledger.epochs[0].epoch


def _writer(form: Form) -> dict[str, str]:
    """What wrote the file: the same version writes the same bytes."""
    writer = {"credit-ledger": version("credit-ledger")}
    return writer | {"pyarrow": version("pyarrow")} if form is Form.PARQUET else writer
