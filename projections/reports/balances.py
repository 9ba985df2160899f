"""Balances: what every pool of a holder was given, what left it, and what of the rest was usable at an instant."""

from collections.abc import Iterable
from dataclasses import astuple

from ledger.domain.credits import Credits
from ledger.domain.instants import Instant
from ledger.domain.values import PoolKey
from projections.reading import Reader
from projections.reports.figures import Flows, LotFigures, Scope, Told, lots_of, standing
from projections.reports.report import AsOf, Column, Of, Report, below_zero
from projections.reports.rollforward import UNITS

POOL = (Column("kind"), Column("holder"), Column("currency"), Column("resource"))
FIGURES = tuple(
    Column(name, Of.CREDITS, summed=True)
    for name in (
        *("granted", "refunded", "rolled_over_in", "debited", "voided", "expired", "rolled_over_out"),
        *("booked", "awaiting_payment", "ended", "available"),
    )
)
"""booked - awaiting_payment - ended = available: `ended` is what was left of lots whose end is not recorded yet."""


def of_resource(lots: Iterable[LotFigures], resource: str | None) -> list[LotFigures]:
    """Those of a resource; None: of every one, and of none."""
    return [lot for lot in lots if resource in (None, lot.pool.resource)]


def in_order(pool: PoolKey) -> tuple[str, ...]:
    """Where a pool stands among the pools of a report."""
    return pool.kind, pool.holder, pool.currency, pool.resource or ""


def balances(
    reader: Reader, scope: Scope, resource: str | None, as_of: AsOf, told: Told = lambda done, total: None
) -> Report:
    """A row for each pool of a holder that ever had credits by then, in their order.

    All that was ever dated up to the effective clock, and what it comes to. Refuses: PositionNotReached.
    """
    pools: dict[PoolKey, list[LotFigures]] = {}
    for lot in of_resource(lots_of(reader, scope, as_of, told=told).values(), resource):
        pools.setdefault(lot.pool, []).append(lot)
    figures = {pool: _figures(found, as_of.effective_at) for pool, found in pools.items()}
    return Report(
        name="balances",
        parameters={},
        as_of=as_of,
        columns=(*POOL, *FIGURES),
        rows=[(*pool, *figures[pool]) for pool in sorted(pools, key=in_order) if any(figures[pool])],
        units=UNITS,
        notes=below_zero(amount for pool in pools for amount in figures[pool]),
    )


def _figures(lots: Iterable[LotFigures], instant: Instant) -> tuple[Credits, ...]:
    flows, booked, stands = Flows(), 0, [0, 0, 0]
    for lot in lots:
        flows = flows.plus(lot.within)
        booked += lot.closing
        stands = [sum(pair) for pair in zip(stands, standing(lot, instant), strict=True)]
    return (*astuple(flows), booked, *stands)
