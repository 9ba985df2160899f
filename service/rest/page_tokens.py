"""Tokens of pages: where the next page of a list begins, and all that it was asked with and answered at.

Signed, so that one that was altered, or belongs to another ledger or request, is known for what it is.
"""

import hmac
import json
from datetime import timedelta
from typing import NamedTuple

from ledger.application.inputs import canonical
from ledger.domain.instants import Instant
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import StreamId
from projections.allocation_rules.queries import After
from projections.usage.windows import UsageWindow
from service.rest.models import PAGE_TOKEN_RULE, ListRequest
from service.rest.time_ranges import EPOCH, LAST_MONTH
from service.signing import SIGNATURE_DIGITS, Signing, armoured, unarmoured

PURPOSE = "page"
TICK = timedelta(microseconds=1)


class PageStart(NamedTuple):
    """Where a page begins: the window and the position of the first page, and the last rule of the page before."""

    window: UsageWindow
    position: int
    after: After


def page_token(signing: Signing, asked: ListRequest, start: PageStart) -> str:
    """The token that leads to a page of the same request."""
    values = [_ticks(start.window.start), _ticks(start.window.end), start.position, *start.after]
    text = json.dumps(values, ensure_ascii=False)
    signed = f"{signing.signature(PURPOSE, _signed(asked, text))}{text}"
    return armoured(signed)


def page_start(signing: Signing, asked: ListRequest, token: str) -> PageStart:
    """Where the page begins that a token leads to. Refuses: InvalidArgument, unless it was given to this request."""
    signed = unarmoured(token)
    given, text = signed[:SIGNATURE_DIGITS], signed[SIGNATURE_DIGITS:]
    right = signing.signature(PURPOSE, _signed(asked, text))
    if not hmac.compare_digest(given.encode(), right.encode()):
        raise InvalidArgument("pageToken", PAGE_TOKEN_RULE)
    start, end, position, name, rule = json.loads(text)
    return PageStart(UsageWindow(_instant(start), _instant(end)), position, After(name, StreamId(rule)))


def _signed(asked: ListRequest, text: str) -> str:
    """What is signed: the token's own text, and what the request asks for besides how much of it."""
    filters = {
        "timeRange": list(asked.timeRange or LAST_MONTH),
        "ruleNames": asked.ruleNames,
        "accountGroupIds": asked.accountGroupIds,
        "thresholdFilter": asked.thresholdFilter,
    }
    return f"{canonical(filters)}{text}"


def _ticks(instant: Instant) -> int:
    return (instant - EPOCH) // TICK


def _instant(ticks: int) -> Instant:
    return EPOCH + ticks * TICK
