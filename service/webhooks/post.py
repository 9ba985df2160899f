"""One attempt: one POST of one message to one endpoint, and what came of it."""

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple

import httpcore
import httpx

from ledger.domain.refusals import Refusal
from service.feed.messages import Message
from service.webhooks.signatures import Secret, signed_headers
from service.webhooks.targets import Resolver, checked_addresses, checked_url, port_of

log = logging.getLogger(__name__)

CONNECT_SECONDS_MAX = 5.0
ANSWER_BYTES_MAX = 64 * 1024
ANSWER_SECONDS_MAX = 1.0
"""So much of an answer is read, and thrown away, so that the connection can be used again; else it is closed."""
IDLE_SECONDS_MAX = 5.0
"""How long a connection is kept for the next message: servers close those that idle, many after not much longer."""
KNOWN_SECONDS = 5.0
"""How long a name that was looked up and checked stays known: a busy endpoint is not looked up for each message."""
ERROR_CHARACTERS_MAX = 300
CONTENT = {
    "content-type": "application/cloudevents+json",
    "user-agent": "credit-ledger-webhooks",
    "accept": "*/*",
    "accept-encoding": "identity",
}
BROKEN = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ConnectionNotAvailable)
NOT_CONNECTED = (httpcore.ConnectError, httpcore.ConnectTimeout)
BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


class Outcome(NamedTuple):
    """What came of an attempt. `error` is None if the message was taken; `status` is None if nobody answered."""

    status: int | None
    error: str | None
    attempted_at: datetime
    milliseconds: int
    asked_seconds: float = 0.0
    """How long the endpoint wants to be left alone."""


class Connected(NamedTuple):
    """A connection, and the checked address that it goes to."""

    address: str
    connection: httpcore.AsyncHTTPConnection


class Poster:
    """Sends messages to one endpoint, by connections of its own, each to an address that was checked.

    A client with a pool would cost several times as much for each message, and connect to names.
    """

    def __init__(
        self,
        url: httpx.URL,
        secrets: Sequence[Secret],
        *,
        private_targets: bool,
        resolver: Resolver,
        context: ssl.SSLContext,
        attempt_seconds_max: float,
    ) -> None:
        self._url = url
        self._secrets = secrets
        self._private_targets = private_targets
        self._resolver = resolver
        self._context = context
        self._seconds_max = attempt_seconds_max
        self._headers = {"host": url.netloc.decode("ascii")} | CONTENT
        self._extensions = {
            "sni_hostname": url.raw_host.decode("ascii"),
            "timeout": {"connect": CONNECT_SECONDS_MAX},
        }
        self._idle: list[Connected] = []
        self._addresses: Sequence[str] = ()
        self._known_until = 0.0
        self._looking_up: asyncio.Task[Sequence[str]] | None = None

    async def send(self, message: Message) -> Outcome:
        """Send it, once. Whatever goes wrong is an outcome."""
        attempted_at, begun = datetime.now(UTC), time.monotonic()
        status, error, asked_seconds = None, None, 0.0
        try:
            async with asyncio.timeout(self._seconds_max):
                status, asked_seconds = await self._answer(message, attempted_at)
            if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                error = f"answered {status}"
        except Exception as problem:  # one message that cannot be sent must not stop the others
            self._known_until = 0.0
            error = self._said(problem)
        return Outcome(status, error, attempted_at, round((time.monotonic() - begun) * 1000), asked_seconds)

    async def close(self) -> None:
        if self._looking_up is not None:
            self._looking_up.cancel()
        while self._idle:
            await self._idle.pop().connection.aclose()

    async def _answer(self, message: Message, now: datetime) -> tuple[int, float]:
        """The status that was answered, and for how many seconds the endpoint wants to be left alone."""
        good = [each.secret for each in self._secrets if each.good(now)]
        headers = self._headers | signed_headers(message.id, message.body, good, now)
        addresses = await self._checked()
        idle = await self._idle_one(addresses)
        if idle is not None:
            with suppress(*BROKEN):  # it may just have been closed, because it was idle
                return await self._exchange(idle, headers, message.body)
        for address in addresses[:-1]:
            with suppress(*NOT_CONNECTED):
                return await self._exchange(self._new_one(address), headers, message.body)
        return await self._exchange(self._new_one(addresses[-1]), headers, message.body)

    async def _exchange(self, connected: Connected, headers: dict[str, str], body: bytes) -> tuple[int, float]:
        given = [*headers.items(), ("content-length", str(len(body)))]
        url = httpcore.URL(
            scheme=self._url.raw_scheme,
            host=connected.address,
            port=port_of(self._url),
            target=self._url.raw_path,
        )
        connection = connected.connection
        try:
            async with connection.stream(
                "POST", url, headers=given, content=body, extensions=self._extensions
            ) as answer:
                with suppress(TimeoutError, httpcore.TimeoutException, *BROKEN):  # it has answered, whatever follows
                    async with asyncio.timeout(ANSWER_SECONDS_MAX):
                        await _throw_away(answer)
                return answer.status, _asked_seconds(answer)
        finally:
            if connection.is_closed() or not connection.is_idle():
                await connection.aclose()
            else:
                self._idle.append(connected)

    async def _idle_one(self, addresses: Sequence[str]) -> Connected | None:
        """The connection that was used last, if it is good; those that are not are closed."""
        while self._idle:
            connected = self._idle.pop()
            if connected.address in addresses and not connected.connection.has_expired():
                return connected
            await connected.connection.aclose()
        return None

    def _new_one(self, address: str) -> Connected:
        origin = httpcore.Origin(self._url.raw_scheme, address.encode(), port_of(self._url))
        connection = httpcore.AsyncHTTPConnection(origin, self._context, keepalive_expiry=IDLE_SECONDS_MAX)
        return Connected(address, connection)

    async def _checked(self) -> Sequence[str]:
        """The addresses of the endpoint, looked up once for all attempts that begin meanwhile."""
        if time.monotonic() < self._known_until:
            return self._addresses
        if self._looking_up is None or self._looking_up.done():
            self._looking_up = asyncio.create_task(self._look_up())
            self._looking_up.add_done_callback(_ended)
        return await asyncio.shield(self._looking_up)

    async def _look_up(self) -> Sequence[str]:
        checked_url(str(self._url), private_targets=self._private_targets)
        self._addresses = await checked_addresses(
            self._url, private_targets=self._private_targets, resolver=self._resolver
        )
        self._known_until = time.monotonic() + KNOWN_SECONDS
        return self._addresses

    def _said(self, problem: Exception) -> str:
        """A short text of what went wrong."""
        if isinstance(problem, httpcore.ConnectTimeout):
            return f"no connection in {CONNECT_SECONDS_MAX:g} s"
        if isinstance(problem, TimeoutError):
            return f"no answer in {self._seconds_max:g} s"
        if not isinstance(problem, (*BROKEN, OSError, Refusal)):
            log.error("a webhook cannot be sent: %s", problem, exc_info=problem)
        text = " ".join(str(problem).replace("\0", "").split()) or type(problem).__name__
        return text[:ERROR_CHARACTERS_MAX]


def _ended(task: "asyncio.Task[Sequence[str]]") -> None:
    """What went wrong is told to those who wait for it; if nobody does any more, it is nobody's business."""
    if not task.cancelled():
        task.exception()


async def _throw_away(answer: httpcore.Response) -> None:
    size = 0
    async for piece in answer.aiter_stream():
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            return


def _asked_seconds(answer: httpcore.Response) -> float:
    """What Retry-After says in seconds; what says something else says nothing."""
    if answer.status not in BUSY:
        return 0.0
    told = next((value.strip() for name, value in answer.headers if name.lower() == b"retry-after"), b"")
    return float(told) if told.isdigit() and len(told) <= 9 else 0.0
