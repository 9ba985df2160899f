"""The reactor that records when the use of a month has reached a rule's threshold."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application import CreditLedger, LedgerUnavailable, RecordThreshold
from ledger.application.ledger import accepted
from ledger.application.receipts import Outcome
from ledger.domain.refusals import QueueFull
from ledger.domain.threshold_watch import Reached, ThresholdWatch
from ledger.store.followed import Stretch, followed, keep_followed, log_stretch, threshold_steps, thresholds_reached
from projections.allocation_rules.queries import details_at
from projections.group_usage.queries import used_by_months
from projections.read_model import RULE_MODELS
from projections.reading import Reader
from service.reactor import RETRY_SECONDS, Reactor

EVENTS_AT_ONCE_MAX = 50_000
"""How much of the log is read before what came of it is written."""
KEEP_EVERY_SECONDS = 1.0


@dataclass(slots=True)
class Following:
    """How far the log has been followed, and what is known there; all that came of it up to `kept` is written."""

    watch: ThresholdWatch
    seen: int
    kept: int


class ThresholdReactor(Reactor):
    """Records that the use of a month has reached a rule's threshold, once for each rule and month.

    It follows the log transaction by transaction from where it was kept to have come, so that a threshold that was
    reached while nobody looked is recorded as well, also if what was used came back meanwhile. It begins with what the
    read models tell of that position, and fails where they have not come there yet.
    """

    name = "threshold"

    def __init__(self, ledger: CreditLedger, reader: Reader, *, events_at_once_max: int = EVENTS_AT_ONCE_MAX) -> None:
        super().__init__(ledger)
        self._reader = reader
        self._events_at_once_max = events_at_once_max
        self._turn = asyncio.Lock()
        self._following: Following | None = None
        self._keep_at = 0.0

    async def act(self) -> bool:
        """One at a time: what was read once must not be read again."""
        async with self._turn:
            following, self._following = self._following, None
            if following is None:
                following = await asyncio.to_thread(self._begin)
            written = await self._follow(following)
            self._following = following  # of a turn that failed nothing is known: what it has seen may not be written
            return written

    async def _follow(self, following: Following) -> bool:
        written = False
        while True:
            reached, more = await asyncio.to_thread(self._advance, following)
            if reached:
                outcomes = await self._record(reached)
                written = bool(sum(len(accepted(outcome).events) for outcome in outcomes)) or written
            if reached or time.monotonic() >= self._keep_at:
                await asyncio.to_thread(self._keep, following)
            if not more:
                return written

    async def _record(self, reached: Sequence[Reached]) -> list[Outcome]:
        """Hand it to the writer, if need be again: to begin anew is the last that a busy ledger needs."""
        while True:
            try:
                return await self._ledger.record_thresholds([_recording(each) for each in reached])
            except QueueFull:
                await asyncio.sleep(RETRY_SECONDS)

    def _begin(self) -> Following:
        """The watch as it is where it was kept to have come."""
        with self._ledger.connection() as connection:
            position, reached = followed(connection, self.name), thresholds_reached(connection)
            self._stretch(connection, position)
        if position == 0:
            return Following(ThresholdWatch(reached=reached), 0, 0)
        with self._reader.snapshot(RULE_MODELS, at_least=position) as snapshot:
            rules, used = details_at(snapshot, position), used_by_months(snapshot, position)
        return Following(ThresholdWatch(used, rules, reached), position, position)

    def _advance(self, following: Following) -> tuple[list[Reached], bool]:
        """Take in the next stretch of the log; what is reached by it, and whether there is more."""
        with self._ledger.connection() as connection:
            until, head = self._stretch(connection, following.seen)
            if until == following.seen:
                return [], False
            steps = threshold_steps(connection, after=following.seen, until=until)
        reached = list(following.watch.follow(steps))
        following.seen = until
        return reached, until < head

    def _stretch(self, connection: Connection[DictRow], after: int) -> Stretch:
        """What of the log comes next. Raises LedgerUnavailable where it ends before that."""
        stretch = log_stretch(connection, after=after, events_max=self._events_at_once_max)
        if stretch.head < after:
            raise LedgerUnavailable(
                f"the log was followed to position {after}, but it ends at {stretch.head}: it was restored or failed "
                "over; thresholds that are reached between would be missed"
            )
        return stretch

    def _keep(self, following: Following) -> None:
        self._keep_at = time.monotonic() + KEEP_EVERY_SECONDS
        if following.seen > following.kept:
            with self._ledger.connection() as connection:
                keep_followed(connection, self.name, following.seen)
            following.kept = following.seen


def _recording(reached: Reached) -> RecordThreshold:
    return RecordThreshold(
        rule=reached.rule,
        month=reached.month,
        used=reached.used,
        allocated=reached.allocated,
        alarm_threshold=reached.alarm_threshold,
        reached_position=reached.position,
        reached_at=reached.recorded_at,
        caused_by=reached.transaction_id,
    )
