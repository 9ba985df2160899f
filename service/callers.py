"""Who sends a request, and which position he has to see."""

from starlette.requests import Request

from service.access import Caller
from service.parts import Parts
from service.reads import position_of

AT_LEAST = "X-Ledger-At-Least"


async def authenticated(request: Request, parts: Parts) -> Caller:
    """Who sent a request. Refuses: Unauthenticated."""
    text = request.headers.get("x-api-key")
    caller = parts.keys.known(text)
    if caller is None:
        assert text is not None
        given = text
        caller = await parts.threads.read(lambda: parts.keys.look_up(given))
    request.state.facts["key"] = caller.key_id
    return caller


def at_least_of(request: Request) -> int | None:
    """The position that the request names to wait for. Refuses: InvalidArgument."""
    text = request.headers.get(AT_LEAST)
    return None if text is None else position_of(text, field=AT_LEAST)
