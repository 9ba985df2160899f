"""Deferred revenue: what became of the costs of grants in a period, and what of them is still to be earned."""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from psycopg import sql

from ledger.domain.instants import Instant
from ledger.domain.revenue import Course, Money, Price, Revenue, counts_from, deferred_of, revenue_of
from ledger.domain.values import Kind, LotId
from projections.reading import Reader
from projections.reports.as_of import report_sql
from projections.reports.figures import Flows, LotFigures, Period, Scope, Told, lots_of, pages
from projections.reports.report import AsOf, Column, Of, Report, Row, below_zero

GROUPS = {
    "grant": (Column("holder"), Column("currency"), Column("grant_type"), Column("grant"), Column("cost_currency")),
    "customer": (Column("holder"), Column("currency"), Column("cost_currency")),
    "currency": (Column("currency"), Column("cost_currency")),
}
SORTED_BY = 2
"""So many columns of a group put the rows in order; within these, what was opened first is first."""
FIGURES = tuple(Column(name, Of.MONEY, summed=True) for name in ("opening", *Revenue._fields, "closing", "difference"))


class By(StrEnum):
    """What has a row of its own."""

    GRANT = "grant"
    CUSTOMER = "customer"
    CURRENCY = "currency"


class PaidGrant:
    """A grant that costs something, as it was just before a period and is as of its end."""

    def __init__(self, lot: LotFigures, period: Period) -> None:
        assert lot.details is not None
        self.lot = lot
        self.details = lot.details
        self.period = period
        self.granted = sum(map(_came_in, (lot.before, lot.within, lot.since)))
        self.price = Price.of(self.details, self.granted)
        self.opening = _course(lot.before, lot.opening + self.granted - _came_in(lot.before))
        self.closing = _course(lot.before.plus(lot.within), lot.closing + _came_in(lot.since))
        self.counts_from = counts_from(self.details, lot.begins_at)
        if self.counts_from is not None:
            for course in self.courses(self.counts_from):
                course.counts = True

    def courses(self, at: Instant) -> Iterator[Course]:
        """Those of the two that have in them what is dated then."""
        if at <= self.period.end:
            yield self.closing
        if self.period.start is not None and at < self.period.start:
            yield self.opening

    def group(self, by: By) -> tuple[str, ...]:
        pool, cost_currency = self.lot.pool, self.details.cost.currency
        match by:
            case By.GRANT:
                return pool.holder, pool.currency, self.lot.grant_type or "", self.details.readable_id, cost_currency
            case By.CUSTOMER:
                return pool.holder, pool.currency, cost_currency
            case By.CURRENCY:
                return pool.currency, cost_currency

    def figures(self) -> tuple[Money, ...]:
        """In the order of the columns. The closing is what is owed, not the sum of what came before."""
        came = revenue_of(self.price, self.closing).since(revenue_of(self.price, self.opening))
        opening, closing = (deferred_of(self.price, course) for course in (self.opening, self.closing))
        return opening, *came, closing, closing - opening - came.deferred


def deferred_revenue(
    reader: Reader,
    scope: Scope,
    as_of: AsOf,
    start: Instant | None,
    by: By,
    told: Told = lambda done, total: None,
) -> Report:
    """A row for each grant, customer or currency whose costs were deferred or moved in the period; Money.

    Grants that cost nothing, the promotional ones among them, would be zero in all columns, and so are those that do
    not count yet: they have no row. The period is from `start` up to the effective clock, both included. `closing` is
    the cost of the credits that events recorded as booked, or that are still to come in; `difference` is this less what
    the opening and the movements of the period come to: 0 wherever the log is sound.
    """
    scope = scope._replace(kind=scope.kind or Kind.CREDIT_GRANT)
    period = Period(start, as_of.effective_at)
    grants = {
        lot.lot: PaidGrant(lot, period)
        for lot in lots_of(reader, scope, as_of, start, told).values()
        if (details := lot.details) is not None and details.cost.amount > 0
    }
    _take_carried_out(grants)
    _take_refunds(reader, scope, as_of, grants)
    return Report(
        name="deferred-revenue",
        parameters={},
        as_of=as_of,
        columns=(*GROUPS[by], *FIGURES),
        rows=_rows(grants.values(), by),
        units=("cost_currency",),
        notes=below_zero(grant.closing.owed for grant in grants.values() if grant.closing.counts),
    )


def _take_carried_out(grants: Mapping[LotId, PaidGrant]) -> None:
    for target in grants.values():
        origin, counts_from = target.details.rolled_over_from, target.counts_from
        if origin is not None and counts_from is not None:
            for course in grants[LotId(origin.grant_id)].courses(counts_from):
                course.carried_out += target.price.cost


def _take_refunds(reader: Reader, scope: Scope, as_of: AsOf, grants: Mapping[LotId, PaidGrant]) -> None:
    """A refund gives back what it did when it was recorded: uses that are dated back later change nothing of it."""
    for connection, moved, values in pages(reader, scope, as_of.position):
        text = sql.SQL(report_sql("refunds")).format(moved=moved)
        for row in connection.execute(text, values | {"end": as_of.effective_at}):
            grant = grants.get(row["lot"])
            if grant is not None:
                returned = grant.price.returned(row["amount"], row["lot_used"])
                for course in grant.courses(row["effective_at"]):
                    course.refunds += returned


def _rows(grants: Iterable[PaidGrant], by: By) -> list[Row]:
    """The grants' figures summed by what has a row of its own, without rows that are zero in all of them."""
    sums: dict[tuple[str, ...], list[Money]] = {}
    for grant in grants:
        row = sums.setdefault(grant.group(by), [0] * len(FIGURES))
        for place, figure in enumerate(grant.figures()):
            row[place] += figure
    return [(*group, *row) for group, row in sorted(sums.items(), key=lambda each: each[0][:SORTED_BY]) if any(row)]


def _course(flows: Flows, owed: int) -> Course:
    return Course(used=flows.used, voided=flows.voided, lapsed=flows.expired, owed=owed)


def _came_in(flows: Flows) -> int:
    return flows.granted + flows.rolled_over_in
