"""The lean door for debits: credits used and given back, one by one or by the batch, with the same commands, the same
keys and the same refusals as through GraphQL."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ledger.application import Command, LedgerUnavailable, Receipt
from ledger.domain.refusals import InvalidArgument, Refusal
from ledger.domain.values import Actor
from service.access import Caller, Right
from service.callers import authenticated
from service.frame import POSITION, route
from service.openapi import JSON
from service.parts import Parts
from service.refusals import in_words
from service.rest.debit_answers import debit_told, error_told, refund_told
from service.rest.debit_fields import DEBIT_WORDS, KEY, about_execution_credits, debit_of, items_of, refund_of
from service.rest.door import KEY_HEADER, REPLAYED
from service.rest.json_bodies import json_body

DEBITS, BATCH, REFUNDS = "/v1/debits", "/v1/debits:batch", "/v1/refunds"
AT_ONCE = 100
"""So many items are read or told in one go; between two goes others are answered."""
_KEY_HEADER = KEY_HEADER.lower().encode()


def debit_routes(parts: Parts) -> list[Route]:
    async def post_debit(request: Request) -> Response:
        """Use credits of one pool, all or nothing."""
        caller = await _writer(request, parts)
        given = json_body(await request.body())
        receipt = await _carry_out(request, parts, caller, debit_of, given)
        return _answer(debit_told(receipt).encode(), receipt)

    async def post_batch(request: Request) -> Response:
        """Use credits up to 8,000 times, each by itself; answered when all that was accepted is durable."""
        caller = await _writer(request, parts)
        if key_header(request) is not None:
            raise InvalidArgument(KEY_HEADER, f"must not be given for a batch: each of its debits takes its {KEY}")
        items = items_of(json_body(await request.body()))
        outcomes = await _carry_out_each(request, parts, caller, items)
        codes = {outcome.code for outcome in outcomes if not isinstance(outcome, Receipt)}
        if codes:
            request.state.facts["codes"] = sorted(codes)
        positions = [outcome.position for outcome in outcomes if isinstance(outcome, Receipt)]
        position = str(max(positions)) if positions else None
        results = b",".join([part async for part in _told(outcomes)])
        body = b'{"results":[%b],"position":%b}' % (results, to_json(position))
        headers = {} if position is None else {POSITION: position}
        return Response(body, headers=headers, media_type=JSON)

    async def post_refund(request: Request) -> Response:
        """Give back a debit or a part of it, last drawn first."""
        caller = await _writer(request, parts)
        given = json_body(await request.body())
        receipt = await _carry_out(request, parts, caller, refund_of, given)
        return _answer(to_json(refund_told(receipt)), receipt)

    return [
        route("POST", DEBITS, post_debit),
        route("POST", BATCH, post_batch),
        route("POST", REFUNDS, post_refund),
    ]


def key_header(request: Request) -> str | None:
    """The idempotency key that a request has in its headers. Refuses: InvalidArgument."""
    found = [value for name, value in request.scope["headers"] if name == _KEY_HEADER]
    if not found:
        return None
    if len(set(found)) > 1 or not found[0].isascii():
        raise InvalidArgument(KEY_HEADER, f"must be given once, in ASCII; any other key is given as {KEY}")
    return str(found[0].decode())


async def _writer(request: Request, parts: Parts) -> Caller:
    """Who asks to write. Refuses: Unauthenticated, IdentityForbidden."""
    caller = await authenticated(request, parts)
    caller.require(Right.WRITE)
    return caller


async def _carry_out(request: Request, parts: Parts, caller: Caller, build: Any, given: Any) -> Receipt:
    """Carry out one command in the caller's name. Refuses as it does, and RateLimitExceeded."""
    try:
        if about_execution_credits(given):
            parts.execution_rate.let_in(caller.key_id)
        command = _own(build(given, key_header(request)), caller, caller.actor, request.state.request_id)
        return await parts.ledger.execute(command)
    except Refusal as refusal:
        raise in_words(refusal, DEBIT_WORDS) from None


async def _carry_out_each(
    request: Request, parts: Parts, caller: Caller, items: Sequence[Any]
) -> list[Receipt | Refusal | LedgerUnavailable]:
    """Carry out debits in their order, each with an outcome of its own; answered when all are durable.

    Each that is about execution credits counts as a request about them. Refuses as a whole: QueueFull,
    LedgerUnavailable.
    """
    outcomes: list[Any] = [None] * len(items)
    commands: list[Command] = []
    actor, request_id = caller.actor, request.state.request_id
    for index, given in enumerate(items):
        try:
            if about_execution_credits(given):
                parts.execution_rate.let_in(caller.key_id)
            commands.append(_own(debit_of(given), caller, actor, request_id))
        except Refusal as refusal:
            outcomes[index] = refusal
        if index % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
    carried_out = iter(await parts.ledger.execute_many(commands))
    return [next(carried_out) if outcome is None else outcome for outcome in outcomes]


def _own(command: Command, caller: Caller, actor: Actor, request_id: str) -> Command:
    """A command in the caller's name, who is this actor. Refuses: IdentityForbidden."""
    if command.pool is not None and caller.holders is not None:
        caller.require_holder(command.pool.holder)
    command.actor = actor
    command.holders = caller.holders
    command.correlation_id = request_id
    return command


async def _told(outcomes: Sequence[Receipt | Refusal | LedgerUnavailable]) -> AsyncIterator[bytes]:
    """The results of a batch as JSON, a part of the list at a time."""
    for start in range(0, len(outcomes), AT_ONCE):
        part = outcomes[start : start + AT_ONCE]
        yield ",".join([_result(index, outcome) for index, outcome in enumerate(part, start)]).encode()
        await asyncio.sleep(0)


def _result(index: int, outcome: Receipt | Refusal | LedgerUnavailable) -> str:
    if isinstance(outcome, Receipt):
        return f'{{"index":{index},"debit":{debit_told(outcome)}}}'
    told = json.dumps(error_told(outcome), separators=(",", ":"))  # a lone surrogate that it repeats is told in ASCII
    return f'{{"index":{index},"error":{told}}}'


def _answer(told: bytes, receipt: Receipt) -> Response:
    headers = {POSITION: str(receipt.position)}
    if receipt.replayed:
        headers[REPLAYED] = "true"
    return Response(told, headers=headers, media_type=JSON)
