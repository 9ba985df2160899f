"""What the columns of deferred revenue are made of: of each event, how it changed what had become of a grant's cost."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from psycopg.rows import DictRow

from ledger.domain.events import Debited, Expired, Granted, GrantPaymentRecorded, Refunded, Voided
from ledger.domain.revenue import Course, Money, Price, Revenue, deferred_of, revenue_of
from ledger.domain.values import Cause, LotId, PaymentMethod
from projections.reading import Reader
from projections.reports.as_of import report_sql
from projections.reports.credit_trace import FLOWS, places_of
from projections.reports.figures import LotFigures
from projections.reports.leaves import Found
from projections.reports.trace import Asked, Flow, Made, Span
from projections.reports.tree import Leaf

EVENTS_AT_ONCE = 10_000
AT_THE_END = ("breakage", "voided")
"""What a grant's end makes of the rest of its cost: told of the very event that ended it."""
NAMES = {(topic, rolled_over): name for name, (topic, rolled_over, _) in FLOWS.items()}
DEFERRED = "deferred"
Shares = dict[str, Money]
"""What an event adds to each figure, by its name."""


class Piece(NamedTuple):
    """What becomes of a figure in a span, added to another figure (+1), or taken from it (-1)."""

    name: str
    span: Span
    figure: str
    sign: int = +1


class Costs:
    """A part of a figure that is made of pieces of it; what each lot's events add is known already."""

    def __init__(self, piece: Piece) -> None:
        self.piece = piece
        self.name = piece.name
        self.found: defaultdict[LotId, dict[str, Found]] = defaultdict(dict)

    def take(self, lot: LotId, row: DictRow, shares: Shares, asked: Asked) -> None:
        share = shares[self.piece.figure] * self.piece.sign
        if share and self.piece.span.has(row["counts_at"], asked):
            name = NAMES.get((row["type"], row["cause"] == Cause.ROLLED_OVER), "payment_recorded")
            leaf = Leaf(row["position"], row["counts_at"], share)
            self.found[lot].setdefault(name, Found()).take(leaf, asked.parts_max)

    def of(self, lot: LotFigures) -> Mapping[str, Money]:
        return {name: found.sum for name, found in self.found.get(lot.lot, {}).items()}

    def find(self, reader: Reader, flows: Sequence[Flow], asked: Asked) -> None:
        for flow in flows:
            self.found[flow.lot.lot][flow.name].put(flow.branch)


OPENING, CLOSING = Piece("opening", Span.BEFORE, DEFERRED), Piece("closing", Span.UP_TO_END, DEFERRED)
WITHIN = {name: Piece(name, Span.WITHIN, name) for name in Revenue._fields}
REVENUE_COLUMNS: Mapping[str, Sequence[Piece]] = {
    "opening": [OPENING],
    **{name: [piece] for name, piece in WITHIN.items()},
    "closing": [CLOSING],
    "difference": [
        *(CLOSING, OPENING._replace(sign=-1)),
        *(WITHIN[name]._replace(sign=-1) for name in ("cost", "carried_in")),
        *(WITHIN[name] for name in ("recognised", "breakage", "voided", "carried_out")),
    ],
}
"""The figures of deferred revenue by its columns."""


def revenue_made(
    reader: Reader,
    all_lots: Mapping[LotId, LotFigures],
    lots: Iterable[LotFigures],
    asked: Asked,
    pieces: Sequence[Piece],
) -> Made:
    """What a figure of these lots is made of; what was carried out of them is the cost of others of all the lots."""
    paid = {lot.lot: lot for lot in lots if (details := lot.details) is not None and details.cost.amount > 0}
    parts = [Costs(piece) for piece in pieces]
    bounds = {"until": asked.as_of.position, "end": asked.as_of.effective_at}
    with reader.connection() as connection, connection.transaction(), connection.cursor("revenue") as cursor:
        cursor.itersize = EVENTS_AT_ONCE
        cursor.execute(report_sql("revenue_events"), places_of(paid.values()) | bounds)
        for lot, rows in groupby(cursor, lambda row: LotId(row["lot"])):
            for row, shares in Telling(paid[lot], all_lots).shares(rows):
                for part in parts:
                    part.take(lot, row, shares, asked)
    return Made(parts)


class Telling:
    """What each event of a grant adds to what became of its cost: it telescopes, so the shares add up exactly."""

    def __init__(self, lot: LotFigures, all_lots: Mapping[LotId, LotFigures]) -> None:
        assert lot.details is not None
        self.paid_for = lot.details.payment.method is not PaymentMethod.NONE
        granted = sum(each.granted + each.rolled_over_in for each in (lot.before, lot.within, lot.since))
        self.all_lots = all_lots
        self.price = Price.of(lot.details, granted)
        self.course = Course(owed=granted)
        self.told = self._tell()

    def shares(self, rows: Iterable[DictRow]) -> Iterator[tuple[DictRow, Shares]]:
        """In the order of the rows; those of one transaction are taken together, so that its end tells of the rest."""
        for _, together in groupby(rows, lambda row: (row["counts_at"], row["transaction_id"])):
            yield from self._of_transaction(list(together))

    def _of_transaction(self, rows: Sequence[DictRow]) -> Iterator[tuple[DictRow, Shares]]:
        before = self.told
        shares: list[Shares] = []
        for row in rows:
            earlier = self.told
            self._apply(row)
            self.told = self._tell()
            shares.append(_less(self.told, earlier))
        rest = _less(self.told, before)
        ending = max(range(len(rows)), key=lambda number: (_ends(rows[number]), number))
        for number, (row, share) in enumerate(zip(rows, shares, strict=True)):
            yield row, share | {name: rest[name] if number == ending else 0 for name in AT_THE_END}

    def _tell(self) -> Shares:
        return {**revenue_of(self.price, self.course)._asdict(), DEFERRED: deferred_of(self.price, self.course)}

    def _apply(self, row: DictRow) -> None:
        course, amount = self.course, row["amount"]
        match row["type"]:
            case Granted.TOPIC:
                course.counts = course.counts or not self.paid_for
            case GrantPaymentRecorded.TOPIC:
                course.counts = course.counts or (self.paid_for and row["paid"])
            case Debited.TOPIC:
                course.used -= amount
            case Refunded.TOPIC:
                course.used -= amount
                course.refunds += self.price.returned(amount, row["lot_used"])
            case Voided.TOPIC:
                course.voided -= amount
            case Expired.TOPIC if row["cause"] == Cause.ROLLED_OVER:
                course.carried_out += _cost(self.all_lots[row["rolled_over_to"]])
            case Expired.TOPIC:
                course.lapsed -= amount
        course.owed += 0 if row["type"] == Granted.TOPIC else amount


def _cost(target: LotFigures) -> Money:
    assert target.details is not None
    return Price.of(target.details, 1).cost


def _ends(row: DictRow) -> bool:
    topic: str = row["type"]
    return topic == Voided.TOPIC or (topic == Expired.TOPIC and row["cause"] != Cause.ROLLED_OVER)


def _less(now: Shares, then: Shares) -> Shares:
    return {name: now[name] - then[name] for name in now}
