"""Reports as CSV and as JSON lines: UTF-8 without a mark, lines that end in one line feed."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

from projections.reports.report import Report, told

QUOTED = re.compile(r'[",\r\n]')


def write_csv(report: Report, out: BinaryIO) -> None:
    """RFC 4180 but for the line ends. Null is nothing at all, an empty text is `""`; no text is changed."""
    out.write(csv_line(column.name for column in report.columns))
    out.writelines(csv_line(map(told, report.columns, row)) for row in report.rows)


def write_jsonl(report: Report, out: BinaryIO) -> None:
    """An object a line, by the wire's names in the columns' order; amounts and instants are texts."""
    out.writelines(map(_json_line, report.told_rows()))


def csv_line(values: Iterable[Any]) -> bytes:
    return (",".join(map(_field, values)) + "\n").encode()


def _field(value: str | int | bool | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if not text or QUOTED.search(text) else text


def _json_line(row: Mapping[str, Any]) -> bytes:
    return (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
