"""The feed's routes: events by page or by stream on one path, and the schemas of what they say."""

import asyncio
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import text_of
from service.access import Caller, Right
from service.callers import at_least_of, authenticated
from service.feed.cursor import POSITION_DIGITS_MAX, Cursor, cursor_of, place_of
from service.feed.feed import Feed
from service.feed.messages import Filter
from service.feed.pages import Page
from service.feed.refusals import EventTypeUnknown, NotAcceptable
from service.feed.schemas import schema_of
from service.feed.stream import EventStream
from service.feed.wire import MESSAGES
from service.frame import POSITION, json_answer, route
from service.parts import Parts

EVENTS, SCHEMAS = "/v1/events", "/v1/schemas"
ONE_SCHEMA = SCHEMAS + "/{type}"
BATCH, JSON, STREAM = "application/cloudevents-batch+json", "application/json", "text/event-stream"
SCHEMA_TYPE = "application/schema+json"
CURSOR, CAUGHT_UP, LAST_EVENT_ID = "X-Ledger-Cursor", "X-Ledger-Caught-Up", "Last-Event-ID"
LATEST = "latest"
LIMIT, LIMIT_MAX, WAIT_SECONDS_MAX = 100, 1000, 30
FILTERED_MAX = 1000
LINK_CHARACTERS_MAX = 2000
"""A longer header may be too much for a proxy; the cursor is told in any case."""
PARAMETERS = {"after", "limit", "types", "holder", "currency", "wait"}
OF_PAGES = ("limit", "wait")


def event_routes(parts: Parts) -> list[Route]:
    async def get_events(request: Request) -> ASGIApp:
        """Events as a batch of CloudEvents, or as a stream of them, as the request accepts."""
        caller = await authenticated(request, parts)
        caller.require(Right.READ)
        media = _media(request.headers.get("accept") or "*/*")
        asked = request.query_params
        wanted = _wanted(asked, caller)
        if media == STREAM:
            for name in OF_PAGES:
                if name in asked:
                    raise InvalidArgument(name, "must not be given for a stream")
            resumed = request.headers.get(LAST_EVENT_ID)
            text, field = (resumed, LAST_EVENT_ID) if resumed else (_one(asked, "after"), "after")
            place = await _place(parts.feed, request, text, field)
            return EventStream(parts.feed, wanted, place, lambda: authenticated(request, parts))
        limit = _number(asked, "limit", LIMIT, 1, LIMIT_MAX)
        wait = _number(asked, "wait", 0, 0, WAIT_SECONDS_MAX)
        place = await _place(parts.feed, request, _one(asked, "after"), "after")
        page = await _page(parts.feed, request, place, wanted, limit, wait)
        if wait:
            await authenticated(request, parts)  # the key may have been revoked meanwhile
        return _batch(page, asked, media)

    async def get_schemas(_: Request) -> Response:
        """Every event type there is, and where its schema is."""
        return json_answer({topic: f"{SCHEMAS}/{topic}" for topic in sorted(MESSAGES)})

    async def get_schema(request: Request) -> Response:
        """The JSON Schema of the data of an event type's messages."""
        topic = request.path_params["type"]
        if topic not in MESSAGES:
            raise EventTypeUnknown(topic)
        answer = json_answer(schema_of(topic))
        answer.headers["content-type"] = SCHEMA_TYPE
        return answer

    return [
        route("GET", EVENTS, get_events),
        route("GET", SCHEMAS, get_schemas),
        route("GET", ONE_SCHEMA, get_schema),
    ]


async def _place(feed: Feed, request: Request, text: str | None, field: str) -> Cursor:
    """Where to go on. Refuses: InvalidArgument, CursorOfAnotherEpoch, CursorBeyondHead, PositionNotReached."""
    log, head = await feed.look(at_least_of(request))
    if text is None:
        return Cursor(log.present, 0)
    if text == LATEST:
        return Cursor(log.present, head)
    if text.isascii() and text.isdigit() and len(text) <= POSITION_DIGITS_MAX:
        return Cursor(log.present, place_of(Cursor(log.present, int(text)), log, head))
    return Cursor(log.present, place_of(cursor_of(text, field=field), log, head))


async def _page(feed: Feed, request: Request, place: Cursor, wanted: Filter, limit: int, wait_seconds: int) -> Page:
    """The next page; where there is nothing to tell yet, the one after something came, or time was up.

    Refuses: CursorOfAnotherEpoch, CursorBeyondHead, if the log has become another one meanwhile.
    """
    after = place.position
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_seconds
    while True:
        page = await feed.page(after, wanted, limit)
        if page.epoch != place.epoch:
            place_of(place, *await feed.look())
        left = deadline - loop.time()
        if page.messages or not page.caught_up or left <= 0 or feed.ending:
            return page
        async with feed.subscribed():
            await feed.news(page.until, wanted, left, request.is_disconnected)
        if await request.is_disconnected():
            return page
        after = page.until


def _batch(page: Page, asked: QueryParams, media: str) -> Response:
    cursor = str(Cursor(page.epoch, page.until))
    again = [(name, value) for name, value in asked.multi_items() if name != "after"]
    headers = {
        POSITION: str(page.until),
        CURSOR: cursor,
        CAUGHT_UP: "true" if page.caught_up else "false",
        "Cache-Control": "no-store",
        "Vary": "Accept",
    }
    link = f'<{EVENTS}?{urlencode([*again, ("after", cursor)])}>; rel="next"'
    if len(link) <= LINK_CHARACTERS_MAX:
        headers["Link"] = link
    body = b"[" + b",".join(message.body for message in page.messages) + b"]"
    return Response(body, headers=headers, media_type=media)


def _wanted(asked: QueryParams, caller: Caller) -> Filter:
    """What the request wants of what its key may see. Refuses: InvalidArgument, IdentityForbidden."""
    for name in asked:
        if name not in PARAMETERS:
            raise InvalidArgument(name, f"is not a parameter; there are {', '.join(sorted(PARAMETERS))}")
    types = {topic for text in asked.getlist("types") for topic in text.split(",")}
    for topic in types:
        if topic not in MESSAGES:
            raise InvalidArgument("types", f"must be of {', '.join(sorted(MESSAGES))}")
    holders, currencies = _texts(asked, "holder"), _texts(asked, "currency")
    for holder in holders:
        caller.require_holder(holder)
    return Filter(frozenset(types), holders or caller.holders or frozenset(), currencies)


def _texts(asked: QueryParams, name: str) -> frozenset[str]:
    texts = asked.getlist(name)
    if len(texts) > FILTERED_MAX:
        raise InvalidArgument(name, f"must be given at most {FILTERED_MAX} times")
    return frozenset(text_of(text, field=name) for text in texts)


def _one(asked: QueryParams, name: str) -> str | None:
    texts = asked.getlist(name)
    if len(texts) > 1:
        raise InvalidArgument(name, "must be given once")
    return texts[0] if texts else None


def _number(asked: QueryParams, name: str, default: int, least: int, most: int) -> int:
    text = _one(asked, name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= POSITION_DIGITS_MAX and least <= int(text) <= most):
        raise InvalidArgument(name, f"must be a whole number from {least} to {most}")
    return int(text)


def _media(accept: str) -> str:
    """What a request is to be answered with; where it accepts both alike, pages. Refuses: NotAcceptable."""
    quality = dict(_accepted(accept))
    offered: dict[str, float] = {media: _quality(media, quality) for media in (BATCH, JSON, STREAM)}
    explicit = STREAM in quality and BATCH not in quality and JSON not in quality
    best = max(offered, key=lambda media: (offered[media], explicit and media == STREAM))
    if offered[best] <= 0:
        raise NotAcceptable((BATCH, STREAM))
    return best


def _accepted(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.split(","):
        media, *parameters = (text.strip() for text in part.lower().split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            yield media, float(quality)
        except ValueError:
            yield media, 0.0


def _quality(media: str, accepted: Mapping[str, float]) -> float:
    """How much one media type is wanted: the most exact that was said of it counts."""
    family = media.partition("/")[0] + "/*"
    return next((accepted[name] for name in (media, family, "*/*") if name in accepted), 0.0)
