"""Expiring soon: what is left of lots that have not ended, by when they end."""

from collections import defaultdict

from ledger.domain.credits import Credits
from ledger.domain.instants import Instant, add_months
from ledger.domain.refusals import InvalidArgument
from projections.reading import Reader
from projections.reports.figures import LotFigures, Scope, Told, lots_of, standing
from projections.reports.report import AsOf, Column, Of, Report, below_zero
from projections.reports.rollforward import GROUPS, UNITS, By, group_of

BUCKETS = {"within_3_months": 3, "within_12_months": 12}
"""Lots that end sooner than so many calendar months after the instant, each lot in the first bucket that it fits."""
FIGURES = tuple(
    Column(name, Of.CREDITS, summed=True) for name in (*BUCKETS, "later", "never", "total", "of_it_awaiting_payment")
)
"""What cannot be used for want of a payment is left all the same: it is in the buckets, and told beside them."""


def expiring(reader: Reader, scope: Scope, by: By, as_of: AsOf, told: Told = lambda done, total: None) -> Report:
    """A row for each customer, currency or grant type with something left, in their order.

    Booked credits, by the terms in force at the effective clock; the present period of an execution credit ends, too.
    Lots that are still to begin have nothing yet, those that have ended nothing left, lapse recorded or not.
    """
    instant = as_of.effective_at
    totals: defaultdict[tuple[str, ...], dict[str, Credits]] = defaultdict(lambda: {each.name: 0 for each in FIGURES})
    for lot in lots_of(reader, scope, as_of, told=told).values():
        stands = standing(lot, instant)
        left = stands.awaiting_payment + stands.available
        if left == 0:
            continue
        total = totals[group_of(lot, by)]
        total[bucket_of(lot, instant)] += left
        total["total"] += left
        total["of_it_awaiting_payment"] += stands.awaiting_payment
    return Report(
        name="expiring",
        parameters={},
        as_of=as_of,
        columns=(*GROUPS[by], *FIGURES),
        rows=[(*(text or None for text in group), *total.values()) for group, total in sorted(totals.items())],
        units=UNITS,
        notes=below_zero(amount for total in totals.values() for amount in total.values()),
    )


def bucket_of(lot: LotFigures, instant: Instant) -> str:
    """By when a lot ends, as its terms in force at an instant say: the name of a column."""
    end = lot.terms_at(instant).expires_at
    if end is None:
        return "never"
    return next((name for name, months in BUCKETS.items() if _within(end, instant, months)), "later")


def _within(end: Instant, instant: Instant, months: int) -> bool:
    try:
        return end < add_months(instant, months)
    except InvalidArgument:  # the calendar ends before
        return True
