"""What a subscriber asks next, and how long it waits before it tries again. No I/O: both faces share it."""

import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict

from httpx_sse import ServerSentEvent

from service.client.errors import LedgerError
from service.client.messages import BATCH, STREAM, Event, Page, event_of_text

EVENTS_PATH = "/v1/events"
LATEST = "latest"
EVENTS_MAX = 1000
WAIT_SECONDS_MAX = 30
"""How long the ledger lets a page wait for its first event."""
CONNECT_SECONDS_MAX = 10.0
ANSWER_SECONDS_MAX = 30.0
"""How long a page may take besides what it was told to wait."""
SILENCE_SECONDS_MAX = 45.0
"""How long a stream may be silent; the ledger is heard every 15 seconds."""
FIRST_PAUSE_SECONDS = 0.1
PAUSE_SECONDS_MAX = 30.0

Place = str | int | None
"""A cursor, a position of the present epoch, `latest`, or None: the beginning."""


class Asked(TypedDict):
    """A request: arguments of httpx."""

    url: str
    params: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    timeout: tuple[float, float, float, float | None]


class Chosen(TypedDict, total=False):
    """What callers may choose events by."""

    types: Iterable[str]
    holders: Iterable[str]
    currencies: Iterable[str]


@dataclass(frozen=True)
class Filter:
    """Which events: of any of these types, and holders, and currencies; none given: all."""

    types: tuple[str, ...]
    holders: tuple[str, ...]
    currencies: tuple[str, ...]

    @classmethod
    def of(cls, types: Iterable[str] = (), holders: Iterable[str] = (), currencies: Iterable[str] = ()) -> "Filter":
        return cls(_texts(types), _texts(holders), _texts(currencies))

    def params(self, after: Place) -> list[tuple[str, str]]:
        named = {"types": self.types, "holder": self.holders, "currency": self.currencies}
        params = [(name, value) for name, values in named.items() for value in values]
        return params if after is None else [*params, ("after", str(after))]

    def page(self, after: Place, limit: int, wait: int) -> Asked:
        """`wait` in whole seconds."""
        params = [*self.params(after), ("limit", str(limit)), ("wait", str(wait))]
        return _asked(params, {"Accept": BATCH}, wait + ANSWER_SECONDS_MAX)

    def stream(self, after: Place, silence_seconds_max: float) -> Asked:
        headers = {"Accept": STREAM, "Accept-Encoding": "identity", "Cache-Control": "no-store"}
        return _asked(self.params(after), headers, silence_seconds_max)


def _texts(given: Iterable[str]) -> tuple[str, ...]:
    """One text stands for itself: nobody means its letters."""
    return (given,) if isinstance(given, str) else tuple(given)


def _asked(params: list[tuple[str, str]], headers: dict[str, str], read_seconds_max: float) -> Asked:
    timeout = (CONNECT_SECONDS_MAX, read_seconds_max, CONNECT_SECONDS_MAX, None)
    return Asked(url=EVENTS_PATH, params=tuple(params), headers=headers, timeout=timeout)


log = logging.getLogger(__name__)


class Pauses:
    """How long to wait before the next try: what the ledger asks for, else twice as long each time, with jitter."""

    def __init__(self, seconds_max: float) -> None:
        self._seconds_max = seconds_max
        self._first = self._next = FIRST_PAUSE_SECONDS

    def worked(self) -> None:
        """Something came: the next pause is a short one again."""
        self._next = self._first

    def begin_with(self, seconds: float) -> None:
        """The ledger says how long to stay away after a connection ended."""
        self._first = self._next = seconds

    def after(self, error: LedgerError | None) -> float:
        """The next pause in seconds, None standing for an end in good order. Raises the error if it will not pass."""
        if error is not None and not error.may_pass:
            raise error
        if error is not None and self._next == self._first:
            log.warning("trying again until it passes: %s", error)
        seconds, self._next = self._next, min(2 * self._next, self._seconds_max)
        if error is not None and error.retry_after_seconds is not None:
            seconds = error.retry_after_seconds
        return min(seconds * random.uniform(1, 1.5), self._seconds_max)  # noqa: S311  # no secret: it spreads the crowd


class Pulling:
    """Goes through the pages of events from a place on."""

    def __init__(self, events: Filter, after: Place, limit: int, *, follow: bool, pauses: Pauses) -> None:
        self._events = events
        self._after = after
        self._limit = limit
        self._follow = follow
        self._caught_up = False
        self.pauses = pauses
        self.ended = False

    def asked(self) -> Asked:
        """The next page. It waits for events only at a head that was seen: `latest` must become a cursor at once."""
        wait = WAIT_SECONDS_MAX if self._caught_up else 0
        return self._events.page(self._after, self._limit, wait)

    def take(self, page: Page) -> bool:
        """Go on behind this page; whether it tells anything that was not known."""
        news = page.cursor != self._after
        self._after, self._caught_up = page.cursor, page.caught_up
        self.ended = page.caught_up and not self._follow
        self.pauses.worked()
        return news


class Streaming:
    """Goes through a stream of events from a place on, across its connections."""

    def __init__(self, events: Filter, after: Place, silence_seconds_max: float, *, pauses: Pauses) -> None:
        self._events = events
        self._after = after
        self._silence_seconds_max = silence_seconds_max
        self.pauses = pauses

    @property
    def seeks_head(self) -> bool:
        """Whether `latest` is still to become a cursor: events between two tries would be lost."""
        return self._after == LATEST

    def asked_head(self) -> Asked:
        return self._events.page(self._after, 1, 0)

    def begin(self, page: Page) -> None:
        self._after = page.cursor

    def asked(self) -> Asked:
        return self._events.stream(self._after, self._silence_seconds_max)

    def take(self, sent: ServerSentEvent) -> Event | None:
        """Go on behind this; the event, if it is one and not only word of where the stream is."""
        event = event_of_text(sent.data) if sent.data else None
        self._after = sent.id or self._after
        self.pauses.worked()
        if sent.retry is not None:
            self.pauses.begin_with(sent.retry / 1000)
        return event
