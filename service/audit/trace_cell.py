"""The question that leads from a cell of a report to its events."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Annotated, Any, NamedTuple, TypeAlias

from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import LotId
from projections.reading import Reader
from projections.reports.credit_trace import (
    BALANCES_COLUMNS,
    EXPIRING_COLUMNS,
    LOTS_COLUMNS,
    ROLLFORWARD_COLUMNS,
    STATEMENT_COLUMNS,
)
from projections.reports.figures import LotFigures, lots_of
from projections.reports.report import Cell, Of, Report, snake
from projections.reports.revenue_trace import REVENUE_COLUMNS, revenue_made
from projections.reports.trace import KEYS, LOT, TO_HOLDERS, TO_POOLS, Asked, Level, Made, lots_of_row, trace
from projections.reports.tree import Branch, Tree
from service.audit.deferred_revenue import DEFERRED_REVENUE
from service.audit.expiring import EXPIRING
from service.audit.figures import BALANCES, LOTS
from service.audit.parameters import Parameter, Period, parameters_of, read_text
from service.audit.question import Asking, Question
from service.audit.refusals import FigureNotFound
from service.audit.rollforward import ROLLFORWARD
from service.audit.statement import STATEMENT
from service.audit.trace import GROUP, LEAVES, Leaves, tree

Row: TypeAlias = Mapping[str, Cell]
Maker: TypeAlias = Callable[[Reader, Mapping[LotId, LotFigures], list[LotFigures], Asked], Made]


class Traced(NamedTuple):
    """A report whose figures can be traced, and what those are made of, by their columns.

    `lines`: its figures are rows of their own, by the column `line`; they stand in the column `balance`.
    """

    question: Question[Report]
    columns: Mapping[str, Maker]
    of: Of = Of.CREDITS
    lines: bool = False


def _credits(columns: Mapping[str, Made]) -> Mapping[str, Maker]:
    return {name: partial(_known, made) for name, made in columns.items()}


def _known(
    made: Made, reader: Reader, all_lots: Mapping[LotId, LotFigures], lots: list[LotFigures], asked: Asked
) -> Made:
    return made


TRACED: Mapping[str, Traced] = {
    each.question.name: each
    for each in (
        Traced(ROLLFORWARD, _credits(ROLLFORWARD_COLUMNS)),
        Traced(
            DEFERRED_REVENUE,
            {name: partial(revenue_made, pieces=pieces) for name, pieces in REVENUE_COLUMNS.items()},
            Of.MONEY,
        ),
        Traced(STATEMENT, _credits(STATEMENT_COLUMNS), lines=True),
        Traced(EXPIRING, _credits(EXPIRING_COLUMNS)),
        Traced(BALANCES, _credits(BALANCES_COLUMNS)),
        Traced(LOTS, _credits(LOTS_COLUMNS)),
    )
}
OF_THE_CELL = {"report", "column", "leaves"}
"""Parameters that are no business of the report's."""
MAY_BE_NOTHING = {"resource", "grant_type"}
"""Columns in which the row is meant that has nothing there, where they are not told."""


@dataclass(frozen=True, kw_only=True)
class AskedCell(Period):
    report: Annotated[str, Parameter("report", read_text, f"One of: {', '.join(TRACED)}.", required=True)]
    column: Annotated[
        str, Parameter("column", read_text, "The figure: a column of it, or a statement's line.", required=True)
    ]
    by: Annotated[str | None, Parameter("by", read_text, "What has a row of its own, as the report takes it.")] = None
    row_kind: Annotated[str | None, Parameter("kind", read_text, "The row's kind.")] = None
    resource: Annotated[str | None, Parameter("resource", read_text, "The row's resource.")] = None
    grant_type: Annotated[str | None, Parameter("grant_type", read_text, "The row's grant type.")] = None
    grant: Annotated[str | None, Parameter("grant", read_text, "The row's grant, by its readable id.")] = None
    lot: Annotated[str | None, Parameter("lot", read_text, "The row's lot.")] = None
    cost_currency: Annotated[str | None, Parameter("cost_currency", read_text, "The row's money.")] = None
    leaves: Leaves = LEAVES

    @property
    def given(self) -> Mapping[str, Any]:
        """What was told of the report and its row, by the parameters' names."""
        values = {parameter.name: getattr(self, name) for name, parameter in parameters_of(type(self)).items()}
        return {name: value for name, value in values.items() if value is not None and name not in OF_THE_CELL}

    @property
    def row(self) -> Mapping[str, str]:
        """What was told of the row, by the report's columns."""
        told = {name: value for name, value in self.given.items() if name in KEYS}
        return told | ({} if self.kind is None or self.holder is None else {"kind": self.kind, "holder": self.holder})


def _cell(asking: Asking, asked: AskedCell) -> Tree:
    traced = TRACED.get(asked.report)
    if traced is None:
        raise InvalidArgument("report", f"must be one of {', '.join(TRACED)}")
    asked = replace(asked, column=snake(asked.column))
    if asked.column not in traced.columns:
        raise InvalidArgument("column", f"must be one of {', '.join(traced.columns)}")
    report = _report(asking, traced.question, asked)
    row = _row(report, asked, lines=traced.lines)
    figure = row["balance" if traced.lines else asked.column]
    assert isinstance(figure, int)
    facts = {name: row[name] for name in takewhile(KEYS.__contains__, row)}
    all_lots = lots_of(asking.reader, asked.scope(asking.seen), asking.as_of, asked.start, asking.told)
    lots = lots_of_row(all_lots.values(), facts)
    wanted = Asked(asking.as_of, asked.start, asked.leaves)
    made = traced.columns[asked.column](asking.reader, all_lots, lots, wanted)
    root = Branch(asked.column, figure, {"report": asked.report, **facts})
    trace(asking.reader, lots, made, wanted, root, _levels(facts))
    unit = str(facts["cost_currency" if traced.of is Of.MONEY else "currency"])
    return tree("cell", asking, root, traced.of, unit, report.notes)


def _report(asking: Asking, question: Question[Report], asked: AskedCell) -> Report:
    """The report that the cell is of. Refuses: InvalidArgument (what the report neither takes nor has), as it does."""
    taken = parameters_of(question.asked)
    values: dict[str, Any] = {}
    for name, parameter in taken.items():
        if parameter.name in asked.given:
            value = asked.given[parameter.name]
            values[name] = parameter.read(value, parameter.name) if isinstance(value, str) else value
    report = question.answer(asking, question.asked(**values))
    known = {parameter.name for parameter in taken.values()} | {column.name for column in report.columns}
    for name in asked.given:
        if name not in known:
            raise InvalidArgument(name, f"is nothing that {question.name} takes or tells here")
    return report


def _row(report: Report, asked: AskedCell, *, lines: bool) -> Row:
    """The row that was meant. Refuses: FigureNotFound; InvalidArgument, by what tells several rows apart."""
    names = [column.name for column in report.columns]
    wanted = {name: value for name, value in asked.row.items() if name in names}
    wanted |= {"line": asked.column} if lines else {}
    rows = [dict(zip(names, row, strict=True)) for row in report.rows]
    rows = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    if len(rows) > 1:
        nothing = [name for name in names if name in MAY_BE_NOTHING and name not in wanted]
        rows = [row for row in rows if all(row[name] is None for name in nothing)] or rows
    if not rows:
        raise FigureNotFound(f"such row of {report.name}")
    if len(rows) > 1:
        differing = next(name for name in names if name in KEYS and rows[0][name] != rows[1][name])
        parameter = "customer" if differing == "holder" else differing
        raise InvalidArgument(parameter, f"must be given: {len(rows)} rows differ in it")
    return rows[0]


def _levels(row: Row) -> tuple[Level, ...]:
    if "lot" in row or "grant" in row:
        return (LOT,)
    return TO_POOLS if "holder" in row else TO_HOLDERS


CELL_TRACE = Question(
    GROUP,
    "cell",
    AskedCell,
    _cell,
    "What one figure of a report is made of; its row is told by the report's own columns.",
    "credit-ledger audit trace cell --report rollforward --from 2026-03-01T00:00:00Z --to 2026-04-01T00:00:00Z "
    "--by customer --customer acme --column debited",
)
