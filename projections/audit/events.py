"""Lines as events: the few that have to be read whole, validated by the event's own class."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ledger.domain.audit.lines import NULL, Line, unescaped
from ledger.domain.credits import credits_from_column
from ledger.domain.events import LedgerEvent
from ledger.domain.instants import Instant
from ledger.store.mapper import event_of_row

ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,{}"]+)', re.DOTALL)


def event_of_line(line: Line) -> LedgerEvent:
    """The event that a line holds. Raises ValueError or LawBroken for what no ledger writes."""
    return event_of_row(
        {
            name: None if text == NULL else CONVERSIONS.get(name, unescaped)(text)
            for name, text in zip(Line._fields, line, strict=True)
        }
    )


@lru_cache(maxsize=1024)
def _instant(text: str) -> Instant:
    return datetime.fromisoformat(text).astimezone(UTC)


def _json(text: str) -> Any:
    return json.loads(unescaped(text))


def _array(text: str) -> list[str]:
    """A text[] as PostgreSQL writes it."""
    return [
        bare or re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) for quoted, bare in ELEMENT.findall(unescaped(text))
    ]


CONVERSIONS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("position", "transaction_last", "version", "schema_version", "terms_version"), int),
    **dict.fromkeys(("recorded_at", "effective_at", "use_at"), _instant),
    **dict.fromkeys(("amount", "lot_granted", "lot_used", "lot_balance", "pool_balance"), credits_from_column),
    "account_groups": _array,
    "data": _json,
}
"""How a column becomes the value that the log's row has; texts are texts."""
