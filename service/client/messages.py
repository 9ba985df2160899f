"""What subscribers get: events and pages of them, read from the wire."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from service.client.errors import NO_ANSWER, UNEXPECTED_ANSWER, LedgerError, error_of

BATCH, STREAM = "application/cloudevents-batch+json", "text/event-stream"


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the log, as it was committed.

    `id` is the same each time this event comes, for ever. `cursor` leads to what follows it, `position` is its place in
    the log. `data` is as the schema of its type says; amounts in it are exact decimals as texts.
    """

    id: str
    type: str
    source: str
    subject: str
    time: datetime
    cursor: str
    position: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Events that follow each other, and where to go on.

    `cursor` and `position` are where the page ends, also behind events that the filter left out; `caught_up` tells
    whether that was the head of the log.
    """

    events: tuple[Event, ...]
    cursor: str
    position: int
    caught_up: bool


def event_of(message: dict[str, Any]) -> Event:
    """The event that a CloudEvent tells."""
    return Event(
        id=message["id"],
        type=message["type"],
        source=message["source"],
        subject=message["subject"],
        time=datetime.fromisoformat(message["time"]),
        cursor=message["cursor"],
        position=message["data"]["position"],
        data=message["data"],
    )


def event_of_text(text: str) -> Event:
    """The event of one message of a stream."""
    try:
        return event_of(json.loads(text))
    except (ValueError, LookupError, TypeError) as error:
        raise LedgerError(httpx.codes.OK, UNEXPECTED_ANSWER, f"no event of a ledger: {text[:100]}") from error


def page_of(answer: httpx.Response) -> Page:
    """The page that an answer holds. Raises LedgerError where it holds none."""
    require(answer, BATCH)
    try:
        messages = answer.json()
    except ValueError as error:  # an answer without a length, cut off
        raise LedgerError(None, NO_ANSWER, "the answer was not whole") from error
    try:
        return Page(
            events=tuple(map(event_of, messages)),
            cursor=answer.headers["X-Ledger-Cursor"],
            position=int(answer.headers["X-Ledger-Position"]),
            caught_up=answer.headers["X-Ledger-Caught-Up"] == "true",
        )
    except (ValueError, LookupError, TypeError) as error:
        raise LedgerError(answer.status_code, UNEXPECTED_ANSWER, f"no page of events: {error!r}") from error


def require(answer: httpx.Response, content_type: str) -> None:
    """Raises LedgerError unless the answer is one of that type; its body must have been read if it is not."""
    if not is_a(answer, content_type):
        raise error_of(answer)


def is_a(answer: httpx.Response, content_type: str) -> bool:
    given = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    return answer.status_code == httpx.codes.OK and given == content_type
