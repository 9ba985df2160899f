"""The feed as server-sent events: each event's `id` is the cursor after it, so a reader resumes where it was."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout
from starlette.types import Message as Said
from starlette.types import Receive, Scope, Send

from ledger.application import LedgerUnavailable
from service.access import Unauthenticated
from service.feed.cursor import Cursor
from service.feed.feed import Feed
from service.feed.messages import Filter
from service.feed.pages import Page
from service.feed.refusals import CursorBeyondHead

ABORT = "abort"
"""Where a request's state has the function that ends its connection at once."""
LOOK_EVERY_SECONDS = 1.0
"""How soon a stream notices that its key was revoked or its reader has gone, and tells how far it has looked."""
HEARTBEAT_SECONDS = 15.0
SLOW_SECONDS_MAX = 10.0
"""A reader that has not taken the last piece after so long is cut off; no more is held for it than a few pieces."""
RETRY_MILLISECONDS = 1000
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
AWAY = (LedgerUnavailable, psycopg.Error, PoolTimeout, PoolClosed)


class ReaderGone(Exception):
    """Nobody takes what is sent."""


@dataclass
class EventStream:
    """The answer to one reader: an ASGI application. `still_good` raises Unauthenticated once the key is revoked."""

    feed: Feed
    wanted: Filter
    place: Cursor
    still_good: Callable[[], Awaitable[object]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.feed.subscribed():
            gone = asyncio.create_task(_gone(receive))
            try:
                await self._write(send, gone)
            except ReaderGone:
                abort = scope["state"].get(ABORT)
                if abort is not None and not gone.done():
                    abort()
                    await gone
            finally:
                gone.cancel()

    async def _write(self, send: Send, gone: "asyncio.Task[None]") -> None:
        loop = asyncio.get_running_loop()
        headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        await _say(send, {"type": "http.response.start", "status": 200, "headers": headers})
        await _say(send, _body(b"retry: %d\n\n" % RETRY_MILLISECONDS))
        at = told = self.place.position
        spoke_at = looked_at = loop.time()
        while not self.feed.ending:
            page = await self._next(at)
            if page is None:
                break
            for piece in self.feed.pieces(at, page, self.wanted):
                await _say(send, _body(piece))
                spoke_at = loop.time()
            at = page.until
            told = max(told, page.messages[-1].position) if page.messages else told
            if gone.done():
                raise ReaderGone
            if loop.time() - looked_at >= LOOK_EVERY_SECONDS:
                looked_at = loop.time()
                if not await self._good():
                    break
                if at > told or looked_at - spoke_at >= HEARTBEAT_SECONDS:
                    await _say(send, _body(_heartbeat(page)))
                    told, spoke_at = at, looked_at
            if page.caught_up:
                await self.feed.recent.beyond(at, LOOK_EVERY_SECONDS)
        pause = RETRY_MILLISECONDS + random.randrange(RETRY_MILLISECONDS)  # noqa: S311  # spreads them, hides nothing
        await _say(send, _body(b"retry: %d\n\n" % pause, more=False))

    async def _next(self, at: int) -> Page | None:
        """What comes next; None if this is another log by now. While the database is away, nothing does."""
        try:
            page = await self.feed.stretch(at, self.wanted)
        except CursorBeyondHead:
            return None
        except AWAY:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            return Page([], at, at + 1, self.place.epoch)  # nobody knows, so it is not caught up
        return page if page.epoch == self.place.epoch else None

    async def _good(self) -> bool:
        try:
            await self.still_good()
        except Unauthenticated:
            return False
        except AWAY:
            pass  # it was good when it was last looked at
        return True


async def _say(send: Send, message: Said) -> None:
    """Send something as soon as the reader has taken what was sent before. Raises ReaderGone."""
    try:
        async with asyncio.timeout(SLOW_SECONDS_MAX):
            await send(message)
    except TimeoutError:
        raise ReaderGone from None


def _heartbeat(page: Page) -> bytes:
    """How far the stream has looked. A reader takes over the id and is told of no event."""
    state = b"caught up" if page.caught_up else b"looking on"
    return b": %b\nid: %b\n\n" % (state, str(Cursor(page.epoch, page.until)).encode())


def _body(piece: bytes, *, more: bool = True) -> Said:
    return {"type": "http.response.body", "body": piece, "more_body": more}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
