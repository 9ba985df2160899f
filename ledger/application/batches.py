"""One batch of commands, one transaction: lock, catch up, decide, append, commit; and what to do when that fails.

The order of the guards is the design's. Nothing is answered from here before its events are on disk, and a lost reply
to COMMIT is cleared up from the log itself.
"""

import logging
import time
from collections.abc import Sequence
from typing import NamedTuple, cast

import psycopg
from eventsourcing.persistence import EventStore
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application.appending import COPY_COMMANDS_MIN, append_by_copy, append_by_statements
from ledger.application.batch import Batch, ReplayFrom, keys_wanted
from ledger.application.commands import Command
from ledger.application.failures import is_outage, is_taken_key
from ledger.application.ids import TimeOrderedIds
from ledger.application.limits import WriterLimits
from ledger.application.names import Names
from ledger.application.receipts import LedgerUnavailable, Outcome, Receipt
from ledger.application.watching import BatchDone, BatchWatcher
from ledger.domain.events import LedgerEvent
from ledger.domain.instants import Instant
from ledger.domain.lots import LawBroken
from ledger.domain.pool import Pool
from ledger.domain.refusals import NotStorable
from ledger.domain.values import PoolKey, TransactionId
from ledger.store.clock import Clock
from ledger.store.database import Database, Role, idle
from ledger.store.datastore import LedgerDatastore, PinnedTransaction
from ledger.store.mapper import event_of_row
from ledger.store.pools import load_pools, pool_key_of_row
from ledger.store.recorder import lock_key
from ledger.store.side_tables import write_documents, write_side_effects
from ledger.store.sql import query
from ledger.store.wire import Wire

log = logging.getLogger(__name__)

LOOK_UP_KEYS_FOR_BATCHES = 64
"""After a key that was taken: so many batches look all their keys up first, as callers that repeat come in swarms."""
RECONNECT_PAUSE_SECONDS = 0.02
RECONNECT_PAUSE_SECONDS_MAX = 1.0
INDEX_PLANS_ONLY = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}
"""All that a writer asks goes through an index, row by row and in the index's order.

On a table without statistics the planner would rather scan it, or fetch a stream's whole history to sort it."""


class LogUnusable(Exception):
    """This process must not write any more: the log went back, or holds what this version cannot follow."""


class Attempt(NamedTuple):
    """An append that may have been committed: where it began, whose it was, and what it would be answered with."""

    position: int
    transaction_id: str
    outcomes: list[Outcome]


class BatchWriter:
    """Carries out batches of commands, each as one transaction under the writers' lock. For one thread.

    `head` is the last position it knows of.
    """

    def __init__(
        self,
        database: Database,
        datastore: LedgerDatastore,
        events: EventStore[str],
        clock: Clock,
        limits: WriterLimits,
        watcher: BatchWatcher | None = None,
    ) -> None:
        self.head = 0
        self._database = database
        self._datastore = datastore
        self._events = events
        self._head_and_now = clock.beside_head()
        self._limits = limits
        self._watcher = watcher
        self._append_began = 0.0
        self._ids = TimeOrderedIds()
        self._connection: Connection[DictRow] | None = None
        self._wire: Wire | None = None
        self._lock_key = 0
        self._pools: dict[PoolKey, Pool] = {}
        self._epoch: str | None = None
        self._batch: Batch | None = None
        self._attempted: Attempt | None = None
        self._batches_to_look_up_keys = 0
        self._notify = f'NOTIFY "{database.schema}_events"'

    def carry_out(self, commands: Sequence[Command]) -> list[Outcome]:
        """Carry out commands in order, in as many transactions as they need; an outcome for each."""
        outcomes: list[Outcome] = []
        while len(outcomes) < len(commands):
            outcomes += self._one_transaction(commands[len(outcomes) :])
        return outcomes

    def _one_transaction(self, commands: Sequence[Command]) -> Sequence[Outcome]:
        """Carry out the first commands, mostly all, as one transaction, whatever happens to the connection.

        A command whose events cannot be written fails alone: the batch is run again by halves until it is found.
        """
        deadline = time.monotonic() + self._limits.outage_seconds_max
        pause = RECONNECT_PAUSE_SECONDS
        while True:
            self._attempted = self._batch = None
            try:
                return self._attempt(commands)
            except LogUnusable:
                raise
            except psycopg.errors.LockNotAvailable:
                self._undo()
                self._end_stalled_holder()
                if time.monotonic() > deadline:
                    return [LedgerUnavailable("another writer holds the log") for _ in commands]
            except Exception as error:
                if self._may_be_committed(error) or is_outage(error, self._connection):
                    log.warning("the database failed a batch: %s", error)
                    outcomes = self._recover(commands, deadline, error)
                    if outcomes is not None:
                        return outcomes
                    time.sleep(pause)
                    pause = min(pause * 2, RECONNECT_PAUSE_SECONDS_MAX)
                    continue
                self._undo()
                if is_taken_key(error) and not self._batches_to_look_up_keys:
                    self._batches_to_look_up_keys = LOOK_UP_KEYS_FOR_BATCHES
                elif len(commands) == 1:
                    log.exception("a command cannot be carried out")
                    return [NotStorable(str(error).splitlines()[0] if str(error) else type(error).__name__)]
                else:
                    return self._one_transaction(commands[: len(commands) // 2])

    def _may_be_committed(self, error: Exception) -> bool:
        """After the append was complete, only the server's own refusal says that nothing of it was committed."""
        return self._attempted is not None and not isinstance(error, psycopg.Error)

    def _attempt(self, commands: Sequence[Command]) -> Sequence[Outcome]:
        """One try at one transaction: before the lock load, under it catch up, decide and append, then commit."""
        connection, wire = self._connected()
        names = Names(commands)
        names.find(connection)
        missing = [key for key in names.pools if key not in self._pools]
        if missing:
            names.load(connection, missing)
        batch = self._batch = self._lock_and_catch_up(connection, wire, commands, names)
        self._decide_and_append(connection, wire, batch, commands)
        self._commit(connection, wire, batch)
        self.head = batch.head + len(batch.events)
        for pool in batch.touched:
            pool.forget_closed()
        self._bound_cache()
        self._tell()
        return cast("list[Outcome]", batch.outcomes)

    def _lock_and_catch_up(
        self, connection: Connection[DictRow], wire: Wire, commands: Sequence[Command], names: Names
    ) -> Batch:
        keys = None
        if self._batches_to_look_up_keys:
            self._batches_to_look_up_keys -= 1
            keys = keys_wanted(commands, names.scopes)
        wire.send("BEGIN")
        wire.send(query("lock"), str(self._lock_key))
        wire.send(self._head_and_now)
        if keys is not None:
            wire.send(query("keys"), keys)
        _, _, (head,), *taken_of = wire.answers()
        position = head["position"] or 0
        self._check_head(head["epoch"], position)
        self._catch_up(connection, position, names)
        now: Instant = head["instant"]
        if head["recorded_at"] is not None:
            now = max(now, head["recorded_at"])
        self._ids.begin(now)
        batch = Batch(self._pools, self._ids, now, position)
        batch.streams, batch.scopes, batch.pool_of = names.streams, names.scopes, names.pool_of
        dropped = [key for key in names.pools if key not in self._pools]
        self._pools |= load_pools(connection, dropped)
        for taken in taken_of:
            batch.know_keys(taken)
            batch.keys_known = True
            if taken:
                self._batches_to_look_up_keys = LOOK_UP_KEYS_FOR_BATCHES
        batch.know_lots(connection, names.naming)
        batch.know_recharges(connection, names.others)
        batch.know_rules(connection, names.others)
        return batch

    def _check_head(self, epoch: str, position: int) -> None:
        if self._epoch is None:
            self._epoch = epoch
        if epoch != self._epoch or position < self.head:
            raise LogUnusable(
                f"the log is at position {position} of epoch {epoch}, this writer had seen {self.head} of "
                f"{self._epoch}: it was restored or failed over; restart this process once the log is the right one"
            )

    def _catch_up(self, connection: Connection[DictRow], position: int, names: Names) -> None:
        """Apply what other processes appended since this one last looked; what is far behind is loaded again instead.

        An event that cannot be read or applied stops this writer: to go on past it could break a law.
        """
        if position - self.head > self._limits.catch_up_events_max:
            self._pools.clear()
        if position - names.loaded_at > self._limits.catch_up_events_max:
            names.loaded.clear()
        after = min(self.head if self._pools else position, names.loaded_at if names.loaded else position)
        if after < position:
            rows = {"after": after, "until": position, "types": None, "limit": position - after}
            try:
                for row in connection.execute(query("log_rows"), rows):
                    key = pool_key_of_row(row)
                    if key in names.loaded and row["position"] > names.loaded_at:
                        follow(names.loaded, key, event_of_row(row))
                    if key in self._pools and row["position"] > self.head:
                        follow(self._pools, key, event_of_row(row))
            except (LawBroken, ValueError) as error:
                raise LogUnusable(f"the log holds what this version cannot follow: {error}") from error
        self._pools |= names.loaded
        self.head = position

    def _decide_and_append(
        self, connection: Connection[DictRow], wire: Wire, batch: Batch, commands: Sequence[Command]
    ) -> None:
        """The log takes in the first commands' events, and their keys, while the next are decided."""
        self._append_began = time.perf_counter()
        copying = len(commands) >= COPY_COMMANDS_MIN
        append = append_by_copy if copying else append_by_statements
        with self._datastore.pin(PinnedTransaction(connection, batch.head, wire, copying)):
            append(self._events, wire, batch, commands, self._limits.batch_events_max)
        self._settle_answers(connection, wire, batch, commands)

    def _commit(self, connection: Connection[DictRow], wire: Wire, batch: Batch) -> None:
        """Side tables, then commit and wake the followers, which may fail: they look by themselves as well.

        `_attempted` lets a lost reply be cleared up afterwards.
        """
        if not batch.events:
            wire.send("ROLLBACK")
            wire.answers()
            return
        if batch.documents or batch.effects:
            wire.answers()
            with connection.pipeline():
                if batch.documents:
                    write_documents(connection, batch.documents.values())
                write_side_effects(connection, batch.effects)
        outcomes = cast("list[Outcome]", batch.outcomes)  # every replay has been read by now
        self._attempted = Attempt(batch.head + 1, batch.events[0].transaction.transaction_id, outcomes)
        wire.send("COMMIT")
        wire.send(self._notify, may_fail=True)
        wire.answers()

    def _settle_answers(
        self, connection: Connection[DictRow], wire: Wire, batch: Batch, commands: Sequence[Command]
    ) -> None:
        """Before the commit: whatever is still to be read for the answers.

        A refused command may have been accepted before, under its key: then that is the answer. Accepted ones need no
        look-up: a key that was taken before fails the append, and the batch is run again with all keys looked up first.
        """
        refused = [] if batch.keys_known else [(place, commands[place]) for place in batch.refused]
        keys = keys_wanted([command for _, command in refused], batch.scopes)
        if keys is not None:
            wire.send(query("keys"), keys)
            rows = wire.answers()[-1]
            found = batch.know_keys([row for row in rows if row["position"] <= batch.head])  # not this batch's own
            for place, command in refused:
                if command.idempotency_key is not None:
                    batch.outcomes[place] = batch.answered(found, command) or batch.outcomes[place]
        if batch.replays:
            wire.answers()
            replays = [outcome.position for outcome in batch.outcomes if isinstance(outcome, ReplayFrom)]
            receipts = read_receipts(connection, replays)
            batch.outcomes = [
                receipts[outcome.position] if isinstance(outcome, ReplayFrom) else outcome for outcome in batch.outcomes
            ]

    def _recover(self, commands: Sequence[Command], deadline: float, failure: Exception) -> Sequence[Outcome] | None:
        """Reach the database again and find out whether the failed batch was committed.

        The batch's answers if it was; None if it was not and is to be tried again. Our transaction id at our first
        position says it was, all of it: the lock is taken first, so that a backend still committing has ended.
        """
        attempted = self._attempted
        pause = RECONNECT_PAUSE_SECONDS
        while time.monotonic() < deadline:
            self._forget()
            try:
                connection, wire = self._connected()
                if attempted is None:
                    return None
                connection.execute("BEGIN")
                connection.execute(query("lock"), {"key": self._lock_key})
                row = connection.execute(query("transaction_at"), {"position": attempted.position}).fetchone()
                wire.give_up()
                if row is None or row["transaction_id"] != attempted.transaction_id:
                    return None
                self._tell()
                return attempted.outcomes
            except psycopg.errors.LockNotAvailable:
                self._end_stalled_holder()
            except psycopg.Error as error:
                failure = error
                time.sleep(pause)
                pause = min(pause * 2, RECONNECT_PAUSE_SECONDS_MAX)
        self._forget()
        reason = f"the database is not available: {failure}"
        return [LedgerUnavailable(reason, outcome_unknown=attempted is not None) for _ in commands]

    def _tell(self) -> None:
        """Tell the watcher of a batch that is known to be done."""
        batch = self._batch
        if self._watcher is not None and batch is not None:
            seconds = time.perf_counter() - self._append_began
            self._watcher(BatchDone(len(batch.outcomes), batch.hits, batch.events, seconds))

    def _connected(self) -> tuple[Connection[DictRow], Wire]:
        if self._connection is None or self._wire is None or not idle(self._connection):
            self._forget()
            self._connection = self._database.connect(
                Role.WRITER,
                lock_timeout=f"{self._limits.lock_wait_milliseconds_max}ms",
                idle_in_transaction_session_timeout=f"{self._limits.idle_in_transaction_milliseconds_max}ms",
                **INDEX_PLANS_ONLY,
            )
            self._lock_key = lock_key(self._connection, self._database.schema)
            self._wire = Wire(self._connection)
        return self._connection, self._wire

    def _undo(self) -> None:
        """End the failed transaction, and let go of the pools on which its commands were decided."""
        if self._batch is not None:
            for pool in self._batch.touched:
                self._pools.pop(pool.key, None)
        try:
            if self._wire is not None:
                self._wire.give_up()
        except psycopg.Error:
            self._forget()

    def _forget(self) -> None:
        """Drop the connection and everything that was decided on it. The known head stays: it was committed."""
        self._pools.clear()
        self.close()

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _end_stalled_holder(self) -> None:
        """The lock did not come free: if its holder waits for a client that has stopped, end its session.

        Where that cannot be done, for want of a connection or of the right, the lock is waited for again.
        """
        stalled = f"{self._limits.idle_in_transaction_milliseconds_max} milliseconds"
        holder = {"key": self._lock_key, "stalled": stalled}
        try:
            with self._database.connect(None) as connection:
                ended = connection.execute(query("stalled_holder"), holder).fetchall()
        except psycopg.Error as error:
            log.warning("cannot end the session that holds the log: %s", error)
            return
        if ended:
            log.warning("ended %d stalled session(s) that held the log", len(ended))

    def _bound_cache(self) -> None:
        """Let go of the pools that were loaded first; half at a time, so that it happens rarely."""
        if len(self._pools) > self._limits.cached_pools_max:
            for key in list(self._pools)[: len(self._pools) // 2]:
                del self._pools[key]


def follow(pools: dict[PoolKey, Pool], key: PoolKey, event: LedgerEvent) -> None:
    """Apply another process's event; a pool that cannot follow it is let go, to be loaded again."""
    pool = pools[key]
    if pool.follows(event):
        pool.evolve(event)
    else:
        del pools[key]


def read_receipts(connection: Connection[DictRow], positions: Sequence[int]) -> dict[int, Outcome]:
    """The first answers of commands that were answered before, by the first position of their transaction."""
    found: dict[str, list[DictRow]] = {}
    for row in connection.execute(query("transactions"), {"positions": sorted(set(positions))}):
        found.setdefault(row["transaction_id"], []).append(row)
    receipts: dict[int, Outcome] = {}
    for transaction_id, rows in found.items():
        first, last = rows[0]["position"], rows[-1]["position"]
        try:
            events = tuple(map(event_of_row, rows))
            receipts[first] = Receipt(TransactionId(transaction_id), last, events, replayed=True)
        except (LawBroken, ValueError) as error:
            receipts[first] = LedgerUnavailable(f"the first answer cannot be read by this version: {error}")
    return receipts
