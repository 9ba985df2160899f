"""What a replay has, held against what the read models have at the same position."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString, NamedTuple

from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.domain.audit.lines import NULL, unescaped
from ledger.store.sql import statement
from projections import registry
from projections.audit.states import COMPARED, Compared, Key, Rows
from projections.read_model import BALANCES, EXECUTION_CREDITS, LOTS, ReadModel
from projections.windows import window_end

WINDOW_EVENTS = 100_000
MODELS = (LOTS, BALANCES, EXECUTION_CREDITS)
"""What a replay is compared with."""


class Difference(NamedTuple):
    """Where a table is not what the replay has; without a column it is a whole row that is missing, or one too many."""

    table: str
    key: Mapping[str, str | None]
    column: str | None
    found: str | None
    expected: str | None

    def __str__(self) -> str:
        key = " ".join(f"{column}={'-' if value is None else value}" for column, value in self.key.items())
        if self.column is None:
            return f"{self.table} {key} {self.found or 'is missing'}"
        return f"{self.table} {key}: {self.column} is {self.found}, the log says {self.expected}"


class Comparison(NamedTuple):
    """How a read model compares. `position`: where; None: it was not compared, for the reason that `by` tells."""

    name: str
    position: int | None
    by: str
    rows: int = 0
    differences: int = 0
    first: Difference | None = None


@dataclass(frozen=True)
class Standing:
    """A read model that is to be compared: at a position, or why not."""

    name: str
    position: int | None
    by: str
    model: ReadModel | None = None
    beyond: int | None = None
    """Where it stands, if the log ends before that: what it has folded is there no more."""


class TemporaryBuild(ReadModel):
    """A build in a table that only its session sees."""

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier("pg_temp", f"{self.name}_{self.build}")


def standings(connection: Connection[DictRow], until: int, head: int) -> list[Standing]:
    """Where the read models stand that a replay up to a position is compared with."""
    known = {}
    if registry.is_there(connection):
        known = {each.model.name: each for each in registry.serving(connection, MODELS)}
    return [_standing(connection, model, known.get(model.name), until, head) for model in MODELS]


def compare(connection: Connection[DictRow], standing: Standing, expected: Rows) -> Comparison:
    """The rows that a read model has, in the snapshot of the caller's transaction. Uses up `expected`."""
    assert standing.model is not None
    return _compare(connection, standing.model, standing, expected)


def compare_folded(connection: Connection[DictRow], standing: Standing, expected: Rows) -> Comparison:
    """The rows that its fold.sql makes of the log up to there, in a table that is gone with the session."""
    assert standing.position is not None
    build, after = TemporaryBuild(standing.name), 0
    connection.execute(build.sql(build.schema_sql))
    while after < standing.position:
        until = min(window_end(connection, after, WINDOW_EVENTS), standing.position)
        build.fold(connection, after, until)
        after = until
    return _compare(connection, build, standing, expected)


def not_compared(standing: Standing) -> Comparison:
    return Comparison(standing.name, standing.beyond, standing.by, differences=int(standing.beyond is not None))


def _standing(
    connection: Connection[DictRow], model: ReadModel, known: registry.Known | None, until: int, head: int
) -> Standing:
    if known is None or not registry.has_table(connection, known.model):
        return Standing(model.name, None, "nothing serves")
    if known.position > head:
        return Standing(model.name, None, f"beyond the end of the log, {head}", beyond=known.position)
    skips = registry.skips_of(connection, model.name, after=0, until=min(known.position, until))
    if skips:
        return Standing(model.name, None, f"it leaves out {len(skips)} events, the first at position {skips[0]}")
    if known.position <= until:
        return Standing(model.name, known.position, "as it serves", known.model)
    return Standing(model.name, until, "folded again up to there")


def _compare(connection: Connection[DictRow], build: ReadModel, standing: Standing, expected: Rows) -> Comparison:
    compared = COMPARED[standing.name]
    rows, differences, first = 0, 0, None
    for key, found in _rows(connection, compared, build):
        rows += 1
        wanted = expected.pop(key, None)
        if wanted != found:
            differences += 1
            first = _earlier(first, _difference(standing.name, key, found, wanted))
    for key, wanted in expected.items():
        differences += 1
        first = _earlier(first, _difference(standing.name, key, None, wanted))
    expected.clear()
    return Comparison(standing.name, standing.position, standing.by, rows, differences, first)


def _rows(connection: Connection[DictRow], compared: Compared, build: ReadModel) -> Iterator[tuple[Key, Sequence[str]]]:
    columns = sql.SQL(", ").join(map(sql.Identifier, compared.columns))
    text: LiteralString = statement("projections.audit", "rows.sql")
    with connection.cursor() as cursor, cursor.copy(sql.SQL(text).format(columns=columns, table=build.table)) as copied:
        for line in copied:
            fields = tuple(bytes(line).decode().rstrip("\n").split("\t"))
            yield fields[: compared.key_size], fields[compared.key_size :]


def _difference(table: str, key: Key, found: Sequence[str] | None, wanted: Sequence[str] | None) -> Difference:
    compared = COMPARED[table]
    names = compared.columns
    told = dict(zip(names, map(_value, key), strict=False))
    if found is None or wanted is None:
        return Difference(table, told, None, None if found is None else "is one too many", None)
    column, is_found, is_wanted = next(
        each for each in zip(names[compared.key_size :], found, wanted, strict=True) if each[1] != each[2]
    )
    return Difference(table, told, column, _value(is_found), _value(is_wanted))


def _earlier(first: Difference | None, other: Difference) -> Difference:
    return other if first is None or _order(other) < _order(first) else first


def _order(difference: Difference) -> list[Any]:
    return [value or "" for value in difference.key.values()]


def _value(text: str) -> str | None:
    return None if text == NULL else unescaped(text)
