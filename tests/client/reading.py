"""The client's two faces as two functions: whoever reads by either gets the same events."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing, closing
from typing import Any

from service.client import AsyncLedgerClient, Event, LedgerClient

PAUSE_SECONDS_MAX = 0.01
SILENCE_SECONDS_MAX = 60.0
Read = Callable[..., list[Event]]


def read_waiting(url: str, key: str, door: str, count: int, **options: Any) -> list[Event]:
    """The first `count` events of `door`, which is `events` or `stream`, and is left then.

    Options: `found`, a list that has the events as soon as they come; `silence_seconds_max`; what else is asked.
    """
    found, settings, asked = _told(options)
    with LedgerClient(url, key, **settings) as client, closing(getattr(client, door)(**asked)) as events:
        for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


def read_with_asyncio(url: str, key: str, door: str, count: int, **options: Any) -> list[Event]:
    """The same with the other face."""
    found, settings, asked = _told(options)

    async def read() -> None:
        async with (
            AsyncLedgerClient(url, key, **settings) as client,
            aclosing(getattr(client, door)(**asked)) as events,
        ):
            async for event in events:
                found.append(event)
                if len(found) == count:
                    break

    asyncio.run(read())
    return found


def _told(options: dict[str, Any]) -> tuple[list[Event], dict[str, float], dict[str, Any]]:
    """Where to put the events, the client's settings, and what is asked of its door."""
    asked = dict(options)
    found: list[Event] = asked.pop("found", [])
    silence_seconds_max = asked.pop("silence_seconds_max", SILENCE_SECONDS_MAX)
    return found, {"pause_seconds_max": PAUSE_SECONDS_MAX, "silence_seconds_max": silence_seconds_max}, asked


FACES: tuple[Read, ...] = (read_waiting, read_with_asyncio)
DOORS = ("events", "stream")
EVERY_WAY = [(face, door) for face in FACES for door in DOORS]
FACE_NAMES = ("waiting", "with asyncio")
IDS = [f"{door}, {face}" for face in FACE_NAMES for door in DOORS]
