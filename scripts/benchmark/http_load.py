"""Load over HTTP from a process of its own: debits through the REST door and, beside them, through GraphQL.

The client speaks just as much HTTP as it needs, so that it is not what is measured: connections that are kept, one
request at a time on each, answers of a told length. Every debit has a key of its own; an answer that is not what was
asked for ends the measurement.
"""

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import uvloop

from scripts.benchmark.measure import Measurement
from scripts.benchmark.processes import beside

CURRENCY = "credits"
SINGLE, BATCH, GRAPHQL = "/v1/debits", "/v1/debits:batch", "/graphql"
CONSUME = "mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId position } }"
CONSUME_MANY = """
mutation ($input: ConsumeCreditsAsyncInput!) {
  consumeCreditsAsync(input: $input) { results { index response { transactionId position } error { code } } position }
}
"""
FAILED = (b'"errors"', b'"error":{', b'"error": {')


def single_debits(url: str, key: str, holders: Sequence[str], callers: int, seconds: float) -> Measurement:
    """So many callers, each with a connection and one debit at a time."""
    return _beside(_for_a_time, url, key, SINGLE, "debit", list(holders), 1, callers, seconds)


def batches(url: str, key: str, holders: Sequence[str], length: int, callers: int, count: int) -> Measurement:
    """So many batches of so many debits in all, by so many callers; a batch has one latency."""
    return _beside(_so_many, url, key, BATCH, "batch", list(holders), length, callers, count)


def graphql_singles(url: str, key: str, holders: Sequence[str], callers: int, seconds: float) -> Measurement:
    """The same by consumeCredits."""
    return _beside(_for_a_time, url, key, GRAPHQL, "consume", list(holders), 1, callers, seconds)


def graphql_lists(url: str, key: str, holders: Sequence[str], length: int, callers: int, count: int) -> Measurement:
    """The same by consumeCreditsAsync."""
    return _beside(_so_many, url, key, GRAPHQL, "consume many", list(holders), length, callers, count)


class Caller(asyncio.Protocol):
    """One connection that is kept: a request is sent when the one before is answered."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._got = bytearray()
        self._whole = -1
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, request: bytes) -> "asyncio.Future[bytes]":
        """The body of the answer; another status than 200 fails."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._got += data
        if self._whole < 0:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._got[:end]).lower()
            length = head.index(b"content-length:") + 15
            self._whole = end + 4 + int(head[length : (head + b"\r\n").index(b"\r\n", length)])
        if len(self._got) < self._whole:
            return
        answer, self._got, self._whole = bytes(self._got), bytearray(), -1
        assert self._answer is not None
        if answer.startswith(b"HTTP/1.1 200") and not any(word in answer for word in FAILED):
            self._answer.set_result(answer)
        else:
            self._answer.set_exception(RuntimeError(answer[:1000].decode(errors="replace")))

    def connection_lost(self, _: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the service closed the connection"))

    def close(self) -> None:
        self._transport.close()


class Requests:
    """Requests that were never sent before, over some holders in turn."""

    def __init__(self, url: str, key: str, path: str, shape: str, holders: Sequence[str], length: int) -> None:
        self._head = f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nX-API-KEY: {key}\r\n".encode()
        self._shape = shape
        self._shapes = {
            "debit": self._debit,
            "batch": self._batch,
            "consume": self._consume,
            "consume many": self._consume_many,
        }
        self._length = length
        self._holders = itertools.cycle([json.dumps(holder) for holder in holders])
        mark = secrets.token_hex(6)
        self._keys: Iterator[str] = (f'"{mark}-{number}"' for number in itertools.count())

    def __next__(self) -> bytes:
        body = self._shapes[self._shape]().encode()
        return self._head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def _debit(self) -> str:
        holder, key = next(self._holders), next(self._keys)
        return f'{{"holder": {holder}, "currency": "{CURRENCY}", "amount": "1.25", "idempotencyKey": {key}}}'

    def _batch(self) -> str:
        return f'{{"debits": [{", ".join(self._debit() for _ in range(self._length))}]}}'

    def _consumption(self) -> str:
        holder, key = next(self._holders), next(self._keys)
        return f'{{"customerId": {holder}, "currencyId": "{CURRENCY}", "amount": 1.25, "idempotencyKey": {key}}}'

    def _consume(self) -> str:
        return f'{{"query": {json.dumps(CONSUME)}, "variables": {{"input": {self._consumption()}}}}}'

    def _consume_many(self) -> str:
        many = ", ".join(self._consumption() for _ in range(self._length))
        return f'{{"query": {json.dumps(CONSUME_MANY)}, "variables": {{"input": {{"consumptions": [{many}]}}}}}}'


def _beside(run: Callable[..., Any], *given: Any) -> Measurement:
    with beside(_in_its_process, run, *given) as pipe:
        measured: Measurement = pipe.recv()
    return measured


def _in_its_process(pipe: Any, run: Callable[..., Any], *given: Any) -> None:
    pipe.send(uvloop.run(run(*given)))


async def _for_a_time(
    url: str, key: str, path: str, shape: str, holders: Sequence[str], length: int, callers: int, seconds: float
) -> Measurement:
    ends = time.perf_counter() + seconds
    return await _measured(url, Requests(url, key, path, shape, holders, length), callers, length,
                           lambda: time.perf_counter() < ends)  # fmt: skip


async def _so_many(
    url: str, key: str, path: str, shape: str, holders: Sequence[str], length: int, callers: int, count: int
) -> Measurement:
    left = iter(range(count))
    return await _measured(url, Requests(url, key, path, shape, holders, length), callers, length,
                           lambda: next(left, None) is not None)  # fmt: skip


async def _measured(url: str, requests: Requests, callers: int, length: int, more: Callable[[], bool]) -> Measurement:
    place = urlsplit(url)
    loop = asyncio.get_running_loop()
    host, port = place.hostname or "", place.port or 80
    connections = [(await loop.create_connection(Caller, host, port))[1] for _ in range(callers)]
    latencies: list[float] = []

    async def call(connection: Caller) -> None:
        while more():
            request = next(requests)
            begun = time.perf_counter()
            await connection.ask(request)
            latencies.append(time.perf_counter() - begun)

    started = time.perf_counter()
    await asyncio.gather(*map(call, connections))
    seconds = time.perf_counter() - started
    for connection in connections:
        connection.close()
    return Measurement(length * len(latencies), seconds, latencies)
