"""Whatever becomes of its connections, a subscriber gets every event once, in the order of the log."""

import asyncio
import random
from contextlib import aclosing, closing
from typing import Any

import pytest

from service.client import AsyncLedgerClient, LedgerClient
from tests.client.cut_connections import CutConnections
from tests.client.reading import DOORS, EVERY_WAY, FACE_NAMES, FACES, IDS, Read
from tests.service.load import eventually
from tests.service.serving import Service

CHANCE = random.Random(7)
CUTS = [*range(0, 1200, 80), *(CHANCE.randrange(8_000) for _ in range(30))]
"""After how many bytes: in the head of the first answer, in its first events, and anywhere in the next few."""
SECONDS_MAX = 10.0


@pytest.mark.parametrize(("read", "door"), EVERY_WAY, ids=IDS)
def test_over_connections_that_are_cut_anywhere_all_events_come_once_and_in_order(
    service: Service, log: list[dict[str, Any]], read: Read, door: str
) -> None:
    small_pages = {"limit": 3} if door == "events" else {}  # so that a cut is in any of many
    with CutConnections(service.url, CUTS) as way:
        events = read(way.url, service.key, door, len(log), **small_pages)
        assert way.connected > len(CUTS)
    assert [(event.id, event.cursor, event.data) for event in events] == [
        (message["id"], message["cursor"], message["data"]) for message in log
    ]


@pytest.mark.parametrize("read", FACES, ids=FACE_NAMES)
def test_a_stream_that_falls_silent_is_connected_again(service: Service, log: list[dict[str, Any]], read: Read) -> None:
    with CutConnections(service.url, [0, 700, 20_000], silent=True) as way:
        events = read(way.url, service.key, "stream", len(log), silence_seconds_max=0.5)
        assert way.connected >= 4
    assert [event.id for event in events] == [message["id"] for message in log]


def test_who_leaves_a_stream_early_leaves_no_connection(service: Service) -> None:
    async def left(way: CutConnections) -> None:
        async with AsyncLedgerClient(way.url, service.key) as client:
            async with aclosing(client.stream()) as events:
                assert (await anext(events)).position == 1
            assert eventually(lambda: way.open == 0, SECONDS_MAX)

    with CutConnections(service.url, []) as way:
        with LedgerClient(way.url, service.key) as client:
            with closing(client.stream()) as events:
                assert next(events).position == 1
            assert eventually(lambda: way.open == 0, SECONDS_MAX)
        asyncio.run(left(way))
        assert way.connected == 2


@pytest.mark.parametrize("door", DOORS)
def test_a_task_that_is_cancelled_while_it_waits_at_the_head_leaves_no_connection(service: Service, door: str) -> None:
    async def cancelled(way: CutConnections) -> None:
        async with AsyncLedgerClient(way.url, service.key) as client:
            waiting = asyncio.create_task(anext(getattr(client, door)(after="latest")))
            async with asyncio.timeout(SECONDS_MAX):
                while not any(b"after=" in asked and b"after=latest" not in asked for asked in way.asked):
                    await asyncio.sleep(0)  # until it has asked for what follows the head
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert eventually(lambda: way.open == 0, SECONDS_MAX), "it ends with the task, not with the client"

    with CutConnections(service.url, []) as way:
        asyncio.run(cancelled(way))
