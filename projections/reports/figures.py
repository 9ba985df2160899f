"""The figures of lots: what came into each of them and what left it, before a period, within it and since.

Every report is a view of these. They are folded from the log itself, page by page in short transactions up to a fixed
position: the log is its own snapshot.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any, NamedTuple

from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.domain.credits import Credits
from ledger.domain.events import Debited, Expired, Granted, Refunded, Voided
from ledger.domain.grant_details import GrantDetails
from ledger.domain.instants import FOREVER, Instant
from ledger.domain.lots import ENDS_FOR_GOOD
from ledger.domain.values import Cause, GrantType, Kind, LotId, PoolKey, StreamId
from projections.reading import Reader
from projections.reports.as_of import report_sql
from projections.reports.places import holder_stretches, log_stretches
from projections.reports.report import AsOf

PAGE_EVENTS = 200_000
LOTS_AT_ONCE = 10_000
Told = Callable[[int, int], None]
"""Is called with how far work has come, of how much."""


class Scope(NamedTuple):
    """Whose lots: of one contract, of some holders, of one currency; None: of all."""

    kind: Kind | None = None
    holders: frozenset[str] | None = None
    currency: str | None = None

    @property
    def of_one_holder(self) -> bool:
        return self.kind is not None and self.holders is not None and len(self.holders) == 1

    def values(self) -> dict[str, Any]:
        holders = None if self.holders is None else sorted(self.holders)
        return {"kind": self.kind, "holders": holders, "currency": self.currency}


class Period(NamedTuple):
    """What is dated from `start` (None: from the beginning) up to `end`, both included."""

    start: Instant | None
    end: Instant


@dataclass(slots=True)
class Flows:
    """What moved, by what it was; Credits, none below zero. What rolled over is told apart."""

    granted: Credits = 0
    refunded: Credits = 0
    rolled_over_in: Credits = 0
    debited: Credits = 0
    voided: Credits = 0
    expired: Credits = 0
    rolled_over_out: Credits = 0

    @property
    def used(self) -> Credits:
        """Net of refunds."""
        return self.debited - self.refunded

    @property
    def balance(self) -> Credits:
        """Law 1."""
        out = self.debited + self.voided + self.expired + self.rolled_over_out
        return self.granted + self.rolled_over_in + self.refunded - out

    def add(self, topic: str, cause: Cause, amount: Credits) -> None:
        """Take in a movement; `amount` is signed."""
        rolled_over = cause is Cause.ROLLED_OVER
        match topic:
            case Granted.TOPIC if rolled_over:
                self.rolled_over_in += amount
            case Granted.TOPIC:
                self.granted += amount
            case Refunded.TOPIC:
                self.refunded += amount
            case Debited.TOPIC:
                self.debited -= amount
            case Voided.TOPIC:
                self.voided -= amount
            case Expired.TOPIC if rolled_over:
                self.rolled_over_out -= amount
            case Expired.TOPIC:
                self.expired -= amount
            case _:
                raise AssertionError(f"{topic} moves no credits")

    def plus(self, other: "Flows") -> "Flows":
        return Flows(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Flows)))


@dataclass(slots=True)
class LotTerms:
    """The terms of a lot that an event put in force."""

    effective_at: Instant
    """From when on: when the event counts."""
    begins_at: Instant
    expires_at: Instant | None
    priority: Credits
    awaiting_payment: bool


@dataclass(slots=True)
class LotFigures:
    """A lot's figures as of the end of a period; `booked` is what its last event recorded, whatever that is dated.

    A grant comes in when it begins, as its terms told last; before that it is not there, unless something of it counts.
    """

    lot: LotId
    stream_id: StreamId
    pool: PoolKey
    grant_type: GrantType | None
    created_at: Instant
    first_position: int
    terms: list[LotTerms] = field(default_factory=list)
    """All there were, in the order of the log."""
    grants: list[tuple[Instant, Cause, Credits]] = field(default_factory=list)
    before: Flows = field(default_factory=Flows)
    within: Flows = field(default_factory=Flows)
    since: Flows = field(default_factory=Flows)
    """What is dated after the period."""
    voided_at: Instant | None = None
    """When it was recorded as void; that counts no sooner than the lot begins."""
    grant: Mapping[str, Any] | None = None
    """What else a grant is besides its lot, as it was told last."""
    last_position: int = 0
    booked: Credits = 0

    @property
    def begins_at(self) -> Instant:
        """As it was told last."""
        return self.terms[-1].begins_at

    @property
    def details(self) -> GrantDetails | None:
        """Of a grant. It is read here, where it is asked for: few questions ask, and all lots are kept."""
        return None if self.grant is None else GrantDetails.model_validate(self.grant)

    def terms_at(self, instant: Instant) -> LotTerms:
        """The terms that were in force at an instant; before any were, the first."""
        in_force = [terms for terms in self.terms if terms.effective_at <= instant]
        return in_force[-1] if in_force else self.terms[0]

    @property
    def opening(self) -> Credits:
        return self.before.balance

    @property
    def closing(self) -> Credits:
        """What the log recorded as its balance, less what is dated later: not the sum of what came before."""
        return self.booked - self.since.balance

    def place(self, period: Period) -> None:
        """Let what was granted count when it does."""
        for number, (effective_at, cause, amount) in enumerate(self.grants):
            opens_grant = number == 0 and self.pool.kind is Kind.CREDIT_GRANT
            at = self.begins_at if opens_grant else effective_at
            self.flows(period, at).add(Granted.TOPIC, cause, amount)

    def flows(self, period: Period, at: Instant) -> Flows:
        if at > period.end:
            return self.since
        return self.before if period.start is not None and at < period.start else self.within


def lots_of(
    reader: Reader,
    scope: Scope,
    as_of: AsOf,
    start: Instant | None = None,
    told: Told = lambda done, total: None,
    *,
    events_max: int = PAGE_EVENTS,
) -> dict[LotId, LotFigures]:
    """The lots of a scope as of its clocks, by their ids, in the order they were opened.

    With a `start`, what moved since then is told apart. `events_max` are read by a statement. Refuses:
    PositionNotReached (of one holder, whose events are found by a read model).
    """
    period = Period(start, as_of.effective_at)
    lots: dict[LotId, LotFigures] = {}
    for connection, moved, values in pages(reader, scope, as_of.position, events_max=events_max):
        _fold(connection, moved, values, period, lots)
        told(values["until"], as_of.position)
    for lot in lots.values():
        lot.place(period)
    _look_up_booked(reader, lots)
    return lots


def pages(
    reader: Reader,
    scope: Scope,
    until: int,
    after: int = 0,
    *,
    events_max: int = PAGE_EVENTS,
    newest_first: bool = False,
    topic: str | None = None,
) -> Iterator[tuple[Connection[DictRow], sql.Composable, dict[str, Any]]]:
    """Stretches of the log after a position with the SQL for the events of a scope in them, and its values.

    None of them costs more than to read so many events that follow one another. Of one holder those without events (of
    a `topic`, if one is given) are left out. Refuses: PositionNotReached (of one holder).
    """
    values = scope.values()
    if scope.of_one_holder:
        wanted = values | {"holder": values["holders"][0], "topic": topic}
        found = holder_stretches(reader, wanted, after, until, events_max, newest_first=newest_first)
    else:
        found = log_stretches(after, until, events_max, newest_first=newest_first)
    for stretch in found:
        moved = report_sql("in_window" if stretch.positions is None else "of_holder")
        with reader.connection() as connection:
            yield connection, sql.SQL(moved), values | stretch._asdict()


def _fold(
    connection: Connection[DictRow],
    moved: sql.Composable,
    values: dict[str, Any],
    period: Period,
    lots: dict[LotId, LotFigures],
) -> None:
    for row in connection.execute(sql.SQL(report_sql("terms")).format(moved=moved), values):
        _take_terms(row, lots)
    bounds = {"start": period.start, "end": period.end}
    for row in connection.execute(sql.SQL(report_sql("sums")).format(moved=moved), values | bounds):
        lot, cause = lots[row["lot"]], Cause(row["cause"])
        flows = lot.since if not row["counts"] else lot.before if row["begun"] is False else lot.within
        flows.add(row["type"], cause, row["amount"])
        if cause in ENDS_FOR_GOOD:
            lot.voided_at = row["first_recorded_at"]
        lot.last_position = max(lot.last_position, row["position"])


def _take_terms(row: DictRow, lots: dict[LotId, LotFigures]) -> None:
    lot = lots.get(row["lot"])
    if lot is None:
        lot = lots[row["lot"]] = LotFigures(
            row["lot"],
            row["stream_id"],
            PoolKey(Kind(row["kind"]), row["holder"], row["currency"], row["resource"]),
            None if row["grant_type"] is None else GrantType(row["grant_type"]),
            row["lot_created_at"],
            row["position"],
        )
    lot.grant = row["grant_details"]
    lot.terms.append(
        LotTerms(
            row["effective_at"] if row["amount"] is None else min(row["effective_at"], row["recorded_at"]),
            row["lot_effective_at"],
            row["lot_expires_at"],
            row["lot_priority"],
            row["lot_awaiting_payment"],
        )
    )
    if row["amount"] is not None:
        lot.grants.append((row["effective_at"], Cause(row["cause"]), row["amount"]))
    lot.last_position = max(lot.last_position, row["position"])


def _look_up_booked(reader: Reader, lots: dict[LotId, LotFigures]) -> None:
    positions = iter([lot.last_position for lot in lots.values()])
    while some := list(islice(positions, LOTS_AT_ONCE)):
        with reader.connection() as connection:
            for row in connection.execute(report_sql("booked"), {"positions": some}):
                lots[row["lot"]].booked = row["lot_balance"]


def ends_at(terms: LotTerms) -> Instant:
    """FOREVER for a lot that never ends."""
    return terms.expires_at or FOREVER


class Standing(NamedTuple):
    """What becomes of the credits that are booked on a lot at an instant; the three add up to them."""

    awaiting_payment: Credits
    ended: Credits
    available: Credits


def standing(lot: LotFigures, instant: Instant) -> Standing:
    """By the terms that were in force at the instant, the end of the lot's period. A lot that has ended awaits nothing.

    A lot that is still to begin, and one that is void, has nothing booked.
    """
    terms, booked = lot.terms_at(instant), lot.closing
    if ends_at(terms) <= instant:
        return Standing(0, booked, 0)
    return Standing(booked, 0, 0) if terms.awaiting_payment else Standing(0, 0, booked)
