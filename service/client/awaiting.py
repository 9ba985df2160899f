"""The client for asyncio."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
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


class AsyncLedgerClient:
    """`LedgerClient` for asyncio: the same methods, the same rules.

    Iterators that are left before their end are closed with the loop, or at once by `contextlib.aclosing`.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        pause_seconds_max: float = PAUSE_SECONDS_MAX,
        silence_seconds_max: float = SILENCE_SECONDS_MAX,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, headers={"X-API-KEY": api_key}, limits=httpx.Limits(max_connections=None)
        )
        self._pause_seconds_max = pause_seconds_max
        self._silence_seconds_max = silence_seconds_max

    async def page(
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
        return await self._page(Filter.of(**chosen).page(after, limit, wait))

    async def pages(
        self,
        after: Place = None,
        *,
        limit: int = EVENTS_MAX,
        follow: bool = True,
        **chosen: Unpack[Chosen],
    ) -> AsyncGenerator[Page, None]:
        """All pages from a place on; without `follow` up to the head, else for ever.

        Pages without events come where there is a new cursor to keep.
        """
        events = Filter.of(**chosen)
        pulling = Pulling(events, after, limit, follow=follow, pauses=Pauses(self._pause_seconds_max))
        while not pulling.ended:
            try:
                page = await self._page(pulling.asked())
            except LedgerError as error:
                await asyncio.sleep(pulling.pauses.after(error))
                continue
            if pulling.take(page):
                yield page

    async def events(
        self,
        after: Place = None,
        *,
        limit: int = EVENTS_MAX,
        follow: bool = True,
        **chosen: Unpack[Chosen],
    ) -> AsyncGenerator[Event, None]:
        """The events of `pages`."""
        pages = self.pages(after, limit=limit, follow=follow, **chosen)
        async with aclosing(pages):
            async for page in pages:
                for event in page.events:
                    yield event

    async def stream(
        self,
        after: Place = None,
        **chosen: Unpack[Chosen],
    ) -> AsyncGenerator[Event, None]:
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
                    streaming.begin(await self._page(streaming.asked_head()))
                async with self._connected(streaming.asked()) as source, aclosing(source.aiter_sse()) as all_sent:
                    async for sent in all_sent:
                        event = streaming.take(sent)
                        if event is not None:
                            yield event
            except LedgerError as error:
                ended = error
            await asyncio.sleep(streaming.pauses.after(ended))

    async def _page(self, asked: Asked) -> Page:
        with told_as_no_answer():
            answer = await self._http.get(**asked)
        return page_of(answer)

    @asynccontextmanager
    async def _connected(self, asked: Asked) -> AsyncIterator[EventSource]:
        with told_as_no_answer():
            async with self._http.stream("GET", **asked) as answer:
                if not is_a(answer, STREAM):
                    await answer.aread()
                    raise error_of(answer)
                yield EventSource(answer)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
