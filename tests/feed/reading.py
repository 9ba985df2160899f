"""How tests read the feed: as other services do, over HTTP, with the libraries that are made for it."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import httpx
from cloudevents.core.formats.json import JSONFormat
from httpx_sse import EventSource, ServerSentEvent, connect_sse

from service.feed.tail import Recent
from tests.service.serving import Service

EVENTS = "/v1/events"
STREAM_SECONDS_MAX = 30.0
Event: TypeAlias = dict[str, Any]


class Page(NamedTuple):
    """A batch, and what its headers say."""

    events: list[Event]
    cursor: str
    position: int
    caught_up: bool
    next: str

    @property
    def positions(self) -> list[int]:
        return [event["data"]["position"] for event in self.events]


class Feed:
    """The feed of a service, as it is for the holder of a key."""

    def __init__(self, service: Service, key: str | None = None) -> None:
        self.service = service
        self._key = {"X-API-KEY": key or service.key}

    def get(self, headers: dict[str, str] | None = None, **asked: Any) -> httpx.Response:
        return self.service.http.get(EVENTS, params=asked, headers=self._key | (headers or {}))

    def follow(self, link: str) -> Page:
        return page_of(self.service.http.get(link, headers=self._key))

    def page(self, headers: dict[str, str] | None = None, **asked: Any) -> Page:
        return page_of(self.get(headers, **asked))

    def pages(self, **asked: Any) -> Iterator[Page]:
        """Page after page by the links, until it has caught up."""
        page = self.page(**asked)
        while not page.caught_up:
            yield page
            page = self.follow(page.next)
        yield page

    def all(self, **asked: Any) -> list[Event]:
        return [event for page in self.pages(**asked) for event in page.events]

    def refusal(self, headers: dict[str, str] | None = None, **asked: Any) -> dict[str, Any]:
        """The body of an answer that is none of 200, without what every such body has."""
        answer = self.get(headers, **asked)
        body: dict[str, Any] = answer.json()
        assert answer.status_code == body["status"] != 200
        assert body["path"] == EVENTS
        return {name: body[name] for name in body if name not in ("timestamp", "error", "message", "path")}

    @contextmanager
    def stream(self, last_event_id: str | None = None, **asked: Any) -> Iterator["Stream"]:
        """A stream; it ends when the block does."""
        headers = self._key | ({} if last_event_id is None else {"Last-Event-ID": last_event_id})
        with connect_sse(self.service.http, "GET", EVENTS, params=asked, headers=headers) as source:
            assert source.response.status_code == 200, source.response.read()
            yield Stream(source)


class Stream:
    """What an SSE reader gets: `cursor` is where it would resume, `retry` after how many milliseconds."""

    def __init__(self, source: EventSource) -> None:
        self._told = source.iter_sse()
        self._deadline = time.monotonic() + STREAM_SECONDS_MAX
        self.cursor = ""
        self.retry: int | None = None

    def told(self) -> Iterator[ServerSentEvent]:
        """Whatever is told, events and the rest, until the stream ends."""
        for each in self._told:
            assert time.monotonic() < self._deadline, "the stream goes on and on"
            self.cursor = each.id or self.cursor
            self.retry = self.retry if each.retry is None else each.retry
            yield each

    def events(self) -> Iterator[Event]:
        """The events, each of which is told under its own type and cursor."""
        for each in self.told():
            if each.data:
                event = checked(json.loads(each.data))
                assert (each.event, each.id) == (event["type"], event["cursor"])
                yield event

    def take(self, count: int) -> list[Event]:
        """The next events."""
        events = self.events()
        return [next(events) for _ in range(count)]


def page_of(answer: httpx.Response) -> Page:
    assert answer.status_code == 200, answer.text
    target, _, relation = answer.headers["Link"].partition(">; ")
    assert relation == 'rel="next"'
    return Page(
        [checked(event) for event in answer.json()],
        answer.headers["X-Ledger-Cursor"],
        int(answer.headers["X-Ledger-Position"]),
        {"true": True, "false": False}[answer.headers["X-Ledger-Caught-Up"]],
        target.removeprefix("<"),
    )


def checked(event: Event) -> Event:
    """The event, which the CloudEvents library reads as the CloudEvent that it says it is."""
    read = JSONFormat().read(None, json.dumps(event))
    assert read.get_specversion() == "1.0"
    assert (read.get_id(), read.get_type(), read.get_data()) == (event["id"], event["type"], event["data"])
    assert int(read.get_extension("sequence")) == event["data"]["position"]
    return event


async def comes_true(recent: Recent, condition: Callable[[], bool]) -> None:
    """Wait, in the event loop of a feed, until a condition holds; fails after a time that is long for it."""
    async with asyncio.timeout(STREAM_SECONDS_MAX):
        while not condition():
            await recent.beyond(recent.head, 0.01)
