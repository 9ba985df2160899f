"""One request about allocation rules: who asks, how often, on which snapshot, and what its answer carries."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from ledger.application import Command, Receipt
from ledger.domain.refusals import Refusal
from projections.read_model import RULE_MODELS, ReadModel
from projections.reading import Snapshot
from service.access import Caller, IdentityForbidden, Right
from service.callers import at_least_of, authenticated
from service.frame import POSITION, STALE
from service.parts import Parts
from service.reads import Reads
from service.refusals import RULE_WORDS, in_words

TOKEN_HEADER = "x-redlock-auth"  # noqa: S105  # the name of a header
KEY_HEADER = "Idempotency-Key"
REPLAYED = "X-Ledger-Replayed"
RATE_HEADERS = ("Remaining", "Replenish-Rate", "Burst-Capacity", "Requested-Tokens")
Answer = TypeVar("Answer")


@dataclass
class Asked:
    """A request by somebody who may ask it."""

    request: Request
    parts: Parts
    caller: Caller
    reads: Reads

    async def ask(self, question: Callable[[Snapshot], Answer], *, at_least: int | None = None) -> Answer:
        return await self.reads.ask(question, at_least=at_least)

    async def carry_out(self, command: Command) -> Receipt:
        """Carry out a command in the caller's name. Refuses as the command does."""
        command.actor = self.caller.actor
        command.correlation_id = self.request.state.request_id
        return await self.parts.ledger.execute(command)

    def told(self, response: Response, receipt: Receipt) -> Response:
        """The answer to a command, with the position it was written at, and whether it was answered before."""
        if receipt.replayed:
            response.headers[REPLAYED] = "true"
        return self.at(response, receipt.position)

    def at(self, response: Response, position: int | None = None) -> Response:
        """The answer with the position it is right at: the one given, else that of its reads."""
        position = self.reads.position if position is None else position
        if position is not None:
            response.headers[POSITION] = str(position)
        if self.reads.stale:
            response.headers[STALE] = "true"
        return response


@asynccontextmanager
async def asked(
    request: Request, parts: Parts, right: Right, models: tuple[ReadModel, ...] = RULE_MODELS
) -> AsyncIterator[Asked]:
    """Let a request in. Refuses: Unauthenticated, IdentityForbidden, BucketEmpty; what is raised within is told in the
    contract's words."""
    try:
        caller = await _caller(request, parts)
        _take_token(request, parts, caller)
        caller.require(right)
        if caller.holders is not None:
            raise IdentityForbidden("to be bound to no customer or company: rules count what all of them use")
        reads = Reads(parts.reader, parts.threads, at_least=at_least_of(request), models=models)
        try:
            yield Asked(request, parts, caller, reads)
        finally:
            await reads.close()
    except Refusal as refusal:
        raise in_words(refusal, RULE_WORDS) from None


async def _caller(request: Request, parts: Parts) -> Caller:
    token = request.headers.get(TOKEN_HEADER)
    if token is None:
        return await authenticated(request, parts)
    caller = await parts.threads.read(lambda: parts.tokens.caller(token))
    request.state.facts["key"] = caller.key_id
    return caller


def _take_token(request: Request, parts: Parts, caller: Caller) -> None:
    """Count the request; its answer tells how many more there may be, whatever it is."""
    buckets = parts.rule_rate
    left = 0
    try:
        left = buckets.take(caller.key_id)
    finally:
        told = (left, buckets.per_second, buckets.burst, 1)
        request.state.headers.update(
            {f"X-RateLimit-{name}": str(value) for name, value in zip(RATE_HEADERS, told, strict=True)}
        )
