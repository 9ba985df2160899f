"""Events as Parquet, from the pages of CSV that PostgreSQL renders."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pc

from ledger.store.mapper import COLUMNS
from service.audit.event_exports import EVENTS, OF
from service.audit.parquet_file import AMOUNT, INSTANT, metadata_of, parquet_writer

REQUIRED = frozenset(COLUMNS[: COLUMNS.index("correlation_id")]) | {"data"}
"""The columns that every event has."""
NUMBERS = {"version": pa.int32(), "schema_version": pa.int16(), "terms_version": pa.int32()}
"""Of fewer bits than positions."""
TEXTS = pa.list_(pa.string())
TYPES = {"text": pa.string(), "json": pa.string(), "texts": TEXTS, "credits": AMOUNT, "instant": INSTANT}
SCHEMA = pa.schema(
    [
        pa.field(
            column,
            NUMBERS.get(column, pa.int64()) if OF.get(column) == "number" else TYPES[OF.get(column, "text")],
            nullable=column not in REQUIRED,
        )
        for column in COLUMNS
    ]
)
GROUPS = COLUMNS.index("account_groups")
PARSE = pc.ParseOptions(newlines_in_values=True)
CONVERT = pc.ConvertOptions(
    column_types={field.name: pa.string() if field.name == "account_groups" else field.type for field in SCHEMA},
    null_values=[""],
    strings_can_be_null=True,
    quoted_strings_can_be_null=False,
)


@contextmanager
def events_writer(
    out: BinaryIO, parameters: Mapping[str, str | None], as_of: Mapping[str, Any]
) -> Iterator[Callable[[bytes], None]]:
    """What writes a page of CSV, as a row group."""
    schema = SCHEMA.with_metadata(metadata_of(EVENTS, parameters, as_of))
    with parquet_writer(out, schema) as writer:

        def write_page(page: bytes) -> None:
            # In one block: where a block ends within a text, the reader may lose the end of a line.
            options = pc.ReadOptions(column_names=COLUMNS, use_threads=False, block_size=max(1, len(page)))
            read = pc.read_csv(pa.py_buffer(page), options, PARSE, CONVERT).combine_chunks()
            columns = [_groups(column) if place == GROUPS else column for place, column in enumerate(read.columns)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), max(1, read.num_rows))

        yield write_page


def _groups(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Arrays that are JSON, as lists; of few that are the same for many events each is read once."""
    told = texts.combine_chunks().dictionary_encode()
    lists = pa.array([json.loads(text) for text in told.dictionary.to_pylist()], TEXTS)
    return lists.take(told.indices)
