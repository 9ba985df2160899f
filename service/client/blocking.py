"""The client for callers that wait."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, Unpack

import httpx
from httpx_sse import EventSource

from service.client.errors import LedgerError, error_of, told_as_no_answer
from service.client.following import (
    EVENTS_MAX,
    PAUSE_SECONDS_MAX,
    SILENCE_SECONDS_MAX,
    Asked,
    Chosen,
    Filter,
    Pauses,
    Place,
    Pulling,
    Streaming,
)
from service.client.messages import STREAM, Event, Page, is_a, page_of


class LedgerClient:
    """A subscriber's way to the ledger at `url`, with an API key that may read. Threads may share it.

    `after` is a cursor, a position of the present epoch, or `latest`: from the head of now on; without it events come
    from the beginning. `types`, `holders` and `currencies` choose events, each any of those given.

    `pages`, `events` and `stream` try again for ever while the ledger cannot be reached, is not available or has no
    room (429, 5xx): when it asks for it, else after pauses that double up to `pause_seconds_max`. All raise LedgerError
    for what does not pass by itself; CursorGone where the log has no such place any more.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        pause_seconds_max: float = PAUSE_SECONDS_MAX,
        silence_seconds_max: float = SILENCE_SECONDS_MAX,
    ) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"X-API-KEY": api_key}, limits=httpx.Limits(max_connections=None)
        )
        self._pause_seconds_max = pause_seconds_max
        self._silence_seconds_max = silence_seconds_max

    def page(
        self,
        after: Place = None,
        *,
        limit: int = 100,
        wait: int = 0,
        **chosen: Unpack[Chosen],
    ) -> Page:
        """One page of up to `limit` events, 1 to 1000, that ends with a transaction; one try.

        `wait`: up to how many whole seconds, at most 30, to wait for an event where there is none yet.
        """
        return self._page(Filter.of(**chosen).page(after, limit, wait))

    def pages(
        self,
        after: Place = None,
        *,
        limit: int = EVENTS_MAX,
        follow: bool = True,
        **chosen: Unpack[Chosen],
    ) -> Generator[Page, None, None]:
        """All pages from a place on; without `follow` up to the head, else for ever.

        Pages without events come where there is a new cursor to keep.
        """
        events = Filter.of(**chosen)
        pulling = Pulling(events, after, limit, follow=follow, pauses=Pauses(self._pause_seconds_max))
        while not pulling.ended:
            try:
                page = self._page(pulling.asked())
            except LedgerError as error:
                time.sleep(pulling.pauses.after(error))
                continue
            if pulling.take(page):
                yield page

    def events(
        self,
        after: Place = None,
        *,
        limit: int = EVENTS_MAX,
        follow: bool = True,
        **chosen: Unpack[Chosen],
    ) -> Generator[Event, None, None]:
        """The events of `pages`."""
        for page in self.pages(after, limit=limit, follow=follow, **chosen):
            yield from page.events

    def stream(
        self,
        after: Place = None,
        **chosen: Unpack[Chosen],
    ) -> Generator[Event, None, None]:
        """All events from a place on, for ever, over a connection that stays: each comes as soon as it is committed."""
        streaming = Streaming(
            Filter.of(**chosen),
            after,
            self._silence_seconds_max,
            pauses=Pauses(self._pause_seconds_max),
        )
        while True:
            ended: LedgerError | None = None
            try:
                if streaming.seeks_head:
                    streaming.begin(self._page(streaming.asked_head()))
                with self._connected(streaming.asked()) as source:
                    for sent in source.iter_sse():
                        event = streaming.take(sent)
                        if event is not None:
                            yield event
            except LedgerError as error:
                ended = error
            time.sleep(streaming.pauses.after(ended))

    def _page(self, asked: Asked) -> Page:
        with told_as_no_answer():
            answer = self._http.get(**asked)
        return page_of(answer)

    @contextmanager
    def _connected(self, asked: Asked) -> Iterator[EventSource]:
        with told_as_no_answer(), self._http.stream("GET", **asked) as answer:
            if not is_a(answer, STREAM):
                answer.read()
                raise error_of(answer)
            yield EventSource(answer)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
