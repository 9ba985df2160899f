"""Pools from the log: open lots joined to each lot's last row. No snapshots; the millionth debit costs the first's."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain import allocation_rule, auto_recharge, grant_schedule
from ledger.domain.allocation_rule import AllocationRule, RuleBook
from ledger.domain.auto_recharge import AutoRecharge
from ledger.domain.burn_down import RecordedDebit, RefundableDraw
from ledger.domain.credit_grant import CreditGrant
from ledger.domain.events import (
    AutoRechargeDefined,
    Debited,
    ExecutionCreditDefined,
    Granted,
    GrantScheduleDefined,
    LedgerEvent,
    RuleEvent,
)
from ledger.domain.execution_credit import ExecutionCredit
from ledger.domain.grant_details import GrantDetails
from ledger.domain.grant_schedule import part_at
from ledger.domain.lots import ENDS_FOR_GOOD, Lot
from ledger.domain.pool import Aggregate, Pool
from ledger.domain.values import (
    RULES,
    Cause,
    DocumentReference,
    GrantType,
    Kind,
    LotId,
    PoolKey,
    StreamId,
    Terms,
    TransactionId,
)
from ledger.store.mapper import event_of_row
from ledger.store.sql import query

GRANT_TYPES: dict[str | None, GrantType | None] = {None: None, **{each.value: each for each in GrantType}}
CAUSES = dict(Cause.__members__)
"""By their texts: a call of an enumeration costs ten times as much, and a pool may have 100,000 lots."""
LOTS_AT_ONCE = 2_000
"""Lots of one look-up: the server ends a transaction whose client is busy with an answer for too long."""


def load_pools(connection: Connection[DictRow], keys: Sequence[PoolKey]) -> dict[PoolKey, Pool]:
    """The pools as they are in the connection's snapshot; a pool that has nothing open is there and empty."""
    pools: dict[PoolKey, Pool] = {key: RuleBook() if key == RULES else Pool(key) for key in keys}
    if not keys:
        return pools
    columns: dict[str, list[str | None]] = {"kinds": [], "holders": [], "currencies": [], "resources": []}
    for key in pools:
        for column, value in zip(columns.values(), key, strict=True):
            column.append(value)
    open_rows = connection.execute(query("open_lots"), columns).fetchall()
    definitions = {row["stream_id"]: row["definition_version"] for row in open_rows}
    lots = [(row["stream_id"], row["lot"]) for row in open_rows if row["lot"] is not None]
    schedules = {row["stream_id"]: row["next_at"] for row in open_rows if row["lot"] is None}
    for event in _last_events(connection, list(schedules)):
        assert isinstance(event, GrantScheduleDefined)
        schedule = grant_schedule.evolve(None, event)
        schedule.next_part = part_at(event.plan, schedules[event.originator_id])
        pools[event.pool].adopt_schedule(schedule)
    adopted: dict[PoolKey, list[Aggregate]] = {}
    for start in range(0, len(lots), LOTS_AT_ONCE):
        for aggregate in load_lots(connection, lots[start : start + LOTS_AT_ONCE], definitions):
            adopted.setdefault(next(iter(aggregate.lots.values())).pool, []).append(aggregate)
    for key, aggregates in adopted.items():
        pools[key].adopt(aggregates)
    return pools


def load_lots(
    connection: Connection[DictRow],
    lots: Sequence[tuple[StreamId, LotId]],
    definitions: dict[StreamId, int] | None = None,
) -> list[Aggregate]:
    """The aggregates of these lots, each with that one lot, as they are in the connection's snapshot.

    `definitions` are the versions of live execution credits' definitions; an execution credit that is not among them
    has been deleted, so its last definition stands near the end of its stream.
    """
    if not lots:
        return []
    wanted = {"streams": [stream for stream, _ in lots], "lots": [lot for _, lot in lots]}
    rows = connection.execute(query("lot_states"), wanted).fetchall()
    of_credits = [row["stream_id"] for row in rows if row["kind"] == Kind.EXECUTION_CREDIT]
    defined = _definitions(connection, of_credits, definitions or {})
    aggregates: list[Aggregate] = []
    for row in rows:
        lot = _lot_of_row(row)
        if row["kind"] == Kind.CREDIT_GRANT:
            aggregates.append(CreditGrant(lot.stream_id, row["stream_version"], {lot.lot_id: lot}))
        else:
            definition = defined[lot.stream_id]
            if definition.deleted_at is not None and lot.expires_at > definition.deleted_at:
                lot.voided = True  # it was the present one when the credit was deleted, perhaps empty
            aggregates.append(
                ExecutionCredit(
                    lot.stream_id,
                    row["stream_version"],
                    {lot.lot_id: lot},
                    definition,
                    definition.originator_version,
                    lot.lot_id,
                )
            )
    return aggregates


def load_recharges(connection: Connection[DictRow], streams: Sequence[StreamId]) -> list[AutoRecharge]:
    """Automatic recharges by their ids, as they are in the connection's snapshot."""
    found = []
    for event in _last_events(connection, streams):
        assert isinstance(event, AutoRechargeDefined)
        found.append(auto_recharge.evolve(None, event))
    return found


def load_rules(connection: Connection[DictRow], streams: Sequence[StreamId]) -> list[AllocationRule]:
    """Allocation rules by their ids, also those that were removed, as they are in the connection's snapshot."""
    return [
        allocation_rule.evolve(None, event)
        for event in _last_events(connection, streams)
        if isinstance(event, RuleEvent)  # somebody may have named another thing's id
    ]


def load_debits(connection: Connection[DictRow], debit_ids: Iterable[str]) -> dict[TransactionId, RecordedDebit]:
    """Debits by id, with what has come back of each draw so far, and the stream of each lot drawn from."""
    debits: dict[TransactionId, RecordedDebit] = {}
    rows = connection.execute(query("debits"), {"debits": list(debit_ids)}).fetchall()
    for row in sorted(rows, key=itemgetter("position")):
        debit_id = TransactionId(row["debit_id"])
        if row["type"] == Debited.TOPIC:
            draw = RefundableDraw(row["lot"], row["stream_id"], -row["amount"], 0)
            known = debits.get(debit_id)
            if known is None:
                groups = row["account_groups"]
                debits[debit_id] = RecordedDebit(
                    debit_id,
                    pool_key_of_row(row),
                    (draw,),
                    row["use_at"],
                    None if groups is None else tuple(groups),
                )
            else:
                debits[debit_id] = known._replace(draws=(*known.draws, draw))
        else:
            debits[debit_id] = debits[debit_id].after([(row["lot"], row["amount"])])
    return debits


def pool_key_of_row(row: DictRow) -> PoolKey:
    return _pool_key(row["kind"], row["holder"], row["currency"], row["resource"])


@lru_cache(maxsize=4096)
def _pool_key(kind: str, holder: str, currency: str, resource: str | None) -> PoolKey:
    return PoolKey(Kind(kind), holder, currency, resource)


def _last_events(connection: Connection[DictRow], streams: Sequence[StreamId]) -> list[LedgerEvent]:
    if not streams:
        return []
    rows = connection.execute(query("last_of_streams"), {"streams": list(streams)})
    return [event_of_row(row) for row in rows]


def _definitions(
    connection: Connection[DictRow], streams: list[StreamId], versions: dict[StreamId, int]
) -> dict[StreamId, ExecutionCreditDefined]:
    if not streams:
        return {}
    wanted = {"streams": streams, "versions": [versions.get(stream) for stream in streams]}
    found: dict[StreamId, ExecutionCreditDefined] = {}
    for row in connection.execute(query("definitions"), wanted):
        event = event_of_row(row)
        assert isinstance(event, ExecutionCreditDefined)
        found[event.originator_id] = event
    return found


def _lot_of_row(row: DictRow) -> Lot:
    lot = Lot(
        lot_id=row["lot"],
        stream_id=row["stream_id"],
        pool=pool_key_of_row(row),
        grant_type=GRANT_TYPES[row["grant_type"]],
        terms=Terms.model_validate_json(row["terms"]),
        terms_version=row["terms_version"],
        granted=row["lot_granted"],
        used=row["lot_used"],
        balance=row["lot_balance"],
    )
    if row["details"] is not None:
        lot.details = GrantDetails.model_validate_json(row["details"])
        lot.texts = lot.details.texts
        if row["document_id"] is not None and row["terms_type"] == Granted.TOPIC:
            lot.texts = DocumentReference(row["document_id"], row["document_sha256"])
    cause = CAUSES[row["cause"]]
    lot.voided = cause in ENDS_FOR_GOOD or (cause is Cause.REFUND and row["type"] == "ledger.voided")
    return lot
