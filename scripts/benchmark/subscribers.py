"""Subscribers to server-sent events, many in one process: each checks every position and resumes where it was."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import NamedTuple

import uvloop

from scripts.benchmark.processes import HOST

SEQUENCE = b'"sequence":"'
SEQUENCE_DIGITS = 19


class Source(NamedTuple):
    """Where events come from, and which: those of (after, until]."""

    port: int
    key: str
    after: int
    until: int


@dataclass
class Seen:
    """What one subscriber got, counted as it came. Instants are those of the machine's monotonic clock, in ns."""

    last: int
    missing: set[int] = field(default_factory=set)
    doubled: int = 0
    reordered: int = 0
    connections: int = 0
    ended_at: int = 0
    arrivals: list[int] = field(default_factory=list)
    """When each event came, if that was asked for."""

    def take(self, position: int) -> None:
        if position == self.last + 1:
            self.last = position
        elif position > self.last:
            self.missing.update(range(self.last + 1, position))
            self.last = position
        elif position in self.missing:
            self.missing.remove(position)
            self.reordered += 1
        else:
            self.doubled += 1


def subscribe(pipe: Connection, source: Source, subscribers: int, timed: bool = False) -> None:
    """So many subscribers in this process: tells when all are connected, and what each of them saw at the end."""
    uvloop.run(_subscribe(pipe, source, subscribers, timed))


async def _subscribe(pipe: Connection, source: Source, subscribers: int, timed: bool) -> None:
    readers = [_Subscriber(source, timed) for _ in range(subscribers)]
    tasks = [asyncio.create_task(reader.run()) for reader in readers]
    for reader in readers:
        await reader.connected.wait()
    pipe.send("ready")
    await asyncio.gather(*tasks)
    pipe.send([reader.seen for reader in readers])


class _Subscriber:
    """Reads until it has the last event, with as many connections as that takes."""

    def __init__(self, source: Source, timed: bool) -> None:
        self._source = source
        self._timed = timed
        self._cursor = b""
        self._retry_seconds = 1.0
        self.seen = Seen(source.after)
        self.connected = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with suppress(OSError):
                transport, stream = await loop.create_connection(self._stream, HOST, self._source.port)
                transport.write(self._request())
                await stream.ended
                transport.abort()
            if self.seen.last >= self._source.until:
                return
            await asyncio.sleep(self._retry_seconds)

    def _stream(self) -> "_Stream":
        return _Stream(self._begun, self._take)

    def _request(self) -> bytes:
        lines = [
            f"GET /v1/events?after={self._source.after} HTTP/1.1",
            f"Host: {HOST}",
            "Accept: text/event-stream",
            f"X-API-KEY: {self._source.key}",
        ]
        if self._cursor:
            lines.append(f"Last-Event-ID: {self._cursor.decode()}")
        return "\r\n".join([*lines, "", ""]).encode()

    def _begun(self) -> None:
        self.seen.connections += 1
        self.connected.set()

    def _take(self, blocks: Sequence[bytes]) -> bool:
        """Take what came; whether there is more to come."""
        now = time.monotonic_ns()
        seen = self.seen
        for block in blocks:
            if block.startswith(b"id: "):
                at = block.index(SEQUENCE) + len(SEQUENCE)
                seen.take(int(block[at : at + SEQUENCE_DIGITS]))
                if self._timed:
                    seen.arrivals.append(now)
                self._cursor = block[4 : block.index(b"\n")]
            elif block.startswith(b"retry: "):
                self._retry_seconds = int(block[7:]) / 1000
            else:
                self._cursor = block.rpartition(b"id: ")[2]
        if seen.last < self._source.until:
            return True
        seen.ended_at = now
        return False


class _Stream(asyncio.Protocol):
    """One answer: its blocks as server-sent events have them, out of the chunks of HTTP/1.1."""

    def __init__(self, begun: Callable[[], None], take: Callable[[Sequence[bytes]], bool]) -> None:
        self._begun = begun
        self._take = take
        self._buffer = bytearray()
        self._in_body = False
        self._rest = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if self.ended.done():
            return
        self._buffer += data
        if not self._in_body and not self._head():
            return
        for chunk in self._chunks():
            *blocks, self._rest = (self._rest + chunk).split(b"\n\n")
            if not chunk or not self._take(blocks):
                self._end()
                return

    def connection_lost(self, _error: Exception | None) -> None:
        self._end()

    def _head(self) -> bool:
        """Whether the head of the answer is over."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self._buffer.startswith(b"HTTP/1.1 200 "):
            away = self._buffer.startswith(b"HTTP/1.1 503 ")
            self.ended.set_exception((ConnectionRefusedError if away else RuntimeError)(self._buffer.decode()))
            return False
        del self._buffer[: end + 4]
        self._in_body = True
        self._begun()
        return True

    def _chunks(self) -> Iterator[bytes]:
        while (end := self._buffer.find(b"\r\n")) >= 0:
            size = int(self._buffer[:end], 16)
            if len(self._buffer) < end + size + 4:
                return
            chunk = bytes(self._buffer[end + 2 : end + 2 + size])
            del self._buffer[: end + size + 4]
            yield chunk

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
