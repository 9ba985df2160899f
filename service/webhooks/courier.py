"""Delivers to one endpoint: looks through the log for it, sends what it wants, and notes what came of that."""

import asyncio
import logging
import random
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from service.feed.messages import Message
from service.webhooks.bodies import Bodies
from service.webhooks.book import Attempt, Endpoint, Failure, Notes, Outdated, disable, prune_attempts, take
from service.webhooks.desk import Desk
from service.webhooks.lanes import Lanes, Waiting
from service.webhooks.post import Outcome, Poster
from service.webhooks.schedule import Schedule, Trouble

log = logging.getLogger(__name__)

NOTE_EVERY_SECONDS = 0.05
"""What was delivered is noted together with what is delivered meanwhile. What a killed process had not noted is sent
again."""
POSITION_EVERY_SECONDS = 1.0
"""How often it is noted how far the log was looked through, where nothing of it is wanted."""
UNWRITTEN_MAX = 1000
GRACE_SECONDS = 5.0
"""How long attempts that are on their way may take when all ends; then they are cut off, and made again later."""
ATTEMPTS_KEPT = timedelta(days=7)
ATTEMPTS_KEPT_MAX = 1_000_000
PRUNE_AT_ONCE_MAX = 1000
PRUNE_EVERY_SECONDS = 60.0


class Bounds(NamedTuple):
    """Of each endpoint. While more than `waiting_max` would wait, no more of the log is looked through for it."""

    waiting_max: int = 10_000
    parked_max: int = 10_000
    lanes_max: int = 16
    page_events: int = 500
    attempt_seconds_max: float = 15.0


class Tally:
    """What came of the attempts of this process."""

    def __init__(self) -> None:
        self.delivered = 0
        self.failed = 0
        self.parked = 0


@dataclass(slots=True)
class Failing:
    """A holder's trouble, and the monotonic second that it is known from."""

    trouble: Trouble
    failed_at: float
    retry: asyncio.TimerHandle | None = None


class Courier:
    """Delivers to one endpoint as it is at one revision, until `end` or until an operator has changed it."""

    def __init__(
        self, endpoint: Endpoint, desk: Desk, poster: Poster, tally: Tally, schedule: Schedule, bounds: Bounds
    ) -> None:
        self._endpoint = endpoint
        self._desk = desk
        self._poster = poster
        self._tally = tally
        self._schedule = schedule
        self._bounds = bounds
        self._lanes = Lanes()
        self._bodies = Bodies(partial(desk.stretch, endpoint.wanted), self._lanes.__contains__)
        self._notes = Notes()
        self._anything = asyncio.Event()
        self._room = asyncio.Event()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_their_way: set[asyncio.Task[None]] = set()
        self._failing = {holder: Failing(trouble, time.monotonic()) for holder, trouble in endpoint.troubles.items()}
        self._parked = endpoint.parked
        self._problem: BaseException | None = None
        self._disabled_why: str | None = None
        self._prune_at = 0.0
        for holder, waiting in endpoint.waiting:
            self._lanes.add(holder, waiting)

    def end(self) -> None:
        """Begin no more attempts."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def run(self) -> None:
        """Deliver. Raises what it cannot get on with; an endpoint that takes nothing is no such thing."""
        working = [asyncio.create_task(self._look_through()), asyncio.create_task(self._note())]
        try:
            self._send()
            await asyncio.wait([self._ended, *working], return_when=asyncio.FIRST_COMPLETED)
            self.end()
            if self._on_their_way:
                await asyncio.wait(self._on_their_way, timeout=GRACE_SECONDS)
            problems = [*await _cancelled(working), self._problem]
            with suppress(Outdated):
                await self._write_notes()
                if self._disabled_why is not None:
                    await self._desk.write(partial(disable, endpoint=self._endpoint, why=self._disabled_why))
        finally:
            self.end()
            for failing in self._failing.values():
                if failing.retry is not None:
                    failing.retry.cancel()
            await _cancelled([*working, *self._on_their_way])
            await self._poster.close()
        for problem in problems:
            if problem is not None and not isinstance(problem, Outdated):
                raise problem

    async def _look_through(self) -> None:
        """Read the log page by page, and have what is wanted of it wait. Raises Outdated."""
        seen = noted = self._endpoint.position
        note_at = 0.0
        while True:
            messages: Sequence[Message] = ()
            if await self._desk.beyond(seen, POSITION_EVERY_SECONDS if seen > noted else None):
                await self._has_room()
                page = await self._desk.page(self._endpoint.wanted, seen, self._bounds.page_events)
                seen, messages = page.until, page.messages
            if messages or time.monotonic() >= note_at:
                await self._desk.write(partial(take, endpoint=self._endpoint, until=seen, messages=messages))
                noted, note_at = seen, time.monotonic() + POSITION_EVERY_SECONDS
            for message in messages:
                self._lanes.add(message.holder, Waiting(message.position))
            self._bodies.keep(messages)
            self._send()

    async def _has_room(self) -> None:
        while len(self._lanes) + self._bounds.page_events > self._bounds.waiting_max:
            self._room.clear()
            await self._room.wait()

    def _send(self) -> None:
        """Begin the attempts whose turn it is."""
        while (
            not self._ended.done()
            and len(self._on_their_way) < self._bounds.lanes_max
            and len(self._notes.attempts) < UNWRITTEN_MAX
            and (turn := self._lanes.turn()) is not None
        ):
            attempt = asyncio.create_task(self._attempt(*turn))
            self._on_their_way.add(attempt)
            attempt.add_done_callback(self._attempted)

    def _attempted(self, attempt: "asyncio.Task[None]") -> None:
        self._on_their_way.discard(attempt)
        if not attempt.cancelled() and (problem := attempt.exception()) is not None:
            self._problem = problem
            self.end()
        self._send()

    async def _attempt(self, holder: str, waiting: Waiting) -> None:
        message = await self._bodies.of(waiting.position)
        if message is None:
            log.error("the log has nothing at position %d, where a webhook waits", waiting.position)
            self._leave(holder, waiting.position)
            return
        outcome = await self._poster.send(message)
        self._notes.attempts.append(Attempt(waiting.position, waiting.attempts + 1, outcome))
        self._anything.set()
        if outcome.error is None:
            self._delivered(holder, waiting)
        else:
            self._failed(holder, outcome.error, outcome)

    def _delivered(self, holder: str, waiting: Waiting) -> None:
        self._tally.delivered += 1
        if self._failing.pop(holder, None) is not None:
            self._notes.troubles[holder] = None
            if not self._failing:
                log.info("webhook endpoint %s: all is taken again", self._endpoint.id)
        self._leave(holder, waiting.position)

    def _leave(self, holder: str, position: int) -> None:
        """A message waits no more."""
        self._notes.delivered.append(position)
        self._anything.set()
        if self._first_is_done(holder, position):
            self._lanes.go_on(holder)

    def _failed(self, holder: str, error: str, outcome: Outcome) -> None:
        """Try again when its time has come, or give the message up."""
        self._tally.failed += 1
        now, before = time.monotonic(), self._failing.get(holder)
        if not self._failing:
            log.warning("webhook endpoint %s does not take all: %s", self._endpoint.id, error)
        trouble = Trouble(1, 0.0, error) if before is None else before.trouble.again(now - before.failed_at, error)
        failing = self._failing[holder] = Failing(trouble, now)
        self._notes.troubles[holder] = trouble
        position, attempts = self._lanes.failed(holder)
        gives_up = self._schedule.gives_up(trouble)
        parked_at = datetime.now(UTC) if gives_up else None
        self._notes.failures[position] = Failure(position, attempts, error, parked_at)
        if outcome.status == HTTPStatus.GONE:
            self._disable(f"it answered 410 Gone to position {position}")
        if gives_up:
            self._park(position)
            if not self._first_is_done(holder, position):
                return
        chance = random.random()  # noqa: S311  # it only spreads the load
        seconds = self._schedule.wait_seconds(trouble, chance, outcome.asked_seconds)
        failing.retry = asyncio.get_running_loop().call_later(seconds, self._try_again, holder)

    def _park(self, position: int) -> None:
        log.warning("webhook endpoint %s: position %d is parked", self._endpoint.id, position)
        self._tally.parked += 1
        self._parked += 1
        if self._parked >= self._bounds.parked_max:
            self._disable(f"{self._parked} of its messages are parked")

    def _try_again(self, holder: str) -> None:
        self._lanes.go_on(holder)
        self._send()

    def _disable(self, why: str) -> None:
        if self._disabled_why is not None:
            return
        log.warning("webhook endpoint %s is disabled: %s", self._endpoint.id, why)
        self._disabled_why = why
        self.end()

    def _first_is_done(self, holder: str, position: int) -> bool:
        """The first message of a lane waits no more; whether others do."""
        self._bodies.forget(position)
        more = self._lanes.done(holder)
        self._room.set()
        return more

    async def _note(self) -> None:
        """Write what came of attempts, many together."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PRUNE_EVERY_SECONDS):
                    await self._anything.wait()
            await asyncio.sleep(NOTE_EVERY_SECONDS)
            await self._write_notes()
            self._send()

    async def _write_notes(self) -> None:
        self._anything.clear()
        notes, self._notes = self._notes, Notes()
        await self._desk.write(partial(notes.write, endpoint=self._endpoint))
        if time.monotonic() >= self._prune_at:
            before = datetime.now(UTC) - ATTEMPTS_KEPT
            pruning = partial(
                prune_attempts,
                endpoint_id=self._endpoint.id,
                before=before,
                limit=PRUNE_AT_ONCE_MAX,
                kept_max=ATTEMPTS_KEPT_MAX,
            )
            if await self._desk.write(pruning) < PRUNE_AT_ONCE_MAX:
                self._prune_at = time.monotonic() + PRUNE_EVERY_SECONDS


async def _cancelled(tasks: Collection["asyncio.Task[None]"]) -> list[BaseException | None]:
    """Cancel tasks, and wait until they have ended; what those raised that had ended before."""
    for task in tasks:
        task.cancel()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    return [each for each in told if not isinstance(each, asyncio.CancelledError)]
