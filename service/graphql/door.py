"""POST /graphql: from the bytes of a request to the bytes of its answer.

An answer is HTTP 200 with `data`, `errors`, or both, as GraphQL has it. Where nothing at all came of the request and
the reason is not in what it asked for (no key, no right, too many, not available), the status says so too.
"""

import asyncio
import re
from typing import Any

from graphql import GraphQLError, ValueNode
from starlette.requests import Request
from starlette.responses import Response
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from ledger.application import LedgerUnavailable
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import NAME_CHARACTERS_MAX
from service.callers import at_least_of, authenticated
from service.frame import POSITION, STALE, fault, json_answer, refused, retry_headers
from service.graphql.context import RequestContext
from service.graphql.scalars import json_of
from service.graphql.schema import LedgerSchema
from service.parts import Parts
from service.reads import Reads
from service.refusals import GRANT_WORDS, Told, bad, told, unavailable

MESSAGE_CHARACTERS_MAX = 1000
"""GraphQL's own messages repeat what was sent."""
AT_AN_INPUT = re.compile(r"^Variable '.*?' has invalid value(?: at \.([\w.]+)|.* required field '(\w+)')")
"""Where GraphQL says which field of an input, given in a variable, was bad or is missing."""
BEFORE_A_VALUE = re.compile(r"(\w+)\s*:\s*(?:\[[^\[\]{}]*)?$")
"""The field that a value in the document was for."""
OF_THE_DOOR = frozenset({401, 403, 413, 429, 503})
"""Statuses that an answer without any data takes from its first error; a refusal's own ones stay in the errors."""


async def graphql(request: Request, parts: Parts, schema: LedgerSchema) -> Response:
    """Answer one GraphQL request."""
    try:
        caller = await authenticated(request, parts)
        asked = await _body(request)
        at_least = at_least_of(request)
    except Exception as error:
        return refused(request, told(error, GRANT_WORDS) or fault(error))
    request.state.facts["operation"] = (asked.get("operationName") or "")[:NAME_CHARACTERS_MAX] or None
    reads = Reads(parts.reader, parts.threads, at_least=at_least)
    context = RequestContext(
        caller,
        parts.ledger,
        reads,
        request.state.request_id,
        parts.execution_rate,
        operation_name=asked.get("operationName"),
    )
    try:
        result = await schema.execute(
            asked["query"],
            variable_values=asked.get("variables"),
            operation_name=asked.get("operationName"),
            context_value=context,
        )
        data, errors = result.data, [_told(error, context) for error in result.errors or []]
        body: dict[str, Any] = {"data": data}
        if errors:
            body["errors"] = [_wire(error, problem) for error, problem in zip(result.errors or [], errors, strict=True)]
        if errors or context.refused:
            request.state.facts["codes"] = sorted({problem.code for problem in errors} | context.refused)
    except (MissingQueryError, CannotGetOperationTypeError, InvalidOperationTypeError) as error:
        return refused(request, bad("operationName", f"must name an operation: {error}"))
    except RecursionError:
        return refused(request, bad("query", "is nested too deep"))
    except asyncio.CancelledError:
        if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # this runs in a task
            raise
        # GraphQL cancels the look-ups of a field whose neighbour failed, and with them what others wait for.
        return refused(request, unavailable("the database is not available", outcome_unknown=context.wrote > 0))
    finally:
        await reads.close()
    headers = _position_headers(context)
    nothing = not data or all(value is None for value in data.values())
    first = errors[0] if errors and nothing else None
    status = 200 if first is None or first.answer.status not in OF_THE_DOOR else first.answer.status
    if first is not None and status != 200:
        headers |= retry_headers(first)
    return json_answer(body, status, headers)


async def _body(request: Request) -> dict[str, Any]:
    """The request's parts by name. Refuses: InvalidArgument, BodyTooLarge."""
    try:
        asked = json_of((await request.body()).decode())
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("body", f"must be JSON: {error}") from None
    if not isinstance(asked, dict):
        raise InvalidArgument("body", "must be a JSON object with query, variables and operationName")
    if not isinstance(asked.get("query"), str) or not asked["query"]:
        raise InvalidArgument("query", "must be a GraphQL document")
    if not isinstance(asked.get("variables"), dict | None):
        raise InvalidArgument("variables", "must be a JSON object")
    if not isinstance(asked.get("operationName"), str | None):
        raise InvalidArgument("operationName", "must be a name")
    return asked


def _position_headers(context: RequestContext) -> dict[str, str]:
    """The position that the answer is right at: of what it wrote, else of its reads, else what is known here.

    What a mutation reads besides is right at its position or null; so only a query's answer can be stale.
    """
    if context.wrote:
        return {POSITION: str(context.wrote)}
    if context.reads.position is None:
        return {}
    stale = {STALE: "true"} if context.reads.stale else {}
    return {POSITION: str(context.reads.position), **stale}


def _told(error: GraphQLError, context: RequestContext) -> Told:
    """A refusal by its row; anything that GraphQL itself found wrong is an argument of the request.

    A ValueError before anything was carried out is one too: a whole number of more digits than Python reads.
    """
    original = error.original_error
    while isinstance(original, GraphQLError) and original.original_error is not None:
        original = original.original_error
    before = error.path is None
    if original is None or isinstance(original, GraphQLError) or (before and isinstance(original, ValueError)):
        message = error.message[:MESSAGE_CHARACTERS_MAX]
        return bad(_field_at_fault(error), message)._replace(message=message)
    problem = told(original, GRANT_WORDS) or fault(original)
    if context.wrote and problem.code == LedgerUnavailable.code:
        return problem._replace(facts={"outcomeUnknown": True})  # it may be only the answer that could not be read
    return problem


def _field_at_fault(error: GraphQLError) -> str:
    """The input's field that could not be read, or the whole query."""
    found = AT_AN_INPUT.match(error.message)
    if found is None and error.nodes and isinstance(error.nodes[0], ValueNode) and error.nodes[0].loc is not None:
        place = error.nodes[0].loc
        found = BEFORE_A_VALUE.search(place.source.body, 0, place.start)
    return "query" if found is None else next(name for name in found.groups() if name)


def _wire(error: GraphQLError, problem: Told) -> dict[str, Any]:
    wire: dict[str, Any] = {"message": problem.message}
    if error.locations:
        wire["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path:
        wire["path"] = error.path
    wire["extensions"] = {**problem.facts, "code": problem.code}
    return wire
