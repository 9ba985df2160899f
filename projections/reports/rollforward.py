"""The roll-forward: how the balances at the beginning of a period became those at its end."""

from collections import defaultdict
from dataclasses import astuple
from enum import StrEnum

from ledger.domain.credits import Credits
from ledger.domain.instants import Instant
from projections.reading import Reader
from projections.reports.figures import Flows, LotFigures, Scope, Told, lots_of, standing
from projections.reports.report import AsOf, Column, Of, Report, Row, below_zero

GROUPS = {
    "customer": (Column("kind"), Column("holder"), Column("currency")),
    "currency": (Column("kind"), Column("currency")),
    "grant-type": (Column("kind"), Column("currency"), Column("grant_type")),
}
UNITS = ("kind", "currency")
"""Credits of different currencies, or of different contracts, are never added up."""


class By(StrEnum):
    """What has a row of its own; customers and companies are told apart by the kind."""

    CUSTOMER = "customer"
    CURRENCY = "currency"
    GRANT_TYPE = "grant-type"


FIGURES = tuple(
    Column(name, Of.CREDITS, summed=True)
    for name in (
        *("opening", "granted", "refunded", "rolled_over_in", "debited", "voided", "expired", "rolled_over_out"),
        *("closing", "difference", "awaiting_payment", "ended", "available"),
    )
)
"""closing - awaiting_payment - ended = available: `ended` is what was left of lots whose end is not recorded yet."""


class Totals:
    """The sums of one row."""

    def __init__(self) -> None:
        self.flows = Flows()
        self.opening: Credits = 0
        self.closing: Credits = 0
        self.awaiting_payment: Credits = 0
        self.ended: Credits = 0

    def take(self, lot: LotFigures, instant: Instant) -> None:
        self.opening += lot.opening
        self.flows = self.flows.plus(lot.within)
        self.closing += lot.closing
        stands = standing(lot, instant)
        self.awaiting_payment += stands.awaiting_payment
        self.ended += stands.ended

    def row(self) -> Row:
        difference = self.closing - self.opening - self.flows.balance
        available = self.closing - self.awaiting_payment - self.ended
        bridge = (self.awaiting_payment, self.ended, available)
        return (self.opening, *astuple(self.flows), self.closing, difference, *bridge)


def rollforward(
    reader: Reader,
    scope: Scope,
    as_of: AsOf,
    start: Instant | None,
    by: By,
    told: Told = lambda done, total: None,
) -> Report:
    """A row for each customer, currency or grant type that had credits or movements in the period, in their order.

    The period is from `start` up to the effective clock, both included. `difference` is the closing balance, which is
    what events recorded, less what the opening and the movements of the period come to: 0 wherever the log is sound.
    """
    totals: defaultdict[tuple[str, ...], Totals] = defaultdict(Totals)
    for lot in lots_of(reader, scope, as_of, start, told).values():
        totals[group_of(lot, by)].take(lot, as_of.effective_at)
    rows = [(*(text or None for text in group), *total.row()) for group, total in sorted(totals.items())]
    return Report(
        name="rollforward",
        parameters={},
        as_of=as_of,
        columns=(*GROUPS[by], *FIGURES),
        rows=[row for row in rows if any(row[len(GROUPS[by]) :])],
        units=UNITS,
        notes=below_zero(total.closing for total in totals.values()),
    )


def group_of(lot: LotFigures, by: By) -> tuple[str, ...]:
    """The values of a row's own columns for a lot; no value is the empty text."""
    values = lot.pool._asdict() | {"grant_type": lot.grant_type}
    return tuple(values[column.name] or "" for column in GROUPS[by])
