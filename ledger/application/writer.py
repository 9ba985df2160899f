"""The writer: one thread for each process that locks, catches up, decides, appends and only then answers.

It never waits to fill a batch: it takes whatever has queued up while the last commit was on its way. All writers of
all processes take turns under one lock, so there is no optimistic conflict to retry, the order of decisions is the
order of the log, and a hot pool costs nothing extra.
"""

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import psycopg
from eventsourcing.persistence import EventStore
from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.application.batch import Batch, ReplayFrom, keys_wanted
from ledger.application.commands import (
    Command,
    DeleteExecutionCredit,
    RefundDebit,
    ResizeExecutionCredit,
    VoidGrant,
)
from ledger.application.ids import TimeOrderedIds
from ledger.application.receipts import LedgerUnavailable, Outcome, Receipt
from ledger.application.replies import Submission, answer
from ledger.domain.events import ExecutionCreditDefined, Granted, LedgerEvent
from ledger.domain.instants import Instant
from ledger.domain.pool import Pool
from ledger.domain.refusals import NotStorable, QueueFull, Refusal
from ledger.domain.values import PoolKey, StreamId, TransactionId
from ledger.store.clock import Clock
from ledger.store.database import Database, Role, idle
from ledger.store.datastore import LedgerDatastore, PinnedTransaction
from ledger.store.mapper import event_of_row
from ledger.store.pools import load_debits, load_pools, pool_key_of_row
from ledger.store.recorder import COPY_EVENTS_MIN, lock_key
from ledger.store.side_tables import READABLE_ID, write_documents, write_keys, write_side_effects
from ledger.store.sql import query

log = logging.getLogger(__name__)

PIPELINED_EVENTS_MAX = COPY_EVENTS_MIN
"""Fewer events than this go out as one pipeline; COPY cannot be part of one."""
LOOK_UP_KEYS_FOR_BATCHES = 64
"""After a key that was taken: so many batches look all their keys up first, as callers that repeat come in swarms."""
RECONNECT_PAUSE_SECONDS = 0.02
RECONNECT_PAUSE_SECONDS_MAX = 1.0
INDEX_PLANS_ONLY = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}
"""All that a writer asks goes through an index. On a young table without statistics the planner would rather scan."""
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True)
class WriterLimits:
    """Bounds of the writer; every queue and every wait has one."""

    queued_commands_max: int = 100_000
    batch_commands_max: int = 8_000
    batch_list_commands_max_beside_singles: int = 1_000
    cached_pools_max: int = 50_000
    catch_up_events_max: int = 20_000
    """Farther behind than this, the cache is dropped instead of being brought up to date."""
    lock_wait_milliseconds_max: int = 2_000
    idle_in_transaction_milliseconds_max: int = 2_000
    outage_seconds_max: float = 30.0
    """How long a batch waits for a database that is away, before its callers hear LedgerUnavailable."""


class LogWentBack(Exception):
    """The log is shorter than it was, or of another epoch: it was restored or failed over. Nothing may be written."""


class Writer:
    """Takes submissions from a queue and answers them. `start` it once; `stop` drains the queue first."""

    def __init__(
        self,
        database: Database,
        datastore: LedgerDatastore,
        events: EventStore[str],
        clock: Clock,
        limits: WriterLimits | None = None,
    ) -> None:
        self.limits = limits or WriterLimits()
        self._database = database
        self._datastore = datastore
        self._events = events
        self._head_and_now = clock.beside_head()
        self._ids = TimeOrderedIds()
        self._singles: deque[Submission] = deque()
        self._lists: deque[Submission] = deque()
        self._queued = 0
        self._wake = threading.Condition()
        self._stopping = False
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"{database.schema}-writer", daemon=True)
        self._connection: Connection[DictRow] | None = None
        self._lock_key = 0
        self._pools: dict[PoolKey, Pool] = {}
        self._head = 0
        self._epoch: str | None = None
        self._batch: Batch | None = None
        self._attempted: Attempt | None = None
        self._batches_to_look_up_keys = 0
        self._notify = sql.SQL("NOTIFY {}").format(sql.Identifier(f"{database.schema}_events"))

    @property
    def failure(self) -> str | None:
        """Why the writer has ended or cannot write; None while it works."""
        if self._failure is None and not self._stopping and not self._thread.is_alive():
            return "the writer has not been started, or has ended"
        return self._failure

    @property
    def head(self) -> int:
        """The last position this writer knows of."""
        return self._head

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Accept nothing more, answer everything that was accepted, end."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._close()

    def submit(self, submission: Submission) -> None:
        """Queue commands. Raises QueueFull (nothing is queued) and LedgerUnavailable (the writer has ended)."""
        with self._wake:
            if self._stopping or self._failure is not None:
                raise LedgerUnavailable(self._failure or "the ledger is stopping")
            count = len(submission.commands)
            if self._queued + count > self.limits.queued_commands_max and self._queued > 0:
                raise QueueFull(self.limits.queued_commands_max)
            self._queued += count
            (self._singles if count == 1 else self._lists).append(submission)
            self._wake.notify()

    def _run(self) -> None:
        try:
            while True:
                with self._wake:
                    while not self._singles and not self._lists:
                        if self._stopping:
                            return
                        self._wake.wait()
                    taken = self._take()
                self._work(taken)
        except BaseException as error:
            log.critical("the writer has ended", exc_info=True)
            self._fail_everyone(f"the writer has ended: {error}")

    def _take(self) -> list[tuple[Submission, Sequence[Command]]]:
        """The next batch: single commands first, then as much of the lists as there is room for, in order."""
        taken: list[tuple[Submission, Sequence[Command]]] = []
        room = self.limits.batch_commands_max
        while self._singles and room:
            submission = self._singles.popleft()
            taken.append((submission, submission.commands))
            room -= 1
        if taken:
            room = min(room, self.limits.batch_list_commands_max_beside_singles)
        while self._lists and room:
            submission = self._lists[0]
            commands = submission.commands[submission.taken : submission.taken + room]
            submission.taken += len(commands)
            room -= len(commands)
            taken.append((submission, commands))
            if submission.taken == len(submission.commands):
                self._lists.popleft()
        self._queued -= sum(len(commands) for _, commands in taken)
        return taken

    def _work(self, taken: list[tuple[Submission, Sequence[Command]]]) -> None:
        commands = [command for _, commands in taken for command in commands]
        outcomes: Sequence[Outcome]
        try:
            outcomes = self._carry_out(commands)
        except BaseException as error:
            outcomes = [LedgerUnavailable(f"the writer has ended: {error}", outcome_unknown=True) for _ in commands]
            self._answer(taken, outcomes)
            raise
        self._answer(taken, outcomes)

    def _answer(self, taken: list[tuple[Submission, Sequence[Command]]], outcomes: Sequence[Outcome]) -> None:
        start = 0
        for submission, commands in taken:
            submission.outcomes += outcomes[start : start + len(commands)]
            start += len(commands)
        answer([submission for submission, _ in taken if submission.answered])

    def _fail_everyone(self, reason: str) -> None:
        with self._wake:
            self._failure = reason
            waiting = [*self._singles, *self._lists]
            self._singles.clear()
            self._lists.clear()
        for submission in waiting:
            missing = len(submission.commands) - len(submission.outcomes)
            submission.outcomes += [LedgerUnavailable(reason) for _ in range(missing)]
        answer(waiting)

    def _carry_out(self, commands: Sequence[Command]) -> Sequence[Outcome]:
        """Carry out commands as one transaction, whatever happens to the connection; one bad row fails only itself."""
        deadline = time.monotonic() + self.limits.outage_seconds_max
        pause = RECONNECT_PAUSE_SECONDS
        while True:
            self._attempted = self._batch = None
            try:
                return self._attempt(commands)
            except LogWentBack:
                raise
            except psycopg.errors.LockNotAvailable:
                self._undo()
                self._end_stalled_holder()
                if time.monotonic() > deadline:
                    return [LedgerUnavailable("another writer holds the log") for _ in commands]
            except Exception as error:
                if self._is_outage(error):
                    log.warning("the database failed a batch: %s", error)
                    outcomes = self._recover(commands, deadline, error)
                    if outcomes is not None:
                        return outcomes
                    time.sleep(pause)
                    pause = min(pause * 2, RECONNECT_PAUSE_SECONDS_MAX)
                    continue
                self._undo()
                if _is_taken_key(error):
                    self._batches_to_look_up_keys = LOOK_UP_KEYS_FOR_BATCHES
                elif len(commands) == 1:
                    log.exception("a command cannot be stored")
                    return [NotStorable(str(error).splitlines()[0] if str(error) else type(error).__name__)]
                else:
                    half = len(commands) // 2
                    return [*self._carry_out(commands[:half]), *self._carry_out(commands[half:])]

    def _attempt(self, commands: Sequence[Command]) -> Sequence[Outcome]:
        """One try at one transaction: before the lock load, under it catch up, decide and append, then commit."""
        connection = self._connected()
        names = self._prepare(connection, commands)
        batch = self._batch = self._lock_and_catch_up(connection, commands, names)
        if len(commands) < PIPELINED_EVENTS_MAX:
            self._decide_then_append(connection, batch, commands)
        else:
            self._decide_while_appending(connection, batch, commands)
        self._head = batch.head + len(batch.events)  # only here: in a pipeline, a failure shows when it is left
        for pool in batch.touched:
            pool.forget_closed()
        self._bound_cache()
        return self._with_replays(connection, batch.outcomes)

    def _prepare(self, connection: Connection[DictRow], commands: Sequence[Command]) -> "Names":
        """Before the lock: find the pools that the commands name, and load those that are not at hand.

        What is read here of names never changes. Pools are read in one snapshot and marked with its position.
        """
        names = Names()
        debits = [command.transaction_id for command in commands if isinstance(command, RefundDebit)]
        debits = [debit for debit in debits if _is_uuid(debit)]
        grants = [command.grant for command in commands if isinstance(command, VoidGrant)]
        execution_credits = [
            command.credit for command in commands if isinstance(command, ResizeExecutionCredit | DeleteExecutionCredit)
        ]
        if debits or grants or execution_credits:
            names.find(connection, debits, grants, execution_credits)
        missing = [key for key in names.pools_of(commands) if key not in self._pools]
        if missing:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            head = connection.execute(query("head")).fetchone()
            assert head is not None
            names.loaded = load_pools(connection, missing)
            names.loaded_at = head["position"] or 0
            connection.execute("COMMIT")
        return names

    def _lock_and_catch_up(self, connection: Connection[DictRow], commands: Sequence[Command], names: "Names") -> Batch:
        keys = None
        if self._batches_to_look_up_keys:
            self._batches_to_look_up_keys -= 1
            keys = keys_wanted(commands)
        with connection.pipeline():
            connection.execute("BEGIN")
            connection.execute(query("lock"), {"key": self._lock_key}, prepare=True)
            head_of = connection.execute(self._head_and_now, prepare=True)
            taken_of = None if keys is None else connection.execute(query("keys"), [keys], prepare=True)
        head = head_of.fetchone()
        assert head is not None
        position = head["position"] or 0
        self._check_head(head["epoch"], position)
        self._catch_up(connection, position, names)
        now: Instant = head["instant"]
        if head["recorded_at"] is not None:
            now = max(now, head["recorded_at"])
        self._ids.begin(now)
        batch = Batch(self._pools, self._ids, now, position)
        batch.streams, batch.pool_of = names.streams, names.pool_of
        dropped = [key for key in names.pools_of(commands) if key not in self._pools]
        self._pools |= load_pools(connection, dropped)
        if taken_of is not None:
            taken = taken_of.fetchall()
            batch.know_keys(taken)
            batch.keys_known = True
            if taken:
                self._batches_to_look_up_keys = LOOK_UP_KEYS_FOR_BATCHES
        batch.know_lots(connection, commands)
        return batch

    def _check_head(self, epoch: str, position: int) -> None:
        if self._epoch is None:
            self._epoch = epoch
        if epoch != self._epoch or position < self._head:
            raise LogWentBack(
                f"the log is at position {position} of epoch {epoch}, this writer had seen {self._head} of "
                f"{self._epoch}: it was restored or failed over; restart this process once the log is the right one"
            )

    def _catch_up(self, connection: Connection[DictRow], position: int, names: "Names") -> None:
        """Apply what other processes appended since this one last looked."""
        if position - self._head > self.limits.catch_up_events_max:
            self._pools.clear()
        known_until = min(self._head, names.loaded_at) if names.loaded else self._head
        changed = self._pools.keys() | names.loaded.keys()
        if changed and position > known_until:
            rows = {"after": known_until, "until": position, "types": None, "limit": position - known_until}
            for row in connection.execute(query("log_rows"), rows):
                key = pool_key_of_row(row)
                if key in names.loaded and row["position"] > names.loaded_at:
                    _follow(names.loaded, key, event_of_row(row))
                if key in self._pools and row["position"] > self._head:
                    _follow(self._pools, key, event_of_row(row))
        self._pools |= names.loaded
        self._head = position

    def _decide_then_append(self, connection: Connection[DictRow], batch: Batch, commands: Sequence[Command]) -> None:
        """Few commands: decide, then send everything at once."""
        events = list(batch.decide_all(commands))
        self._look_up_refused(connection, batch, commands)
        with connection.pipeline() if len(events) < PIPELINED_EVENTS_MAX else nullcontext():
            self._append(connection, batch, events)
            self._commit(connection, batch)

    def _decide_while_appending(
        self, connection: Connection[DictRow], batch: Batch, commands: Sequence[Command]
    ) -> None:
        """Many commands: the log takes in the first ones' events while the next are decided."""
        self._append(connection, batch, batch.decide_all(commands))
        self._look_up_refused(connection, batch, commands)
        self._commit(connection, batch)

    def _append(self, connection: Connection[DictRow], batch: Batch, events: Iterable[LedgerEvent]) -> None:
        with self._datastore.pin(PinnedTransaction(connection, batch.head)):
            self._events.put(events)  # type: ignore[arg-type]  # ours takes them as they come

    def _commit(self, connection: Connection[DictRow], batch: Batch) -> None:
        """Keys and side tables, then commit and wake the followers.

        `_attempted` lets a lost reply be cleared up afterwards.
        """
        if not batch.events:
            connection.execute("ROLLBACK")
            return
        write_keys(connection, batch.accepted_keys)
        if batch.documents:
            write_documents(connection, batch.documents)
        write_side_effects(connection, batch.effects)
        self._attempted = Attempt(batch.head + 1, batch.events[0].transaction.transaction_id, batch.outcomes)
        connection.execute("COMMIT")
        connection.execute(self._notify)

    def _look_up_refused(self, connection: Connection[DictRow], batch: Batch, commands: Sequence[Command]) -> None:
        """A refused command may have been accepted before, under its key: then that is the answer.

        Accepted ones need no look-up: a key that was taken before fails the append, and the batch is run again with
        all keys looked up first.
        """
        if batch.keys_known:
            return
        refused = {
            place: command
            for place, command in enumerate(commands)
            if command.idempotency_key is not None and isinstance(batch.outcomes[place], Refusal)
        }
        keys = keys_wanted(list(refused.values()))
        if keys is not None:
            batch.know_keys(connection.execute(query("keys"), [keys], prepare=True).fetchall())
            for place, command in refused.items():
                batch.outcomes[place] = batch.answered_before(command) or batch.outcomes[place]

    def _with_replays(self, connection: Connection[DictRow], outcomes: "list[Outcome | ReplayFrom]") -> list[Outcome]:
        """Read the answers of commands that were answered before; what the log holds does not change any more."""
        positions = [outcome.position for outcome in outcomes if isinstance(outcome, ReplayFrom)]
        if not positions:
            return outcomes  # type: ignore[return-value]  # no ReplayFrom among them
        found: dict[str, list[Any]] = {}
        for row in connection.execute(query("transactions"), {"positions": sorted(set(positions))}):
            found.setdefault(row["transaction_id"], []).append(row)
        receipts: dict[int, Receipt] = {}
        for transaction_id, rows in found.items():
            events: Any = tuple(map(event_of_row, rows))
            receipts[rows[0]["position"]] = Receipt(
                TransactionId(transaction_id), rows[-1]["position"], events, replayed=True
            )
        return [receipts[outcome.position] if isinstance(outcome, ReplayFrom) else outcome for outcome in outcomes]

    def _is_outage(self, error: Exception) -> bool:
        """Whether the failure is the connection's or the server's, not that of a row."""
        connection = self._connection
        gone = connection is None or connection.closed
        return isinstance(error, psycopg.Error) and (gone or isinstance(error, psycopg.OperationalError))

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
                connection = self._connected()
                if attempted is None:
                    return None
                connection.execute("BEGIN")
                connection.execute(query("lock"), {"key": self._lock_key})
                row = connection.execute(query("transaction_at"), {"position": attempted.position}).fetchone()
                connection.execute("ROLLBACK")
                if row is None or row["transaction_id"] != attempted.transaction_id:
                    return None
                return self._with_replays(connection, attempted.outcomes)
            except psycopg.errors.LockNotAvailable:
                self._end_stalled_holder()
            except psycopg.Error as error:
                failure = error
                time.sleep(pause)
                pause = min(pause * 2, RECONNECT_PAUSE_SECONDS_MAX)
        self._forget()
        reason = f"the database is not available: {failure}"
        return [LedgerUnavailable(reason, outcome_unknown=attempted is not None) for _ in commands]

    def _connected(self) -> Connection[DictRow]:
        if self._connection is None or not idle(self._connection):
            self._forget()
            self._connection = self._database.connect(
                Role.WRITER,
                lock_timeout=f"{self.limits.lock_wait_milliseconds_max}ms",
                idle_in_transaction_session_timeout=f"{self.limits.idle_in_transaction_milliseconds_max}ms",
                **INDEX_PLANS_ONLY,
            )
            self._lock_key = lock_key(self._connection, self._database.schema)
        return self._connection

    def _undo(self) -> None:
        """End the failed transaction, and let go of the pools on which its commands were decided."""
        if self._batch is not None:
            for pool in self._batch.touched:
                self._pools.pop(pool.key, None)
        try:
            if self._connection is not None:
                self._connection.rollback()
        except psycopg.Error:
            self._forget()

    def _forget(self) -> None:
        """Drop the connection and everything that was decided on it. The known head stays: it was committed."""
        self._pools.clear()
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _end_stalled_holder(self) -> None:
        """The lock did not come free: if its holder waits for a client that has stopped, end its session.

        Where that cannot be done, for want of a connection or of the right, the lock is waited for again.
        """
        stalled = f"{self.limits.idle_in_transaction_milliseconds_max} milliseconds"
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
        if len(self._pools) > self.limits.cached_pools_max:
            for key in list(self._pools)[: len(self._pools) // 2]:
                del self._pools[key]


class Names:
    """What a batch's commands name: debits, grants and credits, with their pools; and the pools loaded for them."""

    def __init__(self) -> None:
        self.streams: dict[str, StreamId] = {}
        self.pool_of: dict[str, PoolKey] = {}
        self.loaded: dict[PoolKey, Pool] = {}
        self.loaded_at = 0

    def find(
        self, connection: Connection[DictRow], debits: Sequence[str], grants: Sequence[str], credits: Sequence[str]
    ) -> None:
        for debit_id, debit in load_debits(connection, debits).items():
            self.pool_of[debit_id] = debit.pool
        claimed = {"kind": READABLE_ID, "values": list(grants)}
        for row in connection.execute(query("claimed"), claimed) if grants else ():
            self.streams[row["value"]] = row["stream_id"]
        for name in [*grants, *credits]:
            if name not in self.streams and _is_uuid(name):
                self.streams[name] = StreamId(name.lower())
        wanted = {"streams": list(set(self.streams.values()))}
        pools = {row["stream_id"]: pool_key_of_row(row) for row in connection.execute(query("streams"), wanted)}
        for name, stream_id in list(self.streams.items()):
            if stream_id in pools:
                self.pool_of[name] = pools[stream_id]
            else:
                del self.streams[name]

    def pools_of(self, commands: Sequence[Command]) -> set[PoolKey]:
        wanted = {command.pool for command in commands}
        wanted.update(self.pool_of.values())
        wanted.discard(None)
        return cast("set[PoolKey]", wanted)


class Attempt(NamedTuple):
    """An append that may have been committed: where it began, whose it was, and what it would be answered with."""

    position: int
    transaction_id: str
    outcomes: "list[Outcome | ReplayFrom]"


def _follow(pools: dict[PoolKey, Pool], key: PoolKey, event: LedgerEvent) -> None:
    """Apply another process's event; a pool that lacks the event's lot is let go, to be loaded again."""
    pool = pools[key]
    known = isinstance(event, ExecutionCreditDefined | Granted) or pool.holds(event.lot)
    if known:
        pool.evolve(event)
    else:
        del pools[key]


def _is_taken_key(error: Exception) -> bool:
    return isinstance(error, psycopg.errors.UniqueViolation) and error.diag.constraint_name == "idempotency_key"


def _is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None
