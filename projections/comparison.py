"""Two builds of a read model beside each other: how many rows differ, which, and since which position of the log.

All of it looks at one snapshot: whoever compares has a transaction open that sees both builds at one position.
"""

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection, sql
from psycopg.rows import DictRow

from projections.read_model import ReadModel
from projections.registry import skips_of
from projections.sql import query
from projections.windows import middle_of


class ChangedRow(NamedTuple):
    """A row before and after, by column: JSON with exact decimals. None where there is none."""

    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Comparison(NamedTuple):
    """How two builds differ at a position of the log.

    `parted_at` is the event at which their folds part: they have the same rows up to it, and behind it they have not.
    It is the first such event, unless they had come together again behind another. Where one fold made both, it is the
    first event that the rows which differ are made of. None if they are equal, if the log tells of none of them, or
    where it was not searched.
    """

    position: int
    rows_before: int
    rows_after: int
    changed: int
    added: int
    removed: int
    sample: Sequence[ChangedRow]
    same_fold: bool
    parted_at: int | None = None

    @property
    def differing(self) -> int:
        return self.changed + self.added + self.removed


def compare(
    connection: Connection[DictRow],
    before: ReadModel,
    after: ReadModel,
    position: int,
    *,
    sample_rows: int,
    parting: bool,
) -> Comparison:
    """Compare two builds that stand at `position` in this transaction; with `parting`, find where they part, too."""
    with differences(connection, before, after) as found:
        counted = connection.execute(found.sql("count_differences")).fetchone()
        assert counted is not None
        rows = connection.execute(found.sql("sample_differences"), {"limit": sample_rows})
        sample = [ChangedRow(_row(row["before"]), _row(row["after"])) for row in rows]
        compared = Comparison(position=position, sample=sample, same_fold=_same_fold(before, after), **counted)
        if not (parting and compared.differing):
            return compared
        return compared._replace(parted_at=_parted_at(connection, before, after, position, found))


def _row(text: str | None) -> Mapping[str, Any] | None:
    return None if text is None else json.loads(text, parse_float=Decimal)


class Differences:
    """The rows that only one of two builds has, in a table of the transaction that compares."""

    def __init__(self, connection: Connection[DictRow], before: ReadModel, after: ReadModel) -> None:
        columns = [_columns(connection, build) for build in (before, after)]
        names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns[1])
        same = columns[0] == columns[1]
        self.table = sql.Identifier(f"{after.name}_{after.build}_differences")
        self._parts = {
            "differences": self.table,
            "before": before.table,
            "after": after.table,
            "row": names if same else sql.SQL("to_jsonb(model) AS whole"),
            "columns": names if same else sql.SQL("whole"),
            "json": sql.SQL("to_jsonb(parted) - 'side'") if same else sql.SQL("whole"),
            "key": sql.SQL(", ").join(sql.SQL("told -> {}").format(name) for name in after.key),
        }

    def sql(self, name: str) -> sql.Composed:
        return sql.SQL(query(name)).format(**self._parts)


@contextmanager
def differences(connection: Connection[DictRow], before: ReadModel, after: ReadModel) -> Iterator[Differences]:
    found = Differences(connection, before, after)
    connection.execute(found.sql("find_differences"))
    yield found
    connection.execute(sql.SQL("DROP TABLE {}").format(found.table))


def _columns(connection: Connection[DictRow], build: ReadModel) -> list[tuple[str, str]]:
    rows = connection.execute(query("columns"), {"build_table": build.table.as_string(connection)})
    return [(row["name"], row["type"]) for row in rows]


def _same_fold(before: ReadModel, after: ReadModel) -> bool:
    return (before.schema_sql, before.fold_sql) == (after.schema_sql, after.fold_sql)


def _parted_at(
    connection: Connection[DictRow], before: ReadModel, after: ReadModel, position: int, found: Differences
) -> int | None:
    """Fold both texts again beside each other, halving the log, until the first event is left where they part.

    Where one text made both, it is folded beside nothing, and what counts is the first of the rows that differ.
    """
    first = None
    with connection.transaction() as scratch:
        folds = _Folds(connection, before, after, found)
        low, high = 0, position
        if folds.part(low, high):
            while (middle := middle_of(connection, low, high)) is not None:
                if folds.part(low, middle):
                    high = middle
                else:
                    folds.go_on(low, middle)
                    low = middle
            events = range(low + 1, high)
            first = low + 1 + bisect_left(events, True, key=lambda event: folds.part_within(low, event))
        raise psycopg.Rollback(scratch)
    return first


class _Folds:
    """Two builds in the making, for the time of a transaction; both stand at one position."""

    def __init__(
        self, connection: Connection[DictRow], before: ReadModel, after: ReadModel, found: Differences
    ) -> None:
        self._connection = connection
        self._same = _same_fold(before, after)
        self._before = replace(before, suffix=f"{before.suffix}_before")
        self._after = replace(after, suffix=f"{after.suffix}_after")
        self._found = found
        for build in (self._before, self._after):
            connection.execute(build.sql(build.schema_sql))

    def go_on(self, low: int, high: int) -> None:
        for build in [self._after] if self._same else [self._before, self._after]:
            skips = skips_of(self._connection, build.name, after=low, until=high)
            build.fold(self._connection, low, high, skips)

    def part(self, low: int, high: int) -> bool:
        """Whether they differ once (low, high] is folded; it is undone."""
        with self._connection.transaction() as attempt:
            self.go_on(low, high)
            if self._same:
                key = sql.SQL(", ").join(
                    sql.SQL("to_jsonb({})").format(sql.Identifier(name)) for name in self._after.key
                )
                text = sql.SQL(query("has_any")).format(key=key, table=self._after.table, differences=self._found.table)
                parted = self._connection.execute(text).fetchone() is not None
            else:
                with differences(self._connection, self._before, self._after) as between:
                    text = sql.SQL("SELECT FROM {} LIMIT 1").format(between.table)
                    parted = self._connection.execute(text).fetchone() is not None
            raise psycopg.Rollback(attempt)
        return parted

    def part_within(self, low: int, high: int) -> bool:
        """The same inside of a transaction; not where it cannot be folded cut there."""
        with suppress(psycopg.IntegrityError):
            return self.part(low, high)
        return False
