"""The one table that turns what went wrong into an HTTP status, a GraphQL code and an exit code, and words for it.

A test shows that it is total: every refusal there is has its row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from ledger.application.receipts import LedgerUnavailable
from ledger.domain import refusals
from ledger.domain.credits import credits_decimal, credits_text
from ledger.domain.refusals import IdempotencyKeyReused, InvalidArgument, Refusal
from projections.audit.refusals import ExportDamaged
from projections.refusals import (
    BeingRebuilt,
    CannotBeFolded,
    CannotBeReplayed,
    NotFailedThere,
    NothingKept,
    ProjectionNotFound,
    StillRead,
    SwapNotReached,
    TableMissing,
    TooManyRows,
)
from service.access import IdentityForbidden, Unauthenticated
from service.api_keys import ApiKeyNotFound
from service.audit.export_refusals import AmountTooLong, ExportExists
from service.audit.refusals import FigureNotFound, TooManyReports
from service.feed.refusals import (
    CursorBeyondHead,
    CursorOfAnotherEpoch,
    CursorOfUnknownEpoch,
    EventTypeUnknown,
    NotAcceptable,
    TooManySubscribers,
)
from service.rate_limit import BucketEmpty, RateLimitExceeded
from service.webhooks.refusals import TooManyWebhookEndpoints, WebhookEndpointNotFound, WebhookTargetForbidden


class Exit(IntEnum):
    """What a command of ours ends with."""

    DONE = 0
    FAULT = 1
    USAGE = 2
    REFUSED = 3
    NOT_FOUND = 4
    FORBIDDEN = 5
    TRY_AGAIN = 6


class Answer(NamedTuple):
    """How a door answers. With `retry_seconds`, the same may succeed later."""

    status: int
    exit: Exit
    retry_seconds: int | None = None


@dataclass(eq=False)
class BodyIncomplete(Refusal):
    """The sender went away, or took too long, before the body was whole."""

    code = "BodyIncomplete"
    seconds_max: int

    @property
    def message(self) -> str:
        return f"the whole body must come within {self.seconds_max} seconds"


@dataclass(eq=False)
class BodyTooLarge(Refusal):
    code = "BodyTooLarge"
    bytes_max: int

    @property
    def message(self) -> str:
        return f"the body must be at most {self.bytes_max} bytes"


@dataclass(eq=False)
class InvalidFields(Refusal):
    """All that is wrong with a request's body, each by its field's name on the wire."""

    code = "InvalidFields"
    problems: tuple[tuple[str, str], ...]

    @property
    def message(self) -> str:
        return "; ".join(f"{field} {reason}" for field, reason in self.problems)


ANSWERS: dict[type[Exception], Answer] = {
    refusals.InvalidArgument: Answer(400, Exit.USAGE),
    InvalidFields: Answer(400, Exit.USAGE),
    refusals.ExpireAtMustBeLaterThanEffectiveAt: Answer(400, Exit.USAGE),
    refusals.NotStorable: Answer(400, Exit.REFUSED),
    BodyTooLarge: Answer(413, Exit.USAGE),
    BodyIncomplete: Answer(408, Exit.USAGE),
    Unauthenticated: Answer(401, Exit.FORBIDDEN),
    IdentityForbidden: Answer(403, Exit.FORBIDDEN),
    refusals.CreditGrantNotFound: Answer(404, Exit.NOT_FOUND),
    refusals.TransactionNotFound: Answer(404, Exit.NOT_FOUND),
    refusals.ExecutionCreditNotFound: Answer(404, Exit.NOT_FOUND),
    refusals.ExecutionCreditDeleted: Answer(409, Exit.REFUSED),
    refusals.GrantScheduleNotFound: Answer(404, Exit.NOT_FOUND),
    refusals.AllocationRuleNotFound: Answer(404, Exit.NOT_FOUND),
    ApiKeyNotFound: Answer(404, Exit.NOT_FOUND),
    refusals.InsufficientCredits: Answer(409, Exit.REFUSED),
    refusals.InsufficientExecutionCredits: Answer(409, Exit.REFUSED),
    refusals.CreditGrantAlreadyVoided: Answer(409, Exit.REFUSED),
    refusals.CreditGrantCannotBeVoided: Answer(409, Exit.REFUSED),
    refusals.CannotUpdateExpireAtForExpiredCreditGrant: Answer(409, Exit.REFUSED),
    refusals.RefundExceedsDebit: Answer(409, Exit.REFUSED),
    refusals.IdempotencyKeyReused: Answer(409, Exit.REFUSED),
    refusals.ExecutionCreditExists: Answer(409, Exit.REFUSED),
    refusals.AllocationRuleExists: Answer(409, Exit.REFUSED),
    refusals.CreditsBelowUsed: Answer(409, Exit.REFUSED),
    refusals.RollupTypeStays: Answer(409, Exit.REFUSED),
    refusals.ClockWouldGoBack: Answer(409, Exit.REFUSED),
    CursorOfAnotherEpoch: Answer(409, Exit.REFUSED),
    CursorOfUnknownEpoch: Answer(409, Exit.REFUSED),
    CursorBeyondHead: Answer(409, Exit.REFUSED),
    NotAcceptable: Answer(406, Exit.USAGE),
    EventTypeUnknown: Answer(404, Exit.NOT_FOUND),
    TooManySubscribers: Answer(429, Exit.TRY_AGAIN, 1),
    TooManyRows: Answer(400, Exit.USAGE),
    TooManyReports: Answer(429, Exit.TRY_AGAIN, 1),
    FigureNotFound: Answer(404, Exit.NOT_FOUND),
    WebhookEndpointNotFound: Answer(404, Exit.NOT_FOUND),
    TooManyWebhookEndpoints: Answer(409, Exit.REFUSED),
    WebhookTargetForbidden: Answer(400, Exit.USAGE),
    ExportExists: Answer(409, Exit.REFUSED),
    AmountTooLong: Answer(409, Exit.REFUSED),
    ProjectionNotFound: Answer(404, Exit.NOT_FOUND),
    NotFailedThere: Answer(409, Exit.REFUSED),
    NothingKept: Answer(409, Exit.REFUSED),
    CannotBeReplayed: Answer(409, Exit.REFUSED),
    TableMissing: Answer(409, Exit.REFUSED),
    ExportDamaged: Answer(409, Exit.REFUSED),
    CannotBeFolded: Answer(409, Exit.REFUSED),
    BeingRebuilt: Answer(503, Exit.TRY_AGAIN, 1),
    SwapNotReached: Answer(503, Exit.TRY_AGAIN, 1),
    StillRead: Answer(503, Exit.TRY_AGAIN, 1),
    refusals.QueueFull: Answer(429, Exit.TRY_AGAIN, 1),
    RateLimitExceeded: Answer(429, Exit.TRY_AGAIN, 1),
    BucketEmpty: Answer(429, Exit.TRY_AGAIN, 1),
    refusals.PositionNotReached: Answer(503, Exit.TRY_AGAIN, 1),
    LedgerUnavailable: Answer(503, Exit.TRY_AGAIN, 1),
}
FAULT = Answer(500, Exit.FAULT)
FAULT_CODE = "InternalServerError"
GRANT_WORDS = {
    "holder": "customerId",
    "currency": "currencyId",
    "resource": "resourceId",
    "useAt": "createdAt",
    "accountGroups": "accountGroupIds",
    "metadata": "additionalMetaData",
    "costCurrency": "cost.currency",
    "paymentMethod": "paymentCollectionMethod",
    "awaitsPayment": "awaitPaymentConfirmation",
    "collection": "paymentCollection",
    "schedule": "id",
}
"""What the contract of credit grants calls the fields of our commands."""

EXECUTION_WORDS = {
    "holder": "companyId",
    "currency": "creditType",
    "amount": "credits",
    "accountGroups": "accountGroupIds",
    "dimensions": "projectId",
}
"""What the contract of execution credits calls them."""


RULE_WORDS = {"currency": "currencyId", "idempotencyKey": "Idempotency-Key"}
"""What the contract of allocation rules calls them."""


class Told(NamedTuple):
    """What is told of something that went wrong; `facts` are JSON by their wire names."""

    code: str
    message: str
    facts: dict[str, Any]
    answer: Answer


def told(error: BaseException, words: Mapping[str, str] | None = None) -> Told | None:
    """What to tell of an error, in a door's words; None for a fault of ours, of which nothing is told."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        error = LedgerUnavailable("a question to the database took too long and was ended")
    if isinstance(error, psycopg.OperationalError | PoolTimeout | PoolClosed):
        error = LedgerUnavailable("the database is not available")
    answer = ANSWERS.get(type(error))  # type: ignore[arg-type]  # what is no Exception has no row
    if answer is None:
        return None
    if isinstance(error, LedgerUnavailable):
        return Told(error.code, str(error), {"outcomeUnknown": error.outcome_unknown}, answer)
    assert isinstance(error, Refusal)
    refusal = in_words(error, words or {})
    facts: dict[str, Any] = {}
    for name, value in refusal.facts.items():
        wire = _camel(name)
        if name in refusal.AMOUNTS:
            assert isinstance(value, int)
            facts[wire] = float(credits_decimal(value))
            facts[f"{wire}Exact"] = credits_text(value)
        else:
            facts[wire] = list(value) if isinstance(value, tuple) else value
    if isinstance(refusal, RateLimitExceeded):
        answer = answer._replace(retry_seconds=refusal.retry_after_seconds)
    return Told(refusal.code, refusal.message, facts, answer)


def bad(field: str, reason: str) -> Told:
    """What to tell of an argument that a door itself finds wrong."""
    return Told(InvalidArgument.code, f"{field} {reason}", {"field": field, "reason": reason}, ANSWERS[InvalidArgument])


def unavailable(reason: str, *, outcome_unknown: bool) -> Told:
    """What to tell where the ledger cannot answer now."""
    facts = {"outcomeUnknown": outcome_unknown}
    return Told(LedgerUnavailable.code, reason, facts, ANSWERS[LedgerUnavailable])


def in_words(refusal: Refusal, words: Mapping[str, str]) -> Refusal:
    """The refusal with its fields called as a door calls them."""
    if isinstance(refusal, InvalidArgument):
        return InvalidArgument(words.get(refusal.field, refusal.field), refusal.reason)
    if isinstance(refusal, IdempotencyKeyReused):
        return IdempotencyKeyReused(refusal.key, tuple(words.get(name, name) for name in refusal.differing))
    return refusal


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
