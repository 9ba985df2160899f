"""Verification: every row of every read model, held against a second folding of the log, which Python computes.

The log is read once, for all of them. What differs is told, never mended: a read model is made right by a rebuild.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import groupby
from operator import itemgetter
from typing import Any, LiteralString, NamedTuple, TypeAlias

from psycopg import Connection, ServerCursor, sql
from psycopg.postgres import types
from psycopg.rows import DictRow, TupleRow, tuple_row
from psycopg.types.string import TextLoader

from ledger.domain.credits import Credits, credits_from_column, credits_text
from ledger.domain.instants import Instant
from projections import registry
from projections.allocation_rules.replay import AllocationRulesReplay
from projections.balances.replay import BalancesReplay
from projections.entries.replay import EntriesReplay
from projections.execution_credits.replay import ExecutionCreditsReplay
from projections.group_sets.replay import GroupSetsReplay
from projections.group_usage.replay import GroupUsageReplay
from projections.lots.replay import LotsReplay
from projections.read_model import ReadModel
from projections.recharges.replay import RechargesReplay
from projections.refusals import CannotBeReplayed, TableMissing
from projections.replay import EventRow, Key, Replay, Rest
from projections.schedules.replay import SchedulesReplay
from projections.sql import query
from projections.usage.replay import UsageReplay

ROWS_AT_ONCE = 5_000
PART_EVENTS_MAX = 500_000
"""About how many events are replayed before what came of them is compared and forgotten: some 1 kB each."""
WHOLE: LiteralString = "0"
"""Stands for what is not replayed in parts."""
REPLAYS: Mapping[str, type[Replay[Any]]] = {
    "balances": BalancesReplay,
    "lots": LotsReplay,
    "entries": EntriesReplay,
    "schedules": SchedulesReplay,
    "recharges": RechargesReplay,
    "usage": UsageReplay,
    "execution_credits": ExecutionCreditsReplay,
    "allocation_rules": AllocationRulesReplay,
    "group_sets": GroupSetsReplay,
    "group_usage": GroupUsageReplay,
}
"""The second implementation of each read model, by its name."""
AMOUNTS = frozenset(
    (
        *("balance", "granted", "debited", "refunded", "voided", "expired", "used", "lowered"),
        *("credits", "cost_amount", "priority"),
    )
)
"""The columns that hold Credits; every other number is told as it is."""
MISSING: Any = object()
KeyAndRest: TypeAlias = tuple[Key, Rest]
"""A row, cut behind its key."""


class Subject(NamedTuple):
    """A table of a read model, how far it has come, and the positions of the events that it leaves out."""

    model: ReadModel
    table: sql.Identifier
    position: int
    skips: frozenset[int] = frozenset()


class Difference(NamedTuple):
    """Where a table is not what the log says: the row's key by column, the column, what it holds and should hold.

    Without a column it is a whole row: one that is missing (`found` is None) or one too many (`expected` is None).
    """

    model: str
    row: Mapping[str, object]
    column: str | None
    found: object
    expected: object

    def __str__(self) -> str:
        key = " ".join(f"{column}={'-' if value is None else value}" for column, value in self.row.items())
        if self.column is None:
            return f"{key} is missing" if self.found is None else f"{key} is one too many"
        found, expected = (self.shown(value) for value in (self.found, self.expected))
        return f"{key}: {self.column} is {found}, the log says {expected}"

    def shown(self, value: object) -> object:
        """A value of the column for people: amounts in credits."""
        return credits_text(value) if self.column in AMOUNTS and isinstance(value, int) else value


class Verified(NamedTuple):
    """How many rows a read model has, how many of them differ, are missing or too many, and the first by key."""

    model: str
    rows: int
    differences: int
    first: Difference | None

    def and_also(self, other: "Verified | None") -> "Verified":
        """The same read model, of another part of the log as well."""
        if other is None:
            return self
        firsts = sorted(
            (each for each in (self.first, other.first) if each), key=lambda each: _order(each.row.values())
        )
        return Verified(
            self.model, self.rows + other.rows, self.differences + other.differences, firsts[0] if firsts else None
        )


class Part(NamedTuple):
    """One of some parts of the log: the events of which `of`, a number in SQL, leaves `number` when divided by them."""

    of: LiteralString
    parts: int
    number: int


def verify(
    connection: Connection[DictRow],
    subjects: Sequence[Subject],
    told: Callable[[int, int], None] = lambda done, total: None,
    *,
    part_events_max: int = PART_EVENTS_MAX,
) -> list[Verified]:
    """Compare these tables with the log, each up to its position, all in the snapshot of the caller's transaction.

    It takes the rights of a reader. A long log is read again for each of its parts, of about `part_events_max` events
    each. `told` is called with how far it is of how much. Refuses: ProjectionReplayFailed.
    """
    until = max((subject.position for subject in subjects), default=0)
    parts = 1 + until // part_events_max
    of_part: defaultdict[LiteralString, list[Subject]] = defaultdict(list)
    for subject in subjects:
        of_part[REPLAYS[subject.model.name].part_of_event or WHOLE].append(subject)
    found: dict[str, Verified] = {}
    with ExitStack() as stack:
        whole = [_Comparison(stack, connection, subject, Part(WHOLE, 1, 0)) for subject in of_part.pop(WHOLE, [])]
        passes = [(part_of, number) for part_of in of_part or [WHOLE] for number in range(parts)]
        for done, (part_of, number) in enumerate(passes):
            part = Part(part_of, parts, number)
            with ExitStack() as of_pass:
                comparisons = [_Comparison(of_pass, connection, subject, part) for subject in of_part.get(part_of, [])]
                beside = whole if part_of == passes[0][0] else []
                for position in _replayed(connection, [*comparisons, *beside], part, until):
                    told(done * until + position, len(passes) * until)
                for comparison in comparisons:
                    found[comparison.name] = comparison.verified().and_also(found.get(comparison.name))
        found |= {comparison.name: comparison.verified() for comparison in whole}
    return [found[subject.model.name] for subject in subjects]


def _replayed(
    connection: Connection[DictRow], comparisons: Sequence["_Comparison"], part: "Part", until: int
) -> Iterator[int]:
    """Replay a part of the log into these; yields each position that it has come to."""
    with _cursor(connection, "replayed") as log:
        text = sql.SQL(query("replayed")).format(columns=_names(EventRow._fields), part=sql.SQL(part.of))
        log.execute(text, {"until": until, "parts": part.parts, "number": part.number})
        for events in _transactions(log):
            for comparison in comparisons:
                try:
                    comparison.take(events)
                except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
                    stretch = events[0].position, events[-1].position
                    raise CannotBeReplayed(comparison.name, *stretch, repr(error)) from error
            yield events[-1].position


def verify_serving(
    connection: Connection[DictRow],
    models: Sequence[ReadModel],
    told: Callable[[int, int], None] = lambda done, total: None,
) -> list[Verified]:
    """Verify what serves for these, as it is at one moment. `told` is called with how far it is of how much.

    Refuses: ProjectionTableMissing, ProjectionReplayFailed.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        begun = registry.serving(connection, models) if registry.is_there(connection) else []
        subjects = [_subject(connection, known) for known in begun]
        return verify(connection, subjects, told)


def _subject(connection: Connection[DictRow], known: registry.Known) -> Subject:
    """Refuses: ProjectionTableMissing."""
    if not registry.has_table(connection, known.model):
        raise TableMissing(known.model.name)
    skips = registry.skips_of(connection, known.model.name, after=0, until=known.position)
    return Subject(known.model, known.model.table, known.position, frozenset(skips))


class _Comparison:
    """One table beside its replay."""

    def __init__(self, stack: ExitStack, connection: Connection[DictRow], subject: Subject, part: Part) -> None:
        self._subject = subject
        self.name = subject.model.name
        self._replay = REPLAYS[subject.model.name]()
        self._rows, self._differences = 0, 0
        self._first: Difference | None = None
        self._ahead: list[KeyAndRest] = []
        """Rows that were read before the replay has come to them, where they are read by position."""
        self._cursor = stack.enter_context(_cursor(connection, subject.table.as_string()))
        name = "rows_by_position" if self._replay.by_position else "rows"
        text = sql.SQL(query(name))
        names = {"columns": _names(self._replay.columns), "table": subject.table}
        text_of_part = text.format(**names, part=sql.SQL(self._replay.part_of_row if part.parts > 1 else WHOLE))
        self._cursor.execute(text_of_part, {"parts": part.parts, "number": part.number})

    def take(self, events: Sequence[EventRow]) -> None:
        """Replay some transactions, as far as this table has come, without what it leaves out."""
        position, skips = self._subject.position, self._subject.skips
        if events[-1].position > position:
            events = [event for event in events if event.position <= position]
        if not skips:
            self._replay.take(events)
        else:
            self._take_around(skips, events)
        if self._replay.by_position and events:
            self._compare(self._read_until(events[-1].position))
            self._miss_the_others()

    def verified(self) -> Verified:
        """After the whole log: compare the rows that were not compared yet."""
        self._compare(self._ahead)
        while (rows := self._read()) is not None:
            self._compare(rows)
        self._miss_the_others()
        return Verified(self._subject.model.name, self._rows, self._differences, self._first)

    def _take_around(self, skips: frozenset[int], events: Sequence[EventRow]) -> None:
        for left_out, stretch in groupby(events, lambda event: event.position in skips):
            if left_out:
                for event in stretch:
                    self._replay.leave_out(event)
            else:
                self._replay.take(list(stretch))

    def _read(self) -> Iterable[KeyAndRest] | None:
        """The next rows of the table; None at its end."""
        rows = self._cursor.fetchmany(ROWS_AT_ONCE)
        if not rows:
            return None
        self._rows += len(rows)
        columns, size = _converted(self._cursor, rows), self._replay.key_size
        return zip(zip(*columns[:size], strict=True), zip(*columns[size:], strict=True), strict=True)

    def _read_until(self, position: int) -> list[KeyAndRest]:
        while not self._ahead or self._ahead[-1][0] <= (position,):
            more = self._read()
            if more is None:
                break
            self._ahead += more
        end = bisect_right(self._ahead, (position,), key=itemgetter(0))
        reached, self._ahead = self._ahead[:end], self._ahead[end:]
        return reached

    def _compare(self, rows: Iterable[KeyAndRest]) -> None:
        states, rest = self._replay.states, self._replay.rest
        for key, found in rows:
            state = states.pop(key, MISSING)
            if state is MISSING:
                self._differs(key, None, self._named(found), None)
            elif found != (expected := rest(state)):
                columns = zip(self._replay.columns[len(key) :], found, expected, strict=True)
                self._differs(key, *next(each for each in columns if each[1] != each[2]))

    def _miss_the_others(self) -> None:
        for key, state in self._replay.states.items():
            self._differs(key, None, None, self._named(self._replay.rest(state)))
        self._replay.states.clear()

    def _named(self, rest: Rest) -> dict[str, object]:
        return dict(zip(self._replay.columns[self._replay.key_size :], rest, strict=True))

    def _differs(self, key: Key, column: str | None, found: object, expected: object) -> None:
        self._differences += 1
        if self._first is None or _order(key) < _order(self._first.row.values()):
            row = dict(zip(self._replay.columns, key, strict=False))
            self._first = Difference(self._subject.model.name, row, column, found, expected)


def _order(key: Iterable[Any]) -> list[tuple[bool, str, Any]]:
    """What keys are ordered by; no value comes last, as in PostgreSQL, and what is no value of a column by itself."""
    return [(value is None, type(value).__name__, 0 if value is None else value) for value in key]


def _names(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _transactions(log: ServerCursor[TupleRow]) -> Iterator[list[EventRow]]:
    """The events of some whole transactions at a time."""
    event_row = partial(tuple.__new__, EventRow)
    while rows := log.fetchmany(ROWS_AT_ONCE):
        position, transaction_last = rows[-1][:2]
        if position < transaction_last:
            rows += log.fetchmany(transaction_last - position)
        yield list(map(event_row, zip(*_converted(log, rows), strict=True)))


def _cursor(connection: Connection[DictRow], name: str) -> ServerCursor[TupleRow]:
    """A cursor whose rows wait on the server; instants and amounts are read as texts, for `_converted`."""
    cursor = connection.cursor(name, row_factory=tuple_row)
    for type_name in ("uuid", "timestamptz", "numeric"):
        cursor.adapters.register_loader(type_name, TextLoader)
    return cursor


def _converted(cursor: ServerCursor[TupleRow], rows: Sequence[TupleRow]) -> list[Iterable[Any]]:
    """Columns of the ledger's types: a column at a time, in a quarter of the time of loaders."""
    assert cursor.description is not None
    conversions = [CONVERSIONS.get(described.type_code) for described in cursor.description]
    return [
        column if convert is None else map(convert, column)
        for convert, column in zip(conversions, zip(*rows, strict=True), strict=True)
    ]


@lru_cache(maxsize=4096)
def _instant(text: str | None) -> Instant | str | None:
    """Of what is no instant, as infinity, the text: no event tells one, so that it differs."""
    try:
        return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text


@lru_cache(maxsize=4096)
def _credits(text: str | None) -> Credits | str | None:
    """Of what is no amount, as NaN, the text."""
    try:
        return None if text is None else credits_from_column(text)
    except ValueError:
        return text


def _texts(array: list[str] | None) -> tuple[str, ...] | None:
    return None if array is None else tuple(array)


CONVERSIONS: Mapping[int, Callable[[Any], Any]] = {
    types["timestamptz"].oid: _instant,
    types["numeric"].oid: _credits,
    types["text"].array_oid: _texts,
}
"""How a value of a type becomes one of the ledger's, by the type's number."""
