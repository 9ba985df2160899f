"""A report: a table of exact figures, and all that is needed to get the same one again."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from ledger.domain.credits import credits_text
from ledger.domain.instants import Instant, instant_text

Cell: TypeAlias = str | int | bool | Instant | None
Row: TypeAlias = tuple[Cell, ...]


class Of(StrEnum):
    """What a column holds. Credits and money are whole billionths, signed; money is of the row's money currency."""

    TEXT = "text"
    CREDITS = "credits"
    MONEY = "money"
    NUMBER = "number"
    INSTANT = "instant"
    FLAG = "flag"


class Column(NamedTuple):
    """A column by its name in the glossary's words, `rolled_over_in`; on the wire it is `rolledOverIn`."""

    name: str
    of: Of = Of.TEXT
    summed: bool = False
    """Whether its sum over all rows of one unit is one of the control totals."""

    @property
    def wire(self) -> str:
        return camel(self.name)


class AsOf(NamedTuple):
    """The two clocks of a figure, both included: what is dated up to `effective_at`, as far as the log had it at
    `position`.

    `recorded_at` is when the event there was recorded (None: before the first). `final`: nothing that is still to be
    recorded can change the answer.
    """

    effective_at: Instant
    position: int
    recorded_at: Instant | None
    final: bool

    def data(self) -> dict[str, Any]:
        return {
            "effectiveAsOf": instant_text(self.effective_at),
            "recordedAsOf": str(self.position),
            "recordedAt": None if self.recorded_at is None else instant_text(self.recorded_at),
            "final": self.final,
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """A table by its name, what it was asked with, and the clocks it is right at.

    `units` names the columns whose values say what a row's figures are counted in (a kind and a currency, say): sums
    are made over rows of the same units alone. `notes` say in words what a reader must know of these figures.
    """

    name: str
    parameters: Mapping[str, str | None]
    as_of: AsOf
    columns: tuple[Column, ...]
    rows: Sequence[Row]
    units: tuple[str, ...]
    notes: Sequence[str] = field(default=())

    def control_totals(self) -> list[dict[str, str | int | None]]:
        """For each of the units that occur, in their order: how many rows, and the sums of the summed columns."""
        names = [column.name for column in self.columns]
        units = [names.index(unit) for unit in self.units]
        summed = [(place, column) for place, column in enumerate(self.columns) if column.summed]
        totals: dict[tuple[str, ...], list[int]] = {}
        for row in self.rows:
            total = totals.setdefault(tuple(str(row[place] or "") for place in units), [0] * (len(summed) + 1))
            total[0] += 1
            for number, (place, _) in enumerate(summed, 1):
                value = row[place]
                total[number] += value if isinstance(value, int) else 0
        return [
            dict(zip(map(camel, self.units), unit, strict=True))
            | {"rows": sums[0]}
            | {column.wire: told(column, total) for (_, column), total in zip(summed, sums[1:], strict=True)}
            for unit, sums in sorted(totals.items())
        ]

    def told_rows(self) -> Iterator[dict[str, Any]]:
        """The rows as they are told: by the wire's names, amounts as exact texts."""
        wires = [column.wire for column in self.columns]
        for row in self.rows:
            yield dict(zip(wires, map(told, self.columns, row), strict=True))

    def data(self) -> dict[str, Any]:
        """The whole report for JSON."""
        return {
            "report": self.name,
            "parameters": {camel(name): value for name, value in self.parameters.items()},
            "asOf": self.as_of.data(),
            "rows": list(self.told_rows()),
            "controlTotals": self.control_totals(),
            "notes": list(self.notes),
        }


def told(column: Column, value: Cell) -> Any:
    """A value as JSON and CSV have it: credits, money and instants as texts, all else as it is."""
    if value is None:
        return None
    if column.of in (Of.CREDITS, Of.MONEY):
        assert isinstance(value, int)
        return credits_text(value)
    if isinstance(value, Instant):
        return instant_text(value)
    return value


BELOW_ZERO = "Uses that were dated back take a balance below zero here: seen by when they count, not by when they came."


def below_zero(balances: Iterable[int]) -> tuple[str, ...]:
    """The note that some balance is below zero, if one is."""
    return (BELOW_ZERO,) if any(balance < 0 for balance in balances) else ()


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def snake(name: str) -> str:
    """A column's name, from that or from its name on the wire."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
