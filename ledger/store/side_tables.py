"""The write-side tables beside the log, brought up to date from a batch's events in the batch's own transaction.

Everything here follows from the events alone, so that `doctor` can derive it again and compare.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.domain.events import ExecutionCreditDefined, Granted, LedgerEvent
from ledger.domain.instants import Instant
from ledger.domain.pool import Pool
from ledger.domain.values import Kind, LotId, PoolKey, RollupType, StreamId
from ledger.store.mapper import escape_copy
from ledger.store.sql import query

EXPIRY = "EXPIRY"
RENEWAL = "RENEWAL"
READABLE_ID = "GRANT_READABLE_ID"
LIVE_CREDIT = "LIVE_EXECUTION_CREDIT"

COPY_KEYS_MIN = 512
"""Fewer keys than this go in by one INSERT, which can share a pipeline with the commit."""
KEYS_PER_WRITE = 500
COPY_KEYS = sql.SQL("COPY idempotency FROM STDIN")


@dataclass(slots=True)
class OpenLot:
    """The row of a stream that has, or may again have, something to pay with."""

    lot: LotId
    pool: PoolKey
    definition_version: int | None
    expires_at: Instant | None


KeyScope: TypeAlias = tuple[str, str, str, Kind]
"""What an idempotency key is unique in: holder, key, operation, kind."""


@dataclass(slots=True)
class AcceptedKey:
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
    claims: list[tuple[str, str, StreamId]] = field(default_factory=list)
    released: list[StreamId] = field(default_factory=list)

    def follow(self, event: LedgerEvent, pool: Pool) -> None:
        """Take in one event; `pool` has evolved by it."""
        stream_id = event.originator_id
        if isinstance(event, ExecutionCreditDefined):
            self._define(event)
            return
        if event.pool.kind is Kind.EXECUTION_CREDIT:
            if isinstance(event, Granted):
                version = self.redefined.get(stream_id)
                self._open(stream_id, OpenLot(event.lot, event.pool, version, event.terms.expires_at))
        elif event.after.balance == 0:
            self.opened.pop(stream_id, None)
            self.closed.add(stream_id)
        elif event.amount > 0:
            self._open(stream_id, OpenLot(event.lot, event.pool, None, pool.lot(event.lot).terms.expires_at))
            if isinstance(event, Granted) and event.grant is not None and event.originator_version == 1:
                self.claims.append((READABLE_ID, event.grant.readable_id, stream_id))

    def _define(self, event: ExecutionCreditDefined) -> None:
        stream_id = event.originator_id
        self.redefined[stream_id] = event.originator_version
        if stream_id in self.opened:
            self.opened[stream_id].definition_version = event.originator_version
        if event.deleted_at is not None:
            self.claims = [claim for claim in self.claims if claim[2] != stream_id]
            self.opened.pop(stream_id, None)
            self.closed.add(stream_id)
            self.released.append(stream_id)
        elif event.originator_version == 1:
            renewing = event.rollup_type is not RollupType.ADDON
            value = json.dumps([event.pool.holder, event.credit_type.value, "RENEWING" if renewing else "ADDON"])
            self.claims.append((LIVE_CREDIT, value, stream_id))

    def _open(self, stream_id: StreamId, row: OpenLot) -> None:
        self.closed.discard(stream_id)
        self.opened[stream_id] = row


def write_side_effects(connection: Connection[DictRow], effects: SideEffects) -> None:
    """Bring claims, open lots and due up to date."""
    if effects.released:
        connection.execute(query("release_claims"), {"streams": effects.released, "kind": LIVE_CREDIT})
    if effects.claims:
        kinds, values, streams = map(list, zip(*effects.claims, strict=True))
        connection.execute(query("add_claims"), {"kinds": kinds, "values": values, "streams": streams})
    if effects.closed:
        connection.execute(query("close"), {"streams": list(effects.closed)})
    if effects.redefined:
        changed = {"streams": list(effects.redefined), "versions": list(effects.redefined.values())}
        connection.execute(query("redefine"), changed)
    if effects.opened:
        connection.execute(query("open"), _columns_of_open(effects.opened))
        ending = {stream: row for stream, row in effects.opened.items() if row.expires_at is not None}
        if ending:
            due = _columns_of_open(ending)
            due["acts"] = [EXPIRY if row.pool.kind is Kind.CREDIT_GRANT else RENEWAL for row in ending.values()]
            due["instants"] = [row.expires_at for row in ending.values()]
            connection.execute(query("open_due"), due)


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
    rows = connection.execute(query("due_pools"), wanted)
    return [PoolKey(Kind(row["kind"]), row["holder"], row["currency"], row["resource"]) for row in rows]


def next_due_at(connection: Connection[DictRow]) -> Instant | None:
    """When the next thing falls due, or the first overdue one did; None if nothing will."""
    row = connection.execute(query("next_due")).fetchone()
    return None if row is None else row["due_at"]


def write_keys(connection: Connection[DictRow], keys: Sequence[AcceptedKey]) -> None:
    """Keep the keys of the accepted commands; they commit with their events.

    Raises UniqueViolation (idempotency_key) if one of them is taken already.
    """
    if not keys:
        return
    if len(keys) < COPY_KEYS_MIN:
        rows = [(*key.scope, key.body, key.normaliser_version, key.transaction_id, key.position) for key in keys]
        connection.execute(query("append_keys"), [json.dumps(rows)], prepare=True)
        return
    with connection.cursor().copy(COPY_KEYS) as copy:
        for first in range(0, len(keys), KEYS_PER_WRITE):
            copy.write("".join(map(_line_of_key, keys[first : first + KEYS_PER_WRITE])))


def write_documents(connection: Connection[DictRow], documents: Iterable[tuple[str, str, str]]) -> None:
    """Keep free texts: id, body, hash."""
    ids, bodies, hashes = map(list, zip(*documents, strict=True))
    connection.execute(query("add_documents"), {"ids": ids, "bodies": bodies, "hashes": hashes})


def _line_of_key(key: AcceptedKey) -> str:
    holder, name, operation, kind = key.scope
    return (
        f"{escape_copy(holder)}\t{escape_copy(name)}\t{operation}\t{kind}\t{escape_copy(key.body)}"
        f"\t{key.normaliser_version}\t{key.transaction_id}\t{key.position}\n"
    )


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
