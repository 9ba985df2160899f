"""The writer: one thread for each process that takes commands from a queue and answers them.

It never waits to fill a batch: it takes whatever has queued up while the last commit was on its way. All writers of
all processes take turns under one lock, so there is no optimistic conflict to retry, the order of decisions is the
order of the log, and a hot pool costs nothing extra.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence

from eventsourcing.persistence import EventStore

from ledger.application.batches import BatchWriter
from ledger.application.commands import Command
from ledger.application.limits import WriterLimits
from ledger.application.receipts import LedgerUnavailable, Outcome
from ledger.application.replies import Submission, answer
from ledger.application.watching import BatchWatcher
from ledger.domain.refusals import QueueFull
from ledger.store.clock import Clock
from ledger.store.database import Database
from ledger.store.datastore import LedgerDatastore

log = logging.getLogger(__name__)


class Writer:
    """Takes submissions from a queue and answers them. `start` it once; `stop` drains the queue first."""

    def __init__(
        self,
        database: Database,
        datastore: LedgerDatastore,
        events: EventStore[str],
        clock: Clock,
        limits: WriterLimits | None = None,
        watcher: BatchWatcher | None = None,
    ) -> None:
        self.limits = limits or WriterLimits()
        self._batches = BatchWriter(database, datastore, events, clock, self.limits, watcher)
        self._singles: deque[Submission] = deque()
        self._lists: deque[Submission] = deque()
        self._queued = 0
        self._wake = threading.Condition()
        self._stopping = False
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"{database.schema}-writer", daemon=True)
        self._started = False

    @property
    def failure(self) -> str | None:
        """Why commands are not accepted: not started, stopping, or ended by a fault. None while they are."""
        if self._failure is not None:
            return self._failure
        if not self._started:
            return "the ledger has not been started"
        return "the ledger is stopping" if self._stopping else None

    @property
    def head(self) -> int:
        """The last position this writer knows of."""
        return self._batches.head

    @property
    def queued(self) -> int:
        """How many commands wait to be taken into a batch."""
        return self._queued

    def start(self) -> None:
        self._started = True
        self._thread.start()

    def stop(self) -> None:
        """Accept nothing more, answer everything that was accepted, end."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._batches.close()

    def submit(self, submission: Submission) -> None:
        """Queue commands. Raises QueueFull and LedgerUnavailable (see `failure`); then nothing is queued."""
        with self._wake:
            failure = self.failure
            if failure is not None:
                raise LedgerUnavailable(failure)
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
            self._batches.close()  # whatever it was in the middle of, it keeps the log from nobody
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
            outcomes = self._batches.carry_out(commands)
        except BaseException as error:
            self._failure = f"the writer has ended: {error}"
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
            self._queued = 0
        for submission in waiting:
            missing = len(submission.commands) - len(submission.outcomes)
            submission.outcomes += [LedgerUnavailable(reason) for _ in range(missing)]
        answer(waiting)
