"""Lots: the state of each lot of a holder at two clocks."""

from ledger.domain.credits import Credits, credits_of
from ledger.domain.instants import Instant
from projections.lots.queries import LotStatus
from projections.reading import Reader
from projections.reports.balances import POOL, in_order, of_resource
from projections.reports.figures import LotFigures, Scope, Told, ends_at, lots_of, standing
from projections.reports.report import AsOf, Column, Of, Report, Row, below_zero
from projections.reports.rollforward import UNITS

COLUMNS = (
    *POOL,
    *(Column("lot"), Column("grant"), Column("grant_type"), Column("status")),
    *(Column("begins_at", Of.INSTANT), Column("expires_at", Of.INSTANT)),
    *(Column("priority", Of.CREDITS), Column("awaiting_payment", Of.FLAG)),
    *(
        Column(name, Of.CREDITS, summed=True)
        for name in (
            *("granted", "rolled_over_in", "used", "voided", "expired", "rolled_over_out"),
            *("balance", "available", "to_come"),
        )
    ),
    *(Column("cost", Of.MONEY), Column("cost_currency")),
    *(Column("created_at", Of.INSTANT), Column("first_position", Of.NUMBER)),
)
"""granted + rolled_over_in - used - voided - expired - rolled_over_out = balance; `used` is net of refunds.

`to_come` is what a lot that is still to begin is granted then. `grant` is a grant's readable id.
"""


def lots(
    reader: Reader,
    scope: Scope,
    resource: str | None,
    grant: str | None,
    as_of: AsOf,
    told: Told = lambda done, total: None,
) -> Report:
    """A row for each lot of a holder that had begun by then, or was known to begin later, by pool, oldest first.

    Its terms are those in force at the effective clock, its beginning as it was told last. With a `grant`, an id or a
    readable id, only its lot. Refuses: PositionNotReached.
    """
    instant = as_of.effective_at
    found = of_resource(lots_of(reader, scope, as_of, told=told).values(), resource)
    found = [lot for lot in found if _there(lot, instant) and grant in (None, lot.stream_id, _name(lot))]
    found.sort(key=lambda lot: (in_order(lot.pool), lot.first_position))
    return Report(
        name="lots",
        parameters={},
        as_of=as_of,
        columns=COLUMNS,
        rows=[_row(lot, instant) for lot in found],
        units=UNITS,
        notes=below_zero(lot.closing for lot in found),
    )


def _there(lot: LotFigures, instant: Instant) -> bool:
    return min(lot.begins_at, lot.terms[0].effective_at) <= instant


def _row(lot: LotFigures, instant: Instant) -> Row:
    terms, flows, details, status = lot.terms_at(instant), lot.within, lot.details, _status(lot, instant)
    begun = lot.begins_at <= instant
    return (
        *lot.pool,
        *(lot.lot, _name(lot), lot.grant_type, status),
        *(lot.begins_at, terms.expires_at, terms.priority, terms.awaiting_payment),
        *(flows.granted, flows.rolled_over_in, flows.used, flows.voided, flows.expired, flows.rolled_over_out),
        *(lot.closing, standing(lot, instant).available),
        0 if begun or status is LotStatus.VOIDED else _granted(lot),
        *((None, None) if details is None else (credits_of(details.cost.amount), details.cost.currency)),
        *(lot.created_at, lot.first_position),
    )


def _status(lot: LotFigures, instant: Instant) -> LotStatus:
    """The first that holds, as everywhere: voided, consumed, expired, pending, active.

    Void is a lot from when it was said, though what it was to hold leaves it no sooner than it comes.
    """
    terms, begun = lot.terms_at(instant), lot.begins_at <= instant
    if lot.voided_at is not None and lot.voided_at <= instant:
        return LotStatus.VOIDED
    if begun and lot.within.used >= lot.within.granted + lot.within.rolled_over_in:
        return LotStatus.CONSUMED
    if ends_at(terms) <= instant:
        return LotStatus.EXPIRED
    return LotStatus.ACTIVE if begun and not terms.awaiting_payment else LotStatus.PENDING


def _granted(lot: LotFigures) -> Credits:
    return sum(amount for _, _, amount in lot.grants)


def _name(lot: LotFigures) -> str | None:
    details = lot.details
    return None if details is None else details.readable_id
