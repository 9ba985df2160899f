"""Events to rows of the log and back.

To the log: an event becomes one line of PostgreSQL's COPY text format, rendered once. Facts that many events share
(a transaction's, a pool's) are rendered once for all of them. From the log: every row is validated, and upcast first
if it was written with an older schema version. The table of topics is closed: nothing is ever resolved by import.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias, cast

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, Notification, StoredEvent

from ledger.domain.credits import credits_column, credits_from_column
from ledger.domain.events import (
    EVENT_TYPES,
    GRANT_CHANGES,
    MOVEMENTS,
    Event,
    ExecutionCreditDefined,
    Expired,
    GrantChange,
    GrantChangeEvent,
    Granted,
    LedgerEvent,
    Movement,
)
from ledger.domain.lots import LawBroken
from ledger.domain.values import Actor, ActorKind, After, DocumentReference, LotId, PoolKey, Transaction

Row: TypeAlias = Mapping[str, Any]
"""A row of the log by column, as our connections load it."""

COLUMNS = (
    *("position", "transaction_last", "stream_id", "version", "type", "schema_version", "transaction_id"),
    *("recorded_at", "actor_kind", "actor_key", "correlation_id", "causation_id", "effective_at", "use_at", "cause"),
    *("kind", "holder", "currency", "resource", "grant_type", "lot", "amount", "debit_id", "account_groups"),
    *("terms_version", "lot_granted", "lot_used", "lot_balance", "pool_balance", "data"),
)
"""The columns of the log in the order of its lines."""
NULL = r"\N"
MARKS_OF_A_ROW = '",()\\'
"""What a row's text gives a meaning of its own."""
WITH_DATA = frozenset({Granted, Expired})
"""The movements that may have more to tell than their columns and their document."""
NO_DATA = "{}"
LOT_TEXTS_MAX = 65536
UNKNOWN: tuple[PoolKey | None, str] = (None, "")
OF_A_LOT = ("lot", "grant_type", "effective_at", "cause", "terms_version")
OF_A_MOVEMENT = (*OF_A_LOT, "amount", "use_at", "debit_id")
IN_COLUMNS = {"originator_id", "originator_version", "transaction", "pool"}
"""The fields that every definition has in columns."""
TOLD_LATER = {"next_rollup_type", "first_month"}
"""What the definition of an execution credit did not tell from the beginning."""
TOPICS: dict[str, type[Event]] = {event_type.TOPIC: event_type for event_type in EVENT_TYPES}
UPCASTS: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""(topic, schema version) to the function that makes the next version's values of it. None are needed so far."""


class UnknownEvent(LawBroken):
    """The log holds an event that this version does not know. It must not be skipped."""


@dataclass(frozen=True)
class LineToAppend(StoredEvent):
    """An event on its way into the log: its COPY line without position and transaction_last, which the append adds.

    Amounts in it are billionths, `1250000000e-9`: PostgreSQL reads them as the same numeric, and no division is needed.
    """

    transaction_id: str
    line: str


@dataclass(frozen=True)
class RecordedEvent(Notification):
    """An event as the log has it, with its typed columns; `id` is its position."""

    row: Row


class LedgerMapper(Mapper[str]):
    """The library's mapper for our events. Its transcoder, cipher and compressor are not used."""

    def __init__(self) -> None:
        self._instant: datetime | None = None
        self._instant_text = ""
        self._lots: dict[LotId, tuple[PoolKey, str]] = {}
        """The texts of lots' pools, types and ids, as the lots were met last."""

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> LineToAppend:
        """Render one event. Not thread-safe: one writer renders its own batch."""
        event = cast("LedgerEvent", domain_event)
        state = "{}"
        facts = event.__dict__  # whose values cost a third of a pydantic model's attributes
        transaction_id, now, actor, correlation_id, causation_id, document = event.transaction
        recorded_at = self._render(now)
        if type(event) in MOVEMENTS:
            granted, used, balance, pool_balance = facts["after"]
            debit_id, groups = facts["debit_id"], facts["account_groups"]
            effective_at, use_at = facts["effective_at"], facts["use_at"]
            pool, lot_text = self._lots.get(facts["lot"], UNKNOWN)
            if pool is not facts["pool"]:
                lot_text = self._lot_text(cast("Movement", event))
            if document is not None or type(event) in WITH_DATA:
                state = _data_of(event)
            middle = (
                f"{recorded_at if effective_at is now else self._render(effective_at)}"
                f"\t{recorded_at if use_at is now else NULL if use_at is None else self._render(use_at)}"
                f"\t{facts['cause']}\t{lot_text}\t{facts['amount']}e-9\t{NULL if debit_id is None else debit_id}"
                f"\t{NULL if groups is None else _array_text(groups)}\t{facts['terms_version']}"
                f"\t{granted}e-9\t{used}e-9\t{balance}e-9\t{pool_balance}e-9"
            )
        elif type(event) in GRANT_CHANGES:
            state = _data_of(event)
            middle = _middle_of_change(cast("GrantChangeEvent", event))
        else:
            state = _data_of(event)
            middle = f"{NULL}\t{NULL}\t{NULL}\t{_pool_text(event.pool)}" + f"\t{NULL}" * 10
        correlation = NULL if correlation_id is None else escape_copy(correlation_id)
        causation = NULL if causation_id is None else escape_copy(causation_id)
        stream_id, version, topic = facts["originator_id"], facts["originator_version"], event.TOPIC
        line = (
            f"{stream_id}\t{version}\t{topic}\t{event.SCHEMA_VERSION}\t{transaction_id}\t{recorded_at}"
            f"\t{_actor_text(actor)}\t{correlation}\t{causation}\t{middle}"
            f"\t{state if state == NO_DATA else escape_copy(state)}\n"
        )
        stored: LineToAppend = object.__new__(LineToAppend)
        object.__setattr__(
            stored,
            "__dict__",
            {
                "originator_id": stream_id,
                "originator_version": version,
                "topic": topic,
                "state": state,
                "transaction_id": transaction_id,
                "line": line,
            },
        )
        return stored

    def _lot_text(self, event: Movement) -> str:
        """Pool, type and id of a movement's lot, kept for its next one."""
        if len(self._lots) >= LOT_TEXTS_MAX:
            self._lots.clear()
        grant_type = NULL if event.grant_type is None else event.grant_type
        text = f"{_pool_text(event.pool)}\t{grant_type}\t{event.lot}"
        self._lots[event.lot] = (event.pool, text)
        return text

    def to_domain_event(self, stored_event: StoredEvent) -> LedgerEvent:
        """Read one event back. Raises UnknownEvent for a topic or schema version that this code does not know."""
        assert isinstance(stored_event, RecordedEvent)
        return event_of_row(stored_event.row)

    def _render(self, instant: datetime) -> str:
        if instant is not self._instant:  # one batch has one recorded_at, which is mostly every instant in it
            self._instant, self._instant_text = instant, instant.isoformat()
        return self._instant_text


def event_of_row(row: Row) -> LedgerEvent:
    """The event that a row of the log holds, validated."""
    event_type = TOPICS.get(row["type"])
    if event_type is None:
        raise UnknownEvent(f"position {row['position']}: no event has the topic {row['type']!r}")
    values = values_of_row(row)
    for version in range(row["schema_version"], event_type.SCHEMA_VERSION):
        values = UPCASTS[row["type"], version](values)
    if row["schema_version"] > event_type.SCHEMA_VERSION:
        raise UnknownEvent(f"position {row['position']}: {row['type']} version {row['schema_version']} is too new")
    return cast("LedgerEvent", event_type.model_validate(values))


def values_of_row(row: Row) -> dict[str, Any]:
    """A row's values by field of its event, as its schema version had them."""
    data = dict(row["data"])
    document = data.pop("document", None)
    values: dict[str, Any] = {
        "originator_id": row["stream_id"],
        "originator_version": row["version"],
        "transaction": Transaction(
            transaction_id=row["transaction_id"],
            recorded_at=row["recorded_at"],
            actor=Actor(ActorKind(row["actor_kind"]), row["actor_key"]),
            correlation_id=row["correlation_id"],
            causation_id=row["causation_id"],
            document=None if document is None else DocumentReference(**document),
        ),
        "pool": PoolKey(row["kind"], row["holder"], row["currency"], row["resource"]),
    }
    if row["lot"] is not None:
        if row["amount"] is None:
            values |= {name: row[name] for name in OF_A_LOT}
        else:
            groups = row["account_groups"]
            values |= {name: row[name] for name in OF_A_MOVEMENT}
            values["account_groups"] = None if groups is None else tuple(groups)
        values["after"] = After(row["lot_granted"], row["lot_used"], row["lot_balance"], row["pool_balance"])
    if "credits" in data:
        data["credits"] = credits_from_column(data["credits"])
    return values | data


def fields_of_line(line: str) -> list[str | None]:
    """The columns of a rendered line as PostgreSQL would read them."""
    return [None if text == NULL else _unescape(text) for text in line.rstrip("\n").split("\t")]


def array_of_lines(lines: str) -> str:
    """Whole lines as PostgreSQL's text for an array of rows.

    All are rewritten at once where nothing is null or escaped, as with most keys, or where nothing needs quotes, as
    with most events. An empty text needs them too: it shows as two tabs, as the log's first and last columns never are.
    """
    if not lines:
        return "{}"
    if "\\" not in lines:
        quoted = lines[:-1].replace('"', r"\"\"").replace("\t", r"\",\"").replace("\n", r'\")","(\"')
        return r'{"(\"' + quoted + r'\")"}'
    values = lines.replace(NULL, "")
    if not any(mark in values for mark in MARKS_OF_A_ROW) and "\t\t" not in lines:
        return '{"(' + values[:-1].replace("\t", ",").replace("\n", ')","(') + ')"}'
    return "{" + ",".join(map(_row_of_line, lines[:-1].split("\n"))) + "}"


def _row_of_line(line: str) -> str:
    """A line as an element of an array of rows: quoted as a field of a row, and again as an element."""
    fields = ("" if text is None else '"' + _QUOTED.sub(r"\\\g<0>", text) + '"' for text in fields_of_line(line))
    return '"(' + _QUOTED.sub(r"\\\g<0>", ",".join(fields)) + ')"'


def _data_of(event: Event) -> str:
    data: dict[str, Any] = {}
    document = event.transaction.document
    if document is not None:
        data["document"] = document._asdict()
    if isinstance(event, Granted | GrantChange):
        data["terms"] = event.terms.model_dump(mode="json")
        if event.grant is not None:
            data["grant"] = event.grant.model_dump(mode="json", exclude_defaults=True)
    elif isinstance(event, Expired):
        if event.rolled_over_to is not None:
            data["rolled_over_to"] = event.rolled_over_to
    elif isinstance(event, ExecutionCreditDefined):
        data |= {
            "credit_type": event.credit_type.value,
            "rollup_type": event.rollup_type.value,
            "credits": credits_column(event.credits),
            "anchor_at": event.anchor_at.isoformat(),
            "created_at": event.created_at.isoformat(),
            "deleted_at": None if event.deleted_at is None else event.deleted_at.isoformat(),
        }
        data |= event.model_dump(mode="json", include=TOLD_LATER, exclude_defaults=True)
    elif type(event) not in MOVEMENTS:
        data |= event.model_dump(mode="json", exclude=IN_COLUMNS)
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _middle_of_change(event: GrantChangeEvent) -> str:
    """The columns of an event about a lot that moves no credit."""
    after = "\t".join(f"{units}e-9" for units in event.after)
    return (
        f"{event.effective_at.isoformat()}\t{NULL}\t{event.cause}\t{_pool_text(event.pool)}\t{event.grant_type}"
        f"\t{event.lot}\t{NULL}\t{NULL}\t{NULL}\t{event.terms_version}\t{after}"
    )


_QUOTED = re.compile(r'["\\]')
_SPECIAL = re.compile(r"[\\\t\n\r]")
_ESCAPES = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES.items()}
_ESCAPED = re.compile(r"\\[\\tnr]")


def escape_copy(text: str) -> str:
    if text.isprintable() and "\\" not in text:
        return text
    return _SPECIAL.sub(lambda found: _ESCAPES[found.group()], text)


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda found: _UNESCAPES[found.group()], text) if "\\" in text else text


@lru_cache(maxsize=65536)
def _pool_text(pool: PoolKey) -> str:
    resource = NULL if pool.resource is None else escape_copy(pool.resource)
    return f"{pool.kind}\t{escape_copy(pool.holder)}\t{escape_copy(pool.currency)}\t{resource}"


@lru_cache(maxsize=4096)
def _actor_text(actor: Actor) -> str:
    return f"{ActorKind(actor.kind)}\t{escape_copy(actor.key)}"


@lru_cache(maxsize=4096)
def _array_text(values: tuple[str, ...]) -> str:
    quoted = ('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    return escape_copy("{" + ",".join(quoted) + "}")
