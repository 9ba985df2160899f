"""What can go wrong between a subscriber and the ledger, and whether the same request may succeed later."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500
NO_ANSWER, UNEXPECTED_ANSWER = "NoAnswer", "UnexpectedAnswer"
TOLD_BY_ALL = {"timestamp", "status", "error", "message", "path", "code"}
"""Fields of every error; whatever else it has are its facts."""


@dataclass(eq=False)
class LedgerError(Exception):
    """The ledger turned a request down, or gave no answer that is one.

    `code` is stable and `facts` are by name, as docs/subscribing.md lists them. `status` is None, and `code` NoAnswer,
    where no whole answer came; the code is UnexpectedAnswer where something else than a ledger seems to have answered.
    """

    status: int | None
    code: str
    message: str
    facts: dict[str, Any] = field(default_factory=dict)
    retry_after_seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.status is None else f"{self.status} {self.code}: {self.message}"

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status is None or self.status == TOO_MANY_REQUESTS or self.status >= SERVER_ERROR


class CursorGone(LedgerError):
    """The log has no such place any more: it was restored since (its epoch is another one), or ends before it.

    Undo what came after `last_common_position`, then go on from `last_common_cursor`.
    """

    @property
    def last_common_position(self) -> int:
        return int(self.facts["lastCommonPosition"])

    @property
    def last_common_cursor(self) -> str:
        return str(self.facts["lastCommonCursor"])


def error_of(answer: httpx.Response) -> LedgerError:
    """The error that an answer tells; its body must have been read."""
    try:
        told = answer.json()
        code, message = str(told["code"]), str(told["message"])
    except (ValueError, LookupError, TypeError):
        return LedgerError(answer.status_code, UNEXPECTED_ANSWER, f"{answer.url} answered something else than a ledger")
    facts = {name: value for name, value in told.items() if name not in TOLD_BY_ALL}
    kind = CursorGone if {"lastCommonPosition", "lastCommonCursor"} <= facts.keys() else LedgerError
    return kind(answer.status_code, code, message, facts, _seconds(answer.headers.get("Retry-After")))


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None


@contextmanager
def told_as_no_answer() -> Iterator[None]:
    """What goes wrong on the way becomes NoAnswer. What is wrong with the address or the key itself stays as it is."""
    try:
        yield
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError):
        raise
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise LedgerError(None, NO_ANSWER, str(error) or type(error).__name__) from error
