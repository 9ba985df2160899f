"""The application: every route of the service, in one frame."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from ledger.application import LedgerUnavailable
from ledger.domain.instants import instant_from_text, instant_text
from ledger.domain.refusals import InvalidArgument, Refusal
from service.access import Right
from service.audit.door import audit_routes
from service.callers import authenticated
from service.feed.door import event_routes
from service.frame import Frame, fault, json_answer, refused, route
from service.graphql.door import graphql
from service.graphql.scalars import json_of
from service.graphql.schema import build_schema
from service.metrics import Scrape
from service.operations import operation_routes
from service.parts import Parts
from service.readiness import Probe
from service.refusals import FAULT, Told, told
from service.rest.balances import balance_routes
from service.rest.debits import debit_routes
from service.rest.login import login_routes
from service.rest.rules import rule_routes
from service.test_clock import read_clock, set_clock

EXPECTED = (Refusal, LedgerUnavailable, psycopg.Error, PoolTimeout, PoolClosed)


def build_app(parts: Parts) -> Frame:
    """The ASGI application of one process. It starts and stops the reactors with itself, where this process has one."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if parts.runner is not None:
            parts.reactors.start()
        try:
            yield
            await parts.reactors.stop()
        finally:
            await parts.feed.stop()

    debits = debit_routes(parts)
    routes = [
        *debits,
        *_graphql(parts),
        *balance_routes(parts),
        *rule_routes(parts),
        *login_routes(parts),
        *event_routes(parts),
        *audit_routes(parts),
        *operation_routes(parts),
    ]
    routes += _health(parts)
    if parts.test_clock:
        routes += _test_clock(parts)
    handlers: dict[Any, Any] = dict.fromkeys((*EXPECTED, Exception), _tell) | {HTTPException: _tell_http}
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False
    direct = {each.path: each.endpoint for each in debits}
    return Frame(app, parts.ledger, parts.metrics.refused, parts.reader.progress().head, direct)


def _graphql(parts: Parts) -> list[Route]:
    schema = build_schema()

    async def post_graphql(request: Request) -> Response:
        return await graphql(request, parts, schema)

    return [route("POST", "/graphql", post_graphql)]


def _health(parts: Parts) -> list[Route]:
    probe = Probe(parts)

    async def get_livez(_: Request) -> Response:
        """The process answers."""
        return json_answer({"alive": True})

    async def get_readyz(_: Request) -> Response:
        """The process should be sent requests; if not, 503 with what stands in the way."""
        found = await probe.look()
        return json_answer(found.data(), 200 if found.ready else 503)

    async def get_metrics(request: Request) -> Response:
        """What Prometheus scrapes; without what only the database can tell, where it cannot be asked."""
        scrape = Scrape(parts.ledger.writer.queued, parts.feed.subscribers, parts.reactors.attempts)
        with suppress(psycopg.Error, PoolTimeout, LedgerUnavailable):
            seen, waiting = await parts.threads.read(lambda: (parts.overview(), parts.backlog()))
            scrape = scrape._replace(seen=seen, backlog=waiting)
        accept = request.headers.get("accept", "")
        text, content_type = await parts.threads.run(lambda: parts.metrics.text(scrape, accept))
        return Response(text, headers={"Content-Type": content_type})

    probes = {"/livez": get_livez, "/readyz": get_readyz, "/metrics": get_metrics}
    return [route("GET", path, endpoint) for path, endpoint in probes.items()]


def _test_clock(parts: Parts) -> list[Route]:
    async def get_clock(request: Request) -> Response:
        (await authenticated(request, parts)).require(Right.READ)
        return json_answer({"now": instant_text(await read_clock(parts))})

    async def post_clock(request: Request) -> Response:
        (await authenticated(request, parts)).require(Right.OPERATE)
        try:
            body = json_of((await request.body()).decode())
        except (ValueError, RecursionError) as error:
            raise InvalidArgument("body", f"must be JSON: {error}") from None
        if not isinstance(body, dict) or set(body) != {"now"}:
            raise InvalidArgument("body", "must be an object with now")
        instant = instant_from_text(body["now"], field="now")
        await set_clock(parts, instant)
        return json_answer({"now": instant_text(await read_clock(parts))})

    path = "/test/clock"
    return [route("GET", path, get_clock), route("POST", path, post_clock)]


async def _tell(request: Request, error: Exception) -> Response:
    return refused(request, told(error) or fault(error))


async def _tell_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).phrase.title().replace(" ", "")
    answer = refused(request, Told(code, str(error.detail), {}, FAULT._replace(status=error.status_code)))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["Allow"] = ", ".join(_allowed(request))
    return answer


def _allowed(request: Request) -> list[str]:
    """The methods that a path has; the framework tells those of the first route alone."""
    return [
        method
        for method in ("DELETE", "GET", "PATCH", "POST")
        if any(each.matches({**request.scope, "method": method})[0] is Match.FULL for each in request.app.routes)
    ]
