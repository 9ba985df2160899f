"""A receiver of webhooks: a small HTTP server on a loopback address, in a thread of its own, that keeps what it got."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from types import TracebackType
from typing import Any, NamedTuple, Self

SECONDS_MAX = 30.0


class Received(NamedTuple):
    """One request; `at` is the monotonic second at which it was whole."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    @property
    def position(self) -> int:
        position: int = self.event["data"]["position"]
        return position

    @property
    def holder(self) -> str:
        holder: str = self.event["data"]["holder"]
        return holder


class Answer(NamedTuple):
    """`body` is sent after the head, and before the connection ends or goes on."""

    status: int = 204
    headers: dict[str, str] = {}  # noqa: RUF012  # nobody changes it
    body: bytes = b""
    never: bool = False
    """It is not answered at all."""


class Receiver:
    """Answers each request with what `answer` says of it; 204 unless a test sets another one."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self.answer: Callable[[Received], Answer] = lambda _: Answer()
        self.got: list[Received] = []
        self.connections = 0
        self._place = (host, port)
        self._context = context
        self._news = threading.Condition()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._connected: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(SECONDS_MAX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()

    @property
    def url(self) -> str:
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://{self._place[0]}:{self.port}/hook"

    def until(self, condition: Callable[[list[Received]], bool], seconds_max: float = SECONDS_MAX) -> list[Received]:
        """Wait until what it got fulfils a condition; returns that."""
        with self._news:
            assert self._news.wait_for(lambda: condition(self.got), seconds_max), [each.position for each in self.got]
            return list(self.got)

    def has(self, count: int) -> list[Received]:
        """Wait until it got so many."""
        return self.until(lambda got: len(got) >= count)

    def positions(self, holder: str | None = None) -> list[int]:
        return [each.position for each in self.got if holder is None or each.holder == holder]

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, *self._place, ssl=self._context)
        self.port: int = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._ending.wait()
        server.close()
        for writer in self._connected:
            writer.transport.abort()
        while self._connected:
            await asyncio.sleep(0)  # each connection ends by itself

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._connected.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await self._request(reader, writer)
        self._connected.discard(writer)
        writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        received = Received(first.split()[1], headers, body, time.monotonic())
        with self._news:
            answer = self.answer(received)
            self.got.append(received)
            self._news.notify_all()
        if answer.never:
            await reader.read()  # until the other side goes
            raise ConnectionResetError
        head = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        if answer.status != HTTPStatus.NO_CONTENT and "content-length" not in answer.headers:
            head.append(f"content-length: {len(answer.body)}")
        writer.write("\r\n".join([*head, "", ""]).encode() + answer.body)
        await writer.drain()
