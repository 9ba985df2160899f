"""Exported files read back by a stranger's means: pyarrow and the standard library."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from service.audit.manifest import Form


def read_back(path: Path, form: Form) -> list[dict[str, Any]]:
    """The rows by the file's names of columns: CSV has texts and nulls alone, the others what they hold."""
    match form:
        case Form.CSV:
            return _read_csv(path)
        case Form.JSONL:
            return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
        case Form.PARQUET:
            table: list[dict[str, Any]] = pq.read_table(path).to_pylist()
            return table


def _read_csv(path: Path) -> list[dict[str, Any]]:
    names = path.read_bytes().split(b"\n", 1)[0].decode().split(",")
    convert = pc.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )  # fmt: skip
    parse = pc.ParseOptions(newlines_in_values=True)
    rows: list[dict[str, Any]] = pc.read_csv(path, parse_options=parse, convert_options=convert).to_pylist()
    return rows
