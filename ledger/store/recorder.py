"""The library's recorder on the ledger's log: reads anywhere, appends only under the writers' lock."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast
from uuid import UUID

from eventsourcing.persistence import ApplicationRecorder, Notification, StoredEvent, Subscription
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresSubscription
from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.store.datastore import LedgerDatastore, PinnedTransaction
from ledger.store.mapper import COLUMNS, LineToAppend, RecordedEvent, array_of_lines
from ledger.store.sql import query

POSITION_MAX = 2**63 - 1
LOOK_EVERY_SECONDS = 0.1
"""How often a subscription looks at the log without being woken."""

COPY_EVENTS = f"COPY events ({', '.join(COLUMNS)}) FROM STDIN"


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
        lines = cast("Iterable[LineToAppend]", stored_events)
        pinned = self.datastore.pinned
        if pinned is not None:
            return append(pinned, lines)
        with self.datastore.get_connection() as connection:
            with connection.transaction():
                connection.execute(query("lock"), {"key": lock_key(connection, self.datastore.schema)})
                head = connection.execute(query("head")).fetchone()
                assert head is not None
                positions = list(append(PinnedTransaction(connection, head["position"] or 0), lines))
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

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return LogSubscription(self, gt, topics)

    def max_notification_id(self) -> int | None:
        with self.datastore.get_connection() as connection:
            head = connection.execute(query("head")).fetchone()
            assert head is not None
            return cast("int | None", head["position"])


class LogSubscription(PostgresSubscription):
    """The library's subscription, which looks at the log by itself as well.

    The library's own waits for ever for an event that was notified before its thread had begun to listen.
    """

    def _listen(self) -> None:
        try:
            with self._recorder.datastore.get_connection() as connection:
                connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._recorder.channel_name)))
                while not (self._has_been_stopped or self._thread_error):
                    self._has_been_notified.set()
                    list(connection.notifies(timeout=LOOK_EVERY_SECONDS, stop_after=1))
        except BaseException as error:  # it is raised to whoever reads the subscription
            self._thread_error = self._thread_error or error
            self.stop()


def append(transaction: PinnedTransaction, events: Iterable[LineToAppend]) -> Sequence[int]:
    """Append events behind the head of a transaction that holds the lock; returns their positions."""
    first = transaction.head + 1
    lines = "".join(_numbered(transaction, events))
    wire = transaction.wire
    if wire is None:
        transaction.connection.execute(query("append"), [array_of_lines(lines)])
    elif transaction.copying:
        wire.copy(lines)
    else:
        wire.send(query("append"), array_of_lines(lines))
    return range(first, transaction.head + 1)


def _numbered(transaction: PinnedTransaction, events: Iterable[LineToAppend]) -> Iterator[str]:
    """Whole lines: each event's own, behind its position and that of the last event of its transaction."""
    first = transaction.head + 1
    together: list[str] = []
    transaction_id = ""
    for event in events:
        if event.transaction_id == transaction_id:
            together.append(event.line)
            continue
        if len(together) == 1:
            yield f"{first}\t{first}\t{together[0]}"
            first += 1
            together[0] = event.line
        else:
            last = first + len(together) - 1
            for position, line in enumerate(together, first):
                yield f"{position}\t{last}\t{line}"
            first = last + 1
            together = [event.line]
        transaction_id = event.transaction_id
    transaction.head = last = first + len(together) - 1
    for position, line in enumerate(together, first):
        yield f"{position}\t{last}\t{line}"


def lock_key(connection: Connection[DictRow], schema: str) -> int:
    """The key of the writers' lock: this ledger's own, from its schema's oid."""
    row = connection.execute("SELECT %s::regnamespace::oid::bigint AS oid", [schema]).fetchone()
    assert row is not None
    return (0x1ED6E2 << 32) | cast("int", row["oid"])


def notify(connection: Connection[DictRow], channel: str) -> None:
    """Wake the followers: its own statement after the commit, because inside it all ledgers of the server queue."""
    connection.execute(sql.SQL("NOTIFY {}").format(sql.Identifier(channel)))


def _recorded(row: DictRow) -> RecordedEvent:
    return RecordedEvent(
        originator_id=row["stream_id"],
        originator_version=row["version"],
        topic=row["type"],
        state=b"",
        id=row["position"],
        row=row,
    )
