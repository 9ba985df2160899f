"""Reports as Parquet: typed columns, exact decimals, row groups of one size.

The same version of pyarrow writes the same bytes; no time and no machine is in them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ledger.domain.credits import PLACES, credits_decimal, credits_text
from projections.reports.report import Column, Of, Report, camel
from service.audit.export_refusals import AmountTooLong

DIGITS_MAX = 38
ROW_GROUP_ROWS = 65_536
AMOUNT = pa.decimal128(DIGITS_MAX, PLACES)
INSTANT = pa.timestamp("us", "UTC")
TYPES = {
    Of.TEXT: pa.string(),
    Of.CREDITS: AMOUNT,
    Of.MONEY: AMOUNT,
    Of.NUMBER: pa.int64(),
    Of.INSTANT: INSTANT,
    Of.FLAG: pa.bool_(),
}


def parquet_writer(out: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    """Everything that decides on the bytes is said here, whatever the defaults become."""
    return pq.ParquetWriter(
        out, schema, version="2.6", compression="zstd", compression_level=3, use_dictionary=True, write_statistics=True
    )


def write_parquet(report: Report, out: BinaryIO) -> None:
    """Refuses: AmountTooLong."""
    fields = [pa.field(column.name, TYPES[column.of]) for column in report.columns]
    schema = pa.schema(fields, metadata=_metadata(report))
    with parquet_writer(out, schema) as writer:
        for rows in _groups(report.rows):
            values = zip(*rows, strict=True)
            arrays = [pa.array(_values(*each), TYPES[each[0].of]) for each in zip(report.columns, values, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), ROW_GROUP_ROWS)


def metadata_of(name: str, parameters: Mapping[str, str | None], as_of: Mapping[str, Any]) -> dict[str, str]:
    """What a file tells of itself: what was asked, as of when."""
    return {"report": name, "parameters": json.dumps(dict(parameters)), "asOf": json.dumps(dict(as_of))}


def _metadata(report: Report) -> dict[str, str]:
    parameters = {camel(name): value for name, value in report.parameters.items()}
    return metadata_of(report.name, parameters, report.as_of.data())


def _groups(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), ROW_GROUP_ROWS):
        yield rows[start : start + ROW_GROUP_ROWS]


def _values(column: Column, values: Sequence[Any]) -> Sequence[Any]:
    if column.of not in (Of.CREDITS, Of.MONEY):
        return values
    for value in values:
        if value is not None and abs(value) >= 10**DIGITS_MAX:
            raise AmountTooLong(column.name, credits_text(value), DIGITS_MAX)
    return [None if value is None else credits_decimal(value) for value in values]
