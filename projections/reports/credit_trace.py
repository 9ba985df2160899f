"""What the columns of credits are made of: which movements of which lots, and with which sign."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import sql

from ledger.domain.credits import Credits
from ledger.domain.events import Debited, Expired, Granted, Refunded, Voided
from ledger.domain.instants import Instant
from projections.reading import Reader
from projections.reports.as_of import report_sql
from projections.reports.expiring import BUCKETS, bucket_of
from projections.reports.figures import Flows, LotFigures, Standing, standing
from projections.reports.leaves import Found, batches, leaves_of
from projections.reports.trace import Asked, Flow, Made, Span

FLOWS: Mapping[str, tuple[str, bool, int]] = {
    "granted": (Granted.TOPIC, False, +1),
    "rolled_over_in": (Granted.TOPIC, True, +1),
    "debited": (Debited.TOPIC, False, -1),
    "refunded": (Refunded.TOPIC, False, +1),
    "voided": (Voided.TOPIC, False, -1),
    "expired": (Expired.TOPIC, False, -1),
    "rolled_over_out": (Expired.TOPIC, True, -1),
}
"""The flows of a lot by their names: the events' topic, whether they roll over, how they change a balance."""


class Moved(NamedTuple):
    """Some flows in a span, that add to a figure (+1) what they add to a balance, or the opposite of it (-1)."""

    name: str
    span: Span
    flows: Sequence[str] = tuple(FLOWS)
    sign: int = +1

    def of(self, lot: LotFigures) -> Mapping[str, Credits]:
        moved = self._moved(lot)
        told = {name: self.sign * FLOWS[name][2] * getattr(moved, name) for name in self.flows}
        return {name: amount for name, amount in told.items() if amount}

    def _moved(self, lot: LotFigures) -> Flows:
        match self.span:
            case Span.BEFORE:
                return lot.before
            case Span.WITHIN:
                return lot.within
            case Span.UP_TO_END:
                return lot.before.plus(lot.within)

    def find(self, reader: Reader, flows: Sequence[Flow], asked: Asked) -> None:
        bounds = {**self.span.bounds(asked), "until": asked.as_of.position}
        for some in batches(flows):
            lots = {flow.lot.lot: flow.lot for flow in some}
            with reader.connection() as connection:
                picked = sql.SQL(report_sql("of_lots"))
                found = leaves_of(connection, picked, places_of(lots.values()) | bounds, asked.parts_max)
            for flow in some:
                topic, rolled_over, _ = FLOWS[flow.name]
                leaves = found.get(f"{flow.lot.lot} {topic} {'t' if rolled_over else 'f'}", Found())
                leaves.put(flow.branch, self.sign)


def places_of(lots: Iterable[LotFigures]) -> dict[str, Any]:
    """Where the log has these lots, and when grants among them begin."""
    found = list(lots)
    return {
        "lots": [lot.lot for lot in found],
        "streams": [lot.stream_id for lot in found],
        "opened": [lot.first_position for lot in found],
        "begins": [lot.begins_at for lot in found],
    }


def _stands(part: Callable[[Standing], Credits]) -> Callable[[LotFigures, Instant], bool]:
    return lambda lot, instant: part(standing(lot, instant)) != 0


def _ends(bucket: str) -> Callable[[LotFigures, Instant], bool]:
    def ends(lot: LotFigures, instant: Instant) -> bool:
        return standing(lot, instant).ended == 0 and bucket_of(lot, instant) == bucket

    return ends


OPENING, CLOSING = Moved("opening", Span.BEFORE), Moved("closing", Span.UP_TO_END)
BALANCE = Made([CLOSING])
FLOW_COLUMNS = {name: Made([Moved(name, Span.WITHIN, (name,), sign)]) for name, (_, _, sign) in FLOWS.items()}
BRIDGE = {
    "awaiting_payment": Made([CLOSING], _stands(lambda stands: stands.awaiting_payment)),
    "ended": Made([CLOSING], _stands(lambda stands: stands.ended)),
    "available": Made([CLOSING], _stands(lambda stands: stands.available)),
}
ROLLFORWARD_COLUMNS: Mapping[str, Made] = {
    "opening": Made([OPENING]),
    **FLOW_COLUMNS,
    "closing": BALANCE,
    "difference": Made([CLOSING, OPENING._replace(sign=-1), Moved("movements", Span.WITHIN, sign=-1)]),
    **BRIDGE,
}
BALANCES_COLUMNS: Mapping[str, Made] = {**FLOW_COLUMNS, "booked": BALANCE, **BRIDGE}
LOTS_COLUMNS: Mapping[str, Made] = {
    **{name: FLOW_COLUMNS[name] for name in ("granted", "rolled_over_in", "voided", "expired", "rolled_over_out")},
    "used": Made([Moved("used", Span.WITHIN, ("debited", "refunded"), -1)]),
    "balance": BALANCE,
    "available": BRIDGE["available"],
}
STATEMENT_COLUMNS: Mapping[str, Made] = {"opening": Made([OPENING]), "closing": BALANCE}
EXPIRING_COLUMNS: Mapping[str, Made] = {
    **{bucket: Made([CLOSING], _ends(bucket)) for bucket in (*BUCKETS, "later", "never")},
    "total": Made([CLOSING], lambda lot, instant: standing(lot, instant).ended == 0),
    "of_it_awaiting_payment": BRIDGE["awaiting_payment"],
}
"""The figures of each report by its columns. What is expiring is told of lots that have not ended."""
