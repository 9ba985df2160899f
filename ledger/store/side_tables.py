"""The write-side tables beside the log, brought up to date from a batch's events in the batch's own transaction.

Everything here follows from the events alone, so that `doctor` can derive it again and compare.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeAlias

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.allocation_rule import RuleBook
from ledger.domain.events import (
    AutoRechargeDefined,
    ExecutionCreditDefined,
    GrantChangeEvent,
    Granted,
    GrantPaymentRecorded,
    GrantScheduleDefined,
    GrantUpdated,
    LedgerEvent,
    MovementEvent,
    RuleEvent,
    ThresholdReached,
)
from ledger.domain.instants import Instant
from ledger.domain.pool import Pool
from ledger.domain.values import Kind, LotId, PoolKey, RollupType, StreamId
from ledger.store.mapper import array_of_lines, escape_copy
from ledger.store.sql import query
from ledger.store.wire import Wire

EXPIRY = "EXPIRY"
RENEWAL = "RENEWAL"
SCHEDULE = "SCHEDULE"
READABLE_ID = "GRANT_READABLE_ID"
LIVE_CREDIT = "LIVE_EXECUTION_CREDIT"
SCHEDULED_PART = "SCHEDULED_PART"
ROLLED_OVER = "ROLLED_OVER"
AUTO_RECHARGE = "AUTO_RECHARGE"
RECHARGE = "RECHARGE"
RULE_NAME = "RULE_NAME"
THRESHOLD = "THRESHOLD"
"""What only one stream may hold, by whom: besides the two above a schedule's part, the remainder of a grant, the
automatic recharge of a pool, one recharge of it, the name of an allocation rule, and a month in which its threshold was
reached."""

KEYS_PER_WRITE = 500
COPY_KEYS = (
    "COPY idempotency (holder, key, operation, kind, body, normaliser_version, transaction_id, position) FROM STDIN"
)


@dataclass(slots=True)
class OpenLot:
    """The row of a stream that has, or may again have, something to pay with."""

    lot: LotId
    pool: PoolKey
    definition_version: int | None
    expires_at: Instant | None


Claim: TypeAlias = tuple[str, str, StreamId]
"""What only one stream may hold: its kind, its value, and who holds it."""

KeyScope: TypeAlias = tuple[str, str, str, Kind]
"""What an idempotency key is unique in: holder, key, operation, kind."""


class AcceptedKey(NamedTuple):
    """An idempotency key that an accepted command holds; `position` is the first of its transaction."""

    scope: KeyScope
    body: str
    normaliser_version: int
    transaction_id: str
    position: int
    receipt: object = None
    """What it was answered with, where that is at hand."""


@dataclass(slots=True)
class SideEffects:
    """What a batch changes beside the log."""

    opened: dict[StreamId, OpenLot] = field(default_factory=dict)
    closed: set[StreamId] = field(default_factory=set)
    redefined: dict[StreamId, int] = field(default_factory=dict)
    claims: dict[Claim, None] = field(default_factory=dict)
    """In order."""
    released: list[Claim] = field(default_factory=list)
    """What nobody holds any more: of live credits that are deleted, of rules that are called otherwise or removed."""
    schedules: dict[StreamId, tuple[PoolKey, Instant]] = field(default_factory=dict)
    """When each grants next."""
    endless: set[StreamId] = field(default_factory=set)
    """Those that have no end any more: of a grant it was taken away, of a credit it lies beyond the calendar."""

    def __bool__(self) -> bool:
        """Whether anything does."""
        return any(getattr(self, each.name) for each in fields(self))

    def follow(self, event: LedgerEvent, pool: Pool) -> None:
        """Take in one event; `pool` has evolved by it."""
        match event:
            case ExecutionCreditDefined():
                self._define(event)
            case GrantScheduleDefined():
                self._define_schedule(event, pool)
            case AutoRechargeDefined():
                if event.originator_version == 1:
                    value = recharge_claim(event.pool)
                    self.claims[AUTO_RECHARGE, value, event.originator_id] = None
            case RuleEvent():
                self._rule(event, pool)
            case GrantUpdated() | GrantPaymentRecorded():
                self._change(event)
            case _:
                self._move(event, pool)

    def _move(self, event: MovementEvent, pool: Pool) -> None:
        stream_id = event.originator_id
        if event.pool.kind is Kind.EXECUTION_CREDIT:
            if isinstance(event, Granted):
                version = self.redefined.get(stream_id)
                self._open(stream_id, OpenLot(event.lot, event.pool, version, event.terms.expires_at))
                if event.terms.expires_at is None:
                    self.endless.add(stream_id)
        elif event.after.balance == 0:
            self.opened.pop(stream_id, None)
            self.closed.add(stream_id)
        elif event.amount > 0:
            self._open(stream_id, OpenLot(event.lot, event.pool, None, pool.lot(event.lot).terms.expires_at))
            if isinstance(event, Granted):
                self._claim(event, pool)

    def _change(self, event: GrantChangeEvent) -> None:
        stream_id = event.originator_id
        if event.after.balance > 0:
            self._open(stream_id, OpenLot(event.lot, event.pool, None, event.terms.expires_at))
        if event.terms.expires_at is None:  # of an empty one too: a refund of the same batch may open it again
            self.endless.add(stream_id)
        else:
            self.endless.discard(stream_id)

    def _claim(self, event: Granted, pool: Pool) -> None:
        """What a new grant holds alone; a schedule's is followed by the schedule's next."""
        grant, stream_id = event.grant, event.originator_id
        assert grant is not None
        self.claims[READABLE_ID, grant.readable_id, stream_id] = None
        if grant.scheduled is not None:
            schedule_id, part = grant.scheduled.schedule_id, grant.scheduled.part
            self.claims[SCHEDULED_PART, json.dumps([schedule_id, part]), stream_id] = None
            schedule = pool.schedules.get(schedule_id)
            if schedule is not None:
                self.schedules[schedule_id] = (event.pool, schedule.next_at)
        if grant.rolled_over_from is not None:
            self.claims[ROLLED_OVER, grant.rolled_over_from.grant_id, stream_id] = None
        if grant.recharge is not None:
            value = json.dumps([grant.recharge.configuration_id, grant.recharge.number])
            self.claims[RECHARGE, value, stream_id] = None

    def _define_schedule(self, event: GrantScheduleDefined, pool: Pool) -> None:
        stream_id = event.originator_id
        if event.plan.ended_at is None:
            self.schedules[stream_id] = (event.pool, pool.schedules[stream_id].next_at)
        else:
            self.schedules.pop(stream_id, None)
            self.closed.add(stream_id)

    def _define(self, event: ExecutionCreditDefined) -> None:
        stream_id = event.originator_id
        self.redefined[stream_id] = event.originator_version
        if stream_id in self.opened:
            self.opened[stream_id].definition_version = event.originator_version
        if event.deleted_at is not None:
            self.opened.pop(stream_id, None)
            self.closed.add(stream_id)
            self._release(LIVE_CREDIT, live_claim(event), stream_id)
        elif event.originator_version == 1:
            self.claims[LIVE_CREDIT, live_claim(event), stream_id] = None

    def _rule(self, event: RuleEvent, pool: Pool) -> None:
        """Which name a rule holds, and the months in which its threshold was reached."""
        assert isinstance(pool, RuleBook)
        stream_id, rule = event.originator_id, event.rule
        if isinstance(event, ThresholdReached):
            self.claims[THRESHOLD, threshold_claim(stream_id, event.month), stream_id] = None
            return
        held = pool.rules[stream_id].former_name
        name = rule.name if rule.removed_at is None else None
        if held != name:
            if held is not None:
                self._release(RULE_NAME, held, stream_id)
            if name is not None:
                self.claims[RULE_NAME, name, stream_id] = None

    def _release(self, kind: str, value: str, stream_id: StreamId) -> None:
        """Nobody holds it any more; a claim that is not written yet is not made at all."""
        claim = (kind, value, stream_id)
        self.claims.pop(claim, None)
        self.released.append(claim)

    def _open(self, stream_id: StreamId, row: OpenLot) -> None:
        self.closed.discard(stream_id)
        self.opened[stream_id] = row


def write_side_effects(connection: Connection[DictRow], effects: SideEffects) -> None:
    """Bring claims, open lots and due up to date."""
    if effects.released:
        connection.execute(query("release_claims"), _columns_of_claims(effects.released))
    if effects.claims:
        connection.execute(query("add_claims"), _columns_of_claims(effects.claims))
    if effects.closed:
        connection.execute(query("close"), {"streams": list(effects.closed)})
    if effects.redefined:
        changed = {"streams": list(effects.redefined), "versions": list(effects.redefined.values())}
        connection.execute(query("redefine"), changed)
    if effects.opened:
        connection.execute(query("open"), _columns_of_open(effects.opened))
    if effects.endless:
        connection.execute(query("clear_due"), {"streams": list(effects.endless)})
    due = [
        (stream, EXPIRY if row.pool.kind is Kind.CREDIT_GRANT else RENEWAL, row.expires_at, *row.pool)
        for stream, row in effects.opened.items()
        if row.expires_at is not None
    ]
    due += [(stream, SCHEDULE, next_at, *pool) for stream, (pool, next_at) in effects.schedules.items()]
    if due:
        names = ("streams", "acts", "instants", "kinds", "holders", "currencies", "resources")
        connection.execute(query("open_due"), dict(zip(names, map(list, zip(*due, strict=True)), strict=True)))


def live_claim(definition: ExecutionCreditDefined) -> str:
    """What a live execution credit is claimed by."""
    sort = "ADDON" if definition.rollup_type is RollupType.ADDON else "RENEWING"
    return json.dumps([definition.pool.holder, definition.credit_type.value, sort])


def threshold_claim(rule: StreamId, month: str) -> str:
    """What the month is claimed by in which a rule's threshold was reached."""
    return json.dumps([rule, month])


def recharge_claim(pool: PoolKey) -> str:
    """What the automatic recharge of a pool is claimed by."""
    return json.dumps([pool.holder, pool.currency])


def claimed(connection: Connection[DictRow], kind: str, values: Sequence[str]) -> dict[str, StreamId]:
    """Who holds each of these claims; one that nobody holds is missing."""
    rows = connection.execute(query("claimed"), {"kind": kind, "values": list(values)})
    return {row["value"]: row["stream_id"] for row in rows}


def due_pools(
    connection: Connection[DictRow],
    now: Instant,
    pools_max: int,
    *,
    kind: Kind | None = None,
    holder: str | None = None,
) -> list[PoolKey]:
    """The pools on which something has fallen due by `now`, the longest overdue first; of one holder, if named."""
    wanted = {"now": now, "limit": pools_max, "kind": kind, "holder": holder}
    rows = connection.execute(query("due_pools" if holder is None else "due_pools_of"), wanted)
    return [PoolKey(Kind(row["kind"]), row["holder"], row["currency"], row["resource"]) for row in rows]


class Unsettled(NamedTuple):
    """What of a holder's dues a read may have missed: some are not written, or were so after the read's position."""

    due: bool
    written: bool
    head: int


def unsettled(connection: Connection[DictRow], kind: Kind, holder: str, *, now: Instant, position: int) -> Unsettled:
    """What a read at an instant and a position may have missed; in one look at both."""
    wanted = {"kind": kind, "holder": holder, "now": now, "position": position}
    row: Any = connection.execute(query("unsettled"), wanted).fetchone()
    return Unsettled(**row)


class Taken(NamedTuple):
    """The customers' own pools that something was taken from or whose recharge was defined, up to a position."""

    pools: frozenset[PoolKey]
    position: int
    redefined: frozenset[PoolKey]


def pools_taken_from(connection: Connection[DictRow], *, after: int | None) -> Taken:
    """What was taken from since a position; without one only where the log is now."""
    rows = connection.execute(query("pools_taken_from"), {"after": after}).fetchall()
    pools: set[PoolKey] = set()
    redefined: set[PoolKey] = set()
    for row in rows:
        if row["kind"] is not None:
            pool = PoolKey(Kind(row["kind"]), row["holder"], row["currency"], None)
            pools.add(pool)
            if row["redefined"]:
                redefined.add(pool)
    return Taken(frozenset(pools), rows[0]["position"], frozenset(redefined))


def recharged_pools(connection: Connection[DictRow], among: Iterable[PoolKey] | None = None) -> frozenset[PoolKey]:
    """The pools whose automatic recharge is enabled; among some, or all there are."""
    claims = None if among is None else list(map(recharge_claim, among))
    rows = connection.execute(query("recharged_pools"), {"claims": claims})
    return frozenset(PoolKey(Kind(row["kind"]), row["holder"], row["currency"], row["resource"]) for row in rows)


def next_due_at(connection: Connection[DictRow]) -> Instant | None:
    """When the next thing falls due, or the first overdue one did; None if nothing will."""
    row = connection.execute(query("next_due")).fetchone()
    return None if row is None else row["due_at"]


def send_keys(wire: Wire, keys: Sequence[AcceptedKey]) -> None:
    """Send the keys of accepted commands to be kept; they commit with their events.

    The wire's answer is UniqueViolation (idempotency_key) if one of them is taken already.
    """
    if keys:
        wire.send(query("append_keys"), array_of_lines("".join(map(_line_of_key, keys))))


def copy_keys(wire: Wire, keys: Sequence[AcceptedKey]) -> None:
    """The same by a COPY that was begun."""
    for first in range(0, len(keys), KEYS_PER_WRITE):
        wire.copy("".join(map(_line_of_key, keys[first : first + KEYS_PER_WRITE])))


def write_documents(connection: Connection[DictRow], documents: Iterable[tuple[str, str, str]]) -> None:
    """Keep free texts: id, body, hash."""
    ids, bodies, hashes = map(list, zip(*documents, strict=True))
    connection.execute(query("add_documents"), {"ids": ids, "bodies": bodies, "hashes": hashes})


def _line_of_key(key: AcceptedKey) -> str:
    (holder, name, operation, kind), body, version, transaction_id, position, _ = key
    return (
        f"{escape_copy(holder)}\t{escape_copy(name)}\t{operation}\t{kind}\t{escape_copy(body)}"
        f"\t{version}\t{transaction_id}\t{position}\n"
    )


def _columns_of_claims(claims: Iterable[Claim]) -> dict[str, list[str]]:
    kinds, values, streams = map(list, zip(*claims, strict=True))
    return {"kinds": kinds, "values": values, "streams": streams}


def _columns_of_open(opened: dict[StreamId, OpenLot]) -> dict[str, list[Any]]:
    rows = opened.values()
    return {
        "streams": list(opened),
        "lots": [row.lot for row in rows],
        "kinds": [row.pool.kind for row in rows],
        "holders": [row.pool.holder for row in rows],
        "currencies": [row.pool.currency for row in rows],
        "resources": [row.pool.resource for row in rows],
        "definitions": [row.definition_version for row in rows],
    }
