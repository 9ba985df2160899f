"""The application: every route of the service, in one frame."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import psycopg
from fastapi import FastAPI
from psycopg_pool import PoolClosed, PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ledger.application import LedgerUnavailable
from ledger.domain.instants import instant_from_text, instant_text
from ledger.domain.refusals import InvalidArgument, Refusal
from service.access import Right
from service.frame import Frame, fault, json_answer, refused
from service.graphql.door import authenticated, graphql
from service.graphql.scalars import json_of
from service.graphql.schema import build_schema
from service.parts import Parts
from service.readiness import readiness
from service.refusals import FAULT, Told, told
from service.test_clock import read_clock, set_clock

EXPECTED = (Refusal, LedgerUnavailable, psycopg.Error, PoolTimeout, PoolClosed)


def build_app(parts: Parts) -> Frame:
    """The ASGI application of one process. It starts and stops the reactors with itself, where this process has one."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if parts.runner is not None:
            parts.reactors.start()
        yield
        await parts.reactors.stop()

    app = FastAPI(lifespan=lifespan, redirect_slashes=False, openapi_url=None)  # without it, no pages about it
    for kind in EXPECTED:
        app.add_exception_handler(kind, _tell)
    app.add_exception_handler(Exception, _tell)
    app.add_exception_handler(HTTPException, _tell_http)
    _add_graphql(app, parts)
    _add_health(app, parts)
    if parts.test_clock:
        _add_test_clock(app, parts)
    return Frame(app, parts.ledger, parts.reader.progress().head)


def _add_graphql(app: FastAPI, parts: Parts) -> None:
    schema = build_schema()

    @app.post("/graphql")
    async def post_graphql(request: Request) -> Response:
        return await graphql(request, parts, schema)


def _add_health(app: FastAPI, parts: Parts) -> None:
    @app.get("/livez")
    async def get_livez() -> Response:
        """The process answers."""
        return json_answer({"alive": True})

    @app.get("/readyz")
    async def get_readyz() -> Response:
        """The process should be sent requests; if not, 503 with what stands in the way."""
        try:
            progress = await parts.threads.read(parts.reader.progress)
        except (psycopg.Error, PoolTimeout, LedgerUnavailable):
            progress = None
        found = readiness(parts, progress)
        body: dict[str, object] = {"ready": found.ready, "problems": found.problems}
        if progress is not None:
            body |= {"head": str(progress.head)}
            body["readModels"] = {name: str(position) for name, position in progress.positions.items()}
        return json_answer(body, 200 if found.ready else 503)


def _add_test_clock(app: FastAPI, parts: Parts) -> None:
    @app.get("/test/clock")
    async def get_clock(request: Request) -> Response:
        (await authenticated(request, parts)).require(Right.READ)
        return json_answer({"now": instant_text(await read_clock(parts))})

    @app.post("/test/clock")
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


async def _tell(request: Request, error: Exception) -> Response:
    return refused(request, told(error) or fault(error))


async def _tell_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).phrase.title().replace(" ", "")
    answer = refused(request, Told(code, str(error.detail), {}, FAULT._replace(status=error.status_code)))
    answer.headers.update(error.headers or {})  # which methods are allowed, say
    return answer
