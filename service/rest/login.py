"""The login: an API key's id and secret for a token of 10 minutes, and another token for one that is still good."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.frame import json_answer, route
from service.parts import Parts
from service.rest.door import TOKEN_HEADER
from service.rest.fields import body_of
from service.rest.models import Login

BYTES_MAX = 64 * 1024
"""Whoever sends it is not known yet."""
LOGIN, EXTEND = "/login", "/auth_token/extend"


def login_routes(parts: Parts) -> list[Route]:
    async def log_in(request: Request) -> Response:
        """A token for an API key."""
        given = await body_of(request, Login, bytes_max=BYTES_MAX)
        token = await parts.threads.read(lambda: parts.tokens.log_in(given.username, given.password))
        return json_answer({"token": token})

    async def extend(request: Request) -> Response:
        """Another token, for one that is still good."""
        given = request.headers.get(TOKEN_HEADER)
        return json_answer({"token": await parts.threads.read(lambda: parts.tokens.extend(given))})

    return [route("POST", LOGIN, log_in), route("GET", EXTEND, extend)]
