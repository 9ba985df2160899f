"""The ledger: the events of a holder's lots, newest first, as the log had them."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.domain.events import GrantUpdated
from ledger.domain.instants import Instant
from ledger.domain.values import LotId, StreamId
from ledger.store.documents import load_documents
from projections.reading import Reader
from projections.refusals import TooManyRows
from projections.reports.as_of import report_sql
from projections.reports.balances import POOL
from projections.reports.figures import Period, Scope, pages
from projections.reports.report import AsOf, Cell, Column, Of, Report
from projections.reports.rollforward import UNITS

EVENTS_AT_ONCE = 20_000
"""A page of a holder's ledger has a tenth of them: the newest few are soon there."""
TEXTS = ("reason", "comment", "display_name")
TOLD_BY = (Column("actor"), *map(Column, TEXTS), Column("transaction"))
"""Who did it and what he said of it, with this very act; texts that were erased are gone."""
COLUMNS = (
    *(Column("position", Of.NUMBER), Column("recorded_at", Of.INSTANT)),
    *(Column("counts_at", Of.INSTANT), Column("use_at", Of.INSTANT)),
    *POOL,
    *(Column("event"), Column("cause"), Column("amount", Of.CREDITS, summed=True), Column("lot"), Column("grant")),
    *(Column("lot_balance", Of.CREDITS), Column("pool_balance", Of.CREDITS)),
    *TOLD_BY,
)
"""`amount` is signed, 0 where a grant became another; the balances are those that were recorded with the event."""


class Part(NamedTuple):
    """Which part of a ledger: what counts from an instant on, and of that the newest below a position; None: all."""

    start: Instant | None = None
    before: int | None = None
    limit: int | None = None


def ledger(
    reader: Reader,
    scope: Scope,
    resource: str | None,
    part: Part,
    as_of: AsOf,
    *,
    events_max: int = EVENTS_AT_ONCE,
    rows_max: int | None = None,
) -> Report:
    """A row for each event of a holder's lots that counts by the effective clock, newest first by position.

    An event counts when it is dated, a grant when it begins. Refuses: PositionNotReached, TooManyRows.
    """
    if part.limit is not None and rows_max is not None and part.limit <= rows_max:
        rows_max = None  # it stops by itself
    names = ["position", "recorded_at", "counts_at", "use_at", *(column.name for column in POOL)]
    names += ["type", "cause", "amount", "lot", "grant_name", "lot_balance", "pool_balance"]
    until = as_of.position if part.before is None else min(as_of.position, part.before - 1)
    period, begun = Period(part.start, as_of.effective_at), _begun(reader, scope, as_of.position, events_max)
    found = dated_events(
        reader, scope, until, period, resource, begun, newest_first=True, events_max=events_max, rows_max=rows_max
    )
    with closing(found):
        rows = [(*(event[name] for name in names), *told_by(event)) for event in islice(found, part.limit)]
    return Report(name="ledger", parameters={}, as_of=as_of, columns=COLUMNS, rows=rows, units=UNITS)


def dated_events(
    reader: Reader,
    scope: Scope,
    until: int,
    period: Period,
    resource: str | None,
    begun: Mapping[LotId, Instant],
    *,
    newest_first: bool = False,
    events_max: int = EVENTS_AT_ONCE,
    rows_max: int | None = None,
) -> Generator[DictRow]:
    """The events of a scope that count within a period, in the order of the log, with what was said of them.

    `begun` tells when those grants begin that were changed since they were issued; `counts_at` follows from it. One
    page of them is at hand at once. Refuses: PositionNotReached; TooManyRows (of more than `rows_max`).
    """
    bounds = {**period._asdict(), "resource": resource}
    names: dict[StreamId, str | None] = {}
    rows = 0
    for connection, moved, values in pages(reader, scope, until, events_max=events_max, newest_first=newest_first):
        text = sql.SQL(report_sql("dated")).format(moved=moved)
        events = _in_period(connection.execute(text, values | bounds), period, begun)
        events.sort(key=itemgetter("position"), reverse=newest_first)
        rows += len(events)
        if rows_max is not None and rows > rows_max:
            raise TooManyRows(rows_max)
        _look_up_names(connection, events, names)
        texts = load_documents(connection, [event["document_id"] for event in events if event["document_id"]])
        for event in events:
            told = {"grant_name": names.get(event["stream_id"]), "texts": texts.get(event["document_id"], {})}
            yield event | told | {"amount": event["amount"] or 0}


def _begun(reader: Reader, scope: Scope, until: int, events_max: int) -> dict[LotId, Instant]:
    """When grants begin that were changed since they were issued."""
    begun: dict[LotId, Instant] = {}
    for connection, moved, values in pages(reader, scope, until, events_max=events_max, topic=GrantUpdated.TOPIC):
        found = connection.execute(sql.SQL(report_sql("begun")).format(moved=moved), values)
        begun |= {row["lot"]: row["begins_at"] for row in found}
    return begun


def _in_period(events: Iterable[DictRow], period: Period, begun: Mapping[LotId, Instant]) -> list[DictRow]:
    found: list[DictRow] = []
    for event in events:
        begins_at = event["begins_at"]
        counts_at = event["effective_at"] if begins_at is None else begun.get(event["lot"], begins_at)
        if counts_at <= period.end and (period.start is None or counts_at >= period.start):
            found.append(event | {"counts_at": counts_at})
    return found


def _look_up_names(
    connection: Connection[DictRow], events: Iterable[DictRow], names: dict[StreamId, str | None]
) -> None:
    """Add what the grants of these events are called; an execution credit has no name."""
    streams = {event["stream_id"] for event in events}.difference(names)
    for row in connection.execute(report_sql("names"), {"streams": sorted(streams)}) if streams else ():
        names[row["stream_id"]] = row["readable_id"]


def told_by(event: DictRow) -> tuple[Cell, ...]:
    """The cells of TOLD_BY."""
    actor = f"{event['actor_kind']}:{event['actor_key']}"
    return (actor, *(event["texts"].get(name) for name in TEXTS), event["transaction_id"])
