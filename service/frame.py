"""The frame of every request: its id, its size, the position of its answer, one line in the log, and no bare fault.

The same for all doors, so it is an ASGI middleware around the application.
"""

import asyncio
import json
import logging
import random
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ledger.application import CreditLedger
from ledger.domain.instants import instant_text
from ledger.domain.refusals import QueueFull
from service.logs import REQUEST_ID, log_request
from service.refusals import FAULT, FAULT_CODE, BodyIncomplete, BodyTooLarge, Told, told, unavailable

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 2 * 1024 * 1024
BODY_SECONDS_MAX = 10
PROBES = frozenset({"/livez", "/readyz", "/metrics"})
REQUESTS_AT_ONCE_MAX = 1000
"""More are refused (QueueFull): each may hold a body."""
GRAPHQL = "/graphql"
OF_SUBSCRIBERS = "/v1/"
"""Where a refusal tells its code and facts as well; of allocation rules the contract names every field."""
POSITION, STALE, REQUEST_ID_HEADER = "X-Ledger-Position", "X-Ledger-Stale", "X-Request-Id"
_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Endpoint = Callable[[Request], Awaitable[ASGIApp]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Frame:
    """Around every request. What the application raises is told as JSON: a refusal by its row of the table.

    What is posted to a path of `direct` goes to its endpoint without the framework's routing, which would find the
    same. `refusals` is called with the codes of each request's refusals, each code once.
    """

    def __init__(
        self,
        application: Application,
        ledger: CreditLedger,
        refusals: Callable[[Iterable[str]], None],
        position: int = 0,
        direct: Mapping[str, Endpoint] = MappingProxyType({}),
    ) -> None:
        self._application = application
        self._direct = direct
        self._ledger = ledger
        self._refusals = refusals
        self._position = position
        self._requests = 0

    @property
    def position(self) -> int:
        """The last position that this process knows of."""
        return max(self._position, self._ledger.writer.head)

    def saw(self, position: int) -> None:
        self._position = max(self._position, position)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {}).update(request_id=request_id, facts={}, headers={})
        token = REQUEST_ID.set(request_id)
        started = time.perf_counter()
        sent = Sent(send, request_id, self, scope["state"]["headers"])
        self._requests += 1
        try:
            if self._requests > REQUESTS_AT_ONCE_MAX and scope["path"] not in PROBES:
                raise QueueFull(REQUESTS_AT_ONCE_MAX)
            endpoint = self._direct.get(scope["path"]) if scope["method"] == "POST" else None
            if endpoint is None:
                await self._application(scope, Bounded(receive), sent)
            else:
                await (await endpoint(Request(scope, Bounded(receive))))(scope, receive, sent)
        except asyncio.CancelledError:
            if sent.status is not None:
                raise
            problem = unavailable("the service is ending", outcome_unknown=True)
            await refused(Request(scope), problem)(scope, receive, sent)
        except Exception as error:
            if sent.complete:
                return  # it was told and logged where it happened
            if sent.status is not None:
                raise
            problem = told(error) or fault(error)
            await refused(Request(scope), problem)(scope, receive, sent)
        finally:
            self._requests -= 1
            self._refusals(scope["state"]["facts"].get("codes", ()))
            _log(scope, sent.status, time.perf_counter() - started)
            REQUEST_ID.reset(token)


class Bounded:
    """The body of a request, refused as soon as it is too large (BodyTooLarge) or takes too long (BodyIncomplete)."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS_MAX
        self._bytes = 0
        self._whole = False

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise BodyIncomplete(BODY_SECONDS_MAX) from None
        if message["type"] == "http.disconnect":
            raise BodyIncomplete(BODY_SECONDS_MAX)
        self._whole = not message.get("more_body", False)
        self._bytes += len(message.get("body", b""))
        if self._bytes > BODY_BYTES_MAX:
            raise BodyTooLarge(BODY_BYTES_MAX)
        return message


class Sent:
    """Completes an answer's headers: every answer carries a position and the request's id, and `more` if a door has."""

    def __init__(self, send: Send, request_id: str, frame: Frame, more: Mapping[str, str]) -> None:
        self._send = send
        self._more = more
        self._request_id = request_id
        self._frame = frame
        self.status: int | None = None
        self.complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", []))
            told = [value for name, value in headers if name == POSITION.lower().encode()]
            if told:
                self._frame.saw(int(told[0]))
            else:
                headers.append((POSITION.lower().encode(), str(self._frame.position).encode()))
            headers.append((REQUEST_ID_HEADER.lower().encode(), self._request_id.encode()))
            headers += [(name.lower().encode(), value.encode()) for name, value in self._more.items()]
            message["headers"] = headers
        await self._send(message)
        self.complete = message["type"] == "http.response.body" and not message.get("more_body", False)


def route(method: str, path: str, endpoint: Endpoint) -> Route:
    """One method of a path, and nothing but that: the framework would answer HEAD wherever it answers GET."""
    one = Route(path, endpoint, methods=[method])
    one.methods = {method}
    return one


def refused(request: Request, problem: Told) -> Response:
    """The answer to a request of which nothing was carried out, in the shape of its door."""
    status = problem.answer.status
    request.scope["state"]["facts"]["codes"] = [problem.code]
    if request.url.path == GRAPHQL:
        error = {"message": problem.message, "extensions": {**problem.facts, "code": problem.code}}
        return json_answer({"errors": [error]}, status, retry_headers(problem))
    body: dict[str, Any] = {
        "timestamp": instant_text(datetime.now(UTC)),
        "status": status,
        "error": HTTPStatus(status).phrase,
        "message": problem.message,
        "path": request.url.path,
    }
    if request.url.path.startswith(OF_SUBSCRIBERS):
        body |= {**problem.facts, "code": problem.code}
    return json_answer(body, status, retry_headers(problem))


def json_answer(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON in ASCII: also a lone surrogate that somebody sent can be told back to him."""
    return Response(json.dumps(body), status, headers, "application/json")


def retry_headers(problem: Told) -> dict[str, str]:
    seconds = problem.answer.retry_seconds
    return {} if seconds is None else {"Retry-After": str(seconds)}


def fault(error: BaseException) -> Told:
    """A fault of ours: the log has it whole, the caller is told of it by the request's id."""
    log.error("a fault of ours: %s", error, exc_info=error)
    message = f"a fault of ours; tell us the request id {REQUEST_ID.get()}"
    return Told(FAULT_CODE, message, {"requestId": REQUEST_ID.get()}, FAULT)


def _request_id(scope: MutableMapping[str, Any]) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if _WELL_FORMED_ID.fullmatch(text):
                return str(text)
    return str(uuid.UUID(int=random.getrandbits(128), version=4))  # it names a request, it hides nothing


def _log(scope: MutableMapping[str, Any], status: int | None, seconds: float) -> None:
    facts = {
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "milliseconds": round(seconds * 1000, 2),
        **scope["state"]["facts"],
    }
    log_request(facts)
