"""The library's recorder on the ledger's log: reads anywhere, appends only under the writers' lock."""

import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any, cast
from uuid import UUID

from eventsourcing.persistence import Notification, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder
from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.store.datastore import LedgerDatastore, PinnedTransaction
from ledger.store.mapper import COLUMNS, LineToAppend, RecordedEvent, fields_of_line
from ledger.store.sql import query

COPY_EVENTS_MIN = 32
"""From this many rows up, COPY is faster than one INSERT (measured; see docs/performance.md)."""
LINES_PER_WRITE = 500
"""So many lines at a time: the server takes them in while we send the next."""
POSITION_MAX = 2**63 - 1

COPY = sql.SQL("COPY events ({}) FROM STDIN").format(sql.SQL(", ").join(map(sql.Identifier, COLUMNS)))


class LogRecorder(PostgresApplicationRecorder):
    """Keeps the log. Positions are head + 1, head + 2, ... under the lock, so they are gapless and in commit order.

    The library's own writing methods retry on connection errors, which could append twice and outside the lock; here
    they are replaced and never retry.
    """

    datastore: LedgerDatastore

    def __init__(self, datastore: LedgerDatastore) -> None:
        super().__init__(datastore, events_table_name="events")
        self.channel_name = f"{datastore.schema}_events"

    def create_table(self) -> None:
        """The schema is made by `ledger.store.migrate`, never on the way."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        """Append to the pinned transaction; without one, in a transaction of its own under the lock.

        Returns the positions. Raises IntegrityError if a stream already has one of the versions.
        """
        lines = cast("Sequence[LineToAppend]", stored_events)
        if not lines:
            return []
        pinned = self.datastore.pinned
        if pinned is not None:
            return append(pinned, lines)
        with self.datastore.get_connection() as connection:
            with connection.transaction():
                connection.execute(query("lock"), {"key": lock_key(connection, self.datastore.schema)})
                head = connection.execute(query("head")).fetchone()
                assert head is not None
                positions = append(PinnedTransaction(connection, head["position"] or 0), lines)
            notify(connection, self.channel_name)
        return positions

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        statement = query("stream_rows_descending" if desc else "stream_rows")
        values = {"stream": originator_id, "gt": gt, "lte": lte, "limit": limit}
        with self.datastore.get_connection() as connection:
            return [_recorded(row) for row in connection.execute(statement, values)]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        after = -1 if start is None else start - 1 if inclusive_of_start else start
        values = {
            "after": after,
            "until": POSITION_MAX if stop is None else stop,
            "types": list(topics) or None,
            "limit": limit,
        }
        with self.datastore.get_connection() as connection:
            return [_recorded(row) for row in connection.execute(query("log_rows"), values)]

    def max_notification_id(self) -> int | None:
        with self.datastore.get_connection() as connection:
            head = connection.execute(query("head")).fetchone()
            assert head is not None
            return cast("int | None", head["position"])


def append(transaction: PinnedTransaction, events: Sequence[LineToAppend]) -> Sequence[int]:
    """Append events behind the head of a transaction that holds the lock; returns their positions."""
    position = transaction.head
    lines: list[str] = []
    for _, group in groupby(events, key=_transaction_id):
        together = list(group)
        last = position + len(together)
        for event in together:
            position += 1
            lines.append(f"{position}\t{last}\t{event.line}")
    if len(lines) < COPY_EVENTS_MIN:
        rows = json.dumps(list(map(fields_of_line, lines)), ensure_ascii=False)
        transaction.connection.execute(query("append"), [rows], prepare=True)
    else:
        with transaction.connection.cursor().copy(COPY) as copy:
            for first in range(0, len(lines), LINES_PER_WRITE):
                copy.write("".join(lines[first : first + LINES_PER_WRITE]))
    positions = range(transaction.head + 1, position + 1)
    transaction.head = position
    return positions


def lock_key(connection: Connection[DictRow], schema: str) -> int:
    """The key of the writers' lock: this ledger's own, from its schema's oid."""
    row = connection.execute("SELECT %s::regnamespace::oid::bigint AS oid", [schema]).fetchone()
    assert row is not None
    return (0x1ED6E2 << 32) | cast("int", row["oid"])


def notify(connection: Connection[DictRow], channel: str) -> None:
    """Wake the followers: its own statement after the commit, because inside it all ledgers of the server queue."""
    connection.execute(sql.SQL("NOTIFY {}").format(sql.Identifier(channel)))


def _transaction_id(event: LineToAppend) -> str:
    return event.transaction_id


def _recorded(row: DictRow) -> RecordedEvent:
    return RecordedEvent(
        originator_id=row["stream_id"],
        originator_version=row["version"],
        topic=row["type"],
        state=b"",
        id=row["position"],
        row=row,
    )
