"""The statement of a holder: what moved in a period, and what the balance was after each movement."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from psycopg.rows import DictRow

from ledger.domain.credits import Credits
from ledger.domain.instants import Instant
from ledger.domain.values import Kind, PoolKey
from projections.reading import Reader
from projections.reports.balances import POOL, in_order, of_resource
from projections.reports.figures import Period, Scope, Told, lots_of
from projections.reports.ledger import EVENTS_AT_ONCE, TOLD_BY, dated_events, told_by
from projections.reports.report import AsOf, Column, Of, Report, Row, below_zero
from projections.reports.rollforward import UNITS

COLUMNS = (
    *POOL,
    *(Column("line"), Column("counts_at", Of.INSTANT), Column("position", Of.NUMBER)),
    *(Column("recorded_at", Of.INSTANT), Column("event"), Column("cause")),
    *(Column("amount", Of.CREDITS, summed=True), Column("balance", Of.CREDITS), Column("lot"), Column("grant")),
    *TOLD_BY,
)


class Line(StrEnum):
    """What a row of a statement is."""

    OPENING = "opening"
    MOVEMENT = "movement"
    CLOSING = "closing"


class Account:
    """A pool in a period, in Credits: its opening balance, what moved, and whether its balance was below zero.

    `closing` is what events recorded of its lots, not the sum of what moved.
    """

    def __init__(self, pool: PoolKey) -> None:
        self.pool = pool
        self.opening: Credits = 0
        self.closing: Credits = 0
        self.below_zero = False
        self.moves: list[tuple[Instant, int, Credits, Row, Row]] = []
        """When each counts, its position and amount; what is told of it before the amount, and after the balance."""

    def take(self, event: DictRow) -> None:
        facts = (event["recorded_at"], event["type"], event["cause"])
        told = (event["lot"], event["grant_name"], *told_by(event))
        self.moves.append((event["counts_at"], event["position"], event["amount"], facts, told))

    def rows(self, start: Instant | None, end: Instant) -> Iterator[Row]:
        """In the order in which they count; none where there was nothing and nothing happened."""
        if not (self.opening or self.closing or self.moves):
            return
        yield self._edge(Line.OPENING, start, self.opening)
        balance = self.opening
        for counts_at, position, amount, facts, told in sorted(self.moves):
            balance += amount
            self.below_zero = self.below_zero or balance < 0
            yield (*self.pool, Line.MOVEMENT, counts_at, position, *facts, amount, balance, *told)
        yield self._edge(Line.CLOSING, end, self.closing)

    def _edge(self, line: Line, at: Instant | None, balance: Credits) -> Row:
        cells = {"line": line, "counts_at": at, "balance": balance}
        return (*self.pool, *(cells.get(column.name) for column in COLUMNS[len(POOL) :]))


def statement(
    reader: Reader,
    scope: Scope,
    resource: str | None,
    start: Instant | None,
    as_of: AsOf,
    told: Told = lambda done, total: None,
    *,
    events_max: int = EVENTS_AT_ONCE,
    rows_max: int | None = None,
) -> Report:
    """For each pool of a holder its opening balance, every event of its lots with the balance after it, its closing.

    The period is from `start` up to the effective clock, both included. An event counts when it is dated, a grant when
    it begins; they stand in that order, then in that of the log. One that makes a grant another has the amount 0. A
    pool with nothing in it, in which nothing happened, has no rows. Refuses: PositionNotReached, TooManyRows.
    """
    accounts: dict[PoolKey, Account] = {}
    lots = lots_of(reader, scope, as_of, start, told)
    for lot in of_resource(lots.values(), resource):
        account = accounts.setdefault(lot.pool, Account(lot.pool))
        account.opening += lot.opening
        account.closing += lot.closing
    period, begun = Period(start, as_of.effective_at), {lot.lot: lot.begins_at for lot in lots.values()}
    bounds: dict[str, Any] = {"events_max": events_max, "rows_max": rows_max}
    for event in dated_events(reader, scope, as_of.position, period, resource, begun, **bounds):
        accounts[_pool(event)].take(event)
    found = [accounts[pool] for pool in sorted(accounts, key=in_order)]
    return Report(
        name="statement",
        parameters={},
        as_of=as_of,
        columns=COLUMNS,
        rows=[row for account in found for row in account.rows(*period)],
        units=UNITS,
        notes=below_zero(-account.below_zero for account in found),
    )


def _pool(event: DictRow) -> PoolKey:
    return PoolKey(Kind(event["kind"]), event["holder"], event["currency"], event["resource"])
