"""Rows of CSV as exports write it: a field without quotes that is empty is no value, `""` is the empty text.

The reader of pyarrow loses the line feed of a quoted text where a block of the file ends before it, and that of Python
does not tell the two kinds of empty fields apart.
"""

import re
from collections.abc import Iterator
from pathlib import Path

FIELD = re.compile(r'(?:"((?:[^"]|"")*)"|([^,"]*))(,|\Z)')


def csv_rows(path: Path) -> Iterator[list[str | None]]:
    """The rows of a file, the titles first. Raises ValueError where it is no CSV."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for begun in file:
            row = begun
            while row.count('"') % 2:
                more = next(file, None)
                if more is None:
                    raise ValueError("a text in quotes does not end")
                row += more
            row = row.removesuffix("\n")
            yield _quoted(row) if '"' in row else [text or None for text in row.split(",")]


def _quoted(row: str) -> list[str | None]:
    fields: list[str | None] = []
    place, separator = 0, ","
    while separator:
        found = FIELD.match(row, place)
        if found is None:
            raise ValueError(f"no field begins at {row[place : place + 20]!r}")
        text, plain, separator = found.groups()
        fields.append(plain or None if text is None else text.replace('""', '"'))
        place = found.end()
    return fields
