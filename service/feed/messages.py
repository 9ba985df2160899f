"""Events as messages: CloudEvents 1.0 in JSON, each rendered once for all who get it."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic.alias_generators import to_camel

from ledger.domain.instants import instant_text
from ledger.store.epochs import Identity
from ledger.store.mapper import UnknownEvent
from service.feed.cursor import Cursor
from service.feed.wire import MESSAGES

SCHEMA = "urn:credit-ledger:events:{type}:1"
"""What the schema of a message's data is called. One with fewer or other fields would have another number."""
SALT = "salt"
OF_A_LOT = ("lot", "grant_type", "cause", "effective_at")
OF_A_MOVEMENT = ("amount", "use_at", "debit_id", "account_groups")
AFTER = ("lot_granted", "lot_used", "lot_balance", "pool_balance")
TERMS = ("effective_at", "expires_at", "created_at", "priority", "awaiting_payment")


class Filter(NamedTuple):
    """What a subscriber wants: events of these types, holders and currencies; of an empty set, all."""

    types: frozenset[str] = frozenset()
    holders: frozenset[str] = frozenset()
    currencies: frozenset[str] = frozenset()

    def wants(self, message: "Message") -> bool:
        return (
            (not self.types or message.type in self.types)
            and (not self.holders or message.holder in self.holders)
            and (not self.currencies or message.currency in self.currencies)
        )


EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class Message:
    """One event as subscribers get it. `body` is the CloudEvent, one line of JSON; `cursor` the place after it."""

    position: int
    type: str
    holder: str
    currency: str
    id: str
    cursor: str
    body: bytes


def message_of(row: dict[str, Any], log: Identity) -> Message:
    """The message of a row of `events.sql`. Raises UnknownEvent for a topic that this version does not know."""
    topic, position = row["type"], row["position"]
    told = MESSAGES.get(topic)
    if told is None:
        raise UnknownEvent(f"position {position}: no message has the topic {topic!r}")
    event_id, cursor = f"{log.epoch_of(position)}:{position}", str(Cursor(log.present, position))
    holder = row["holder"]  # an attribute may hold no control character, a name may
    partition = f',"partitionkey":{json.dumps(holder)}' if holder and holder.isprintable() else ""
    head = (
        f'{{"specversion":"1.0","id":"{event_id}","source":"urn:uuid:{log.ledger_id}","type":"{topic}"'
        f',"subject":"{row["stream_id"]}","time":"{instant_text(row["recorded_at"])}"'
        f',"datacontenttype":"application/json","dataschema":"{SCHEMA.format(type=topic)}"'
        f',"sequence":"{position:019d}"{partition},"cursor":"{cursor}","data":'
    )
    body = head + told.model_validate(_values(row)).model_dump_json(by_alias=True) + "}"
    return Message(position, topic, row["holder"], row["currency"], event_id, cursor, body.encode())


def _texts(body: str) -> dict[str, Any]:
    """What a document tells; its salt only keeps its hash from being guessed."""
    return {to_camel(name): text for name, text in json.loads(body).items() if name != SALT}


def _values(row: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "position": row["position"],
        "transaction_id": row["transaction_id"],
        "transaction_last": row["transaction_last"],
        "stream_id": row["stream_id"],
        "stream_version": row["version"],
        "recorded_at": row["recorded_at"],
        "actor": {"kind": row["actor_kind"], "key": row["actor_key"]},
        "correlation_id": row["correlation_id"],
        "causation_id": row["causation_id"],
        "kind": row["kind"],
        "holder": row["holder"] or None,  # what is about rules is nobody's
        "currency": row["currency"] or None,
        "resource": row["resource"],
        "document": None,
    }
    if row["document_id"] is not None:
        texts = None if row["document_body"] is None else _texts(row["document_body"])
        values["document"] = {"document_id": row["document_id"], "sha256": row["document_sha256"], "texts": texts}
    if row["lot"] is None:
        return values | {"definition": row["definition"]}
    values |= {name: row[name] for name in OF_A_LOT}
    values["after"] = {name: row[name] for name in AFTER}
    if row["amount"] is not None:
        values |= {name: row[name] for name in OF_A_MOVEMENT}
    if row["lot_created_at"] is not None:
        values["terms"] = {name: row[f"lot_{name}"] for name in TERMS}
        values["grant"] = row["grant_details"]
    if row["type"] == "ledger.expired":
        values["rolled_over_to"] = row["rolled_over_to"]
    return values
