"""Every event ever written is told whole: its message obeys the published schema, and says what the event says."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs
import pytest
from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.domain.events import EVENT_TYPES, LedgerEvent
from ledger.store.database import Database, Role
from ledger.store.epochs import Identity, identity
from ledger.store.mapper import COLUMNS, event_of_row
from service.feed.messages import SCHEMA
from service.feed.pages import Log
from service.feed.schemas import schema_of
from tests.feed.expected import camel, instant_text, message_of
from tests.feed.lived import lived_through
from tests.store.golden import FOLDER
from tests.store.test_golden import golden

SCHEMAS = {
    event_type.TOPIC: jsonschema_rs.validator_for(schema_of(event_type.TOPIC), validate_formats=True)
    for event_type in EVENT_TYPES
}
TEXTS = {"display_name": "Welcome \u2028", "metadata": {"snake_case": [1, None], "salt": "theirs"}, "salt": "0123"}


def insert(connection: Connection[DictRow], table: str, row: dict[str, Any]) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, row))
    places = sql.SQL(", ").join([sql.SQL("%s")] * len(row))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), columns, places)
    connection.execute(statement, list(row.values()))


def told(connection: Connection[DictRow]) -> list[dict[str, Any]]:
    """The data of every message of a log, each held against its schema and against its event."""
    log = identity(connection)
    bodies = connection.execute("SELECT id, body FROM documents")
    documents = {row["id"]: json.loads(row["body"]) for row in bodies}
    rows = connection.execute("SELECT * FROM events ORDER BY position").fetchall()
    messages = [json.loads(message.body) for message in Log().stretch(connection, 0, len(rows) + 1).messages]
    assert [message["data"]["position"] for message in messages] == [row["position"] for row in rows]
    for message, row in zip(messages, rows, strict=True):
        event = event_of_row(row)
        SCHEMAS[event.TOPIC].validate(message["data"])
        expected = message_of(event, row["position"], row["transaction_last"], texts_of(event, documents))
        assert message["data"] == expected
        assert message == {**envelope_of(event, row["position"], log), "cursor": message["cursor"], "data": expected}
    return [message["data"] for message in messages]


def texts_of(event: LedgerEvent, documents: Mapping[str, dict[str, Any]]) -> dict[str, Any] | None:
    """What the event's document has, called as everywhere on the wire, but for its salt; None if it is not there."""
    document = event.transaction.document
    texts = None if document is None else documents.get(document.document_id)
    return texts and {camel(name): text for name, text in texts.items() if name != "salt"}


def envelope_of(event: LedgerEvent, position: int, log: Identity) -> dict[str, str]:
    """What the message says of itself, of a log that had one epoch alone."""
    envelope = {
        "specversion": "1.0",
        "id": f"{log.present}:{position}",
        "source": f"urn:uuid:{log.ledger_id}",
        "type": event.TOPIC,
        "subject": event.originator_id,
        "time": instant_text(event.transaction.recorded_at),
        "datacontenttype": "application/json",
        "dataschema": SCHEMA.format(type=event.TOPIC),
        "sequence": f"{position:019d}",
    }
    return envelope | ({"partitionkey": holder} if (holder := event.pool.holder) and holder.isprintable() else {})


@pytest.fixture
def connection(schema: Database) -> Iterator[Connection[DictRow]]:
    """Of a log that is empty, and is empty again afterwards."""
    with schema.connect(Role.WRITER) as connection, connection.transaction(force_rollback=True):
        yield connection


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_every_shape_ever_written_is_told_as_its_event(connection: Connection[DictRow], path: Any) -> None:
    """With the texts of its document, and once they are erased."""
    row = {"position": "1", "transaction_last": "1", **golden(path.stem)["row"]}
    insert(connection, "events", {column: row[column] for column in COLUMNS})
    (erased,) = told(connection)
    if erased["document"] is not None:
        assert erased["document"]["texts"] is None
        document = erased["document"]["documentId"]
        insert(connection, "documents", {"id": document, "body": json.dumps(TEXTS), "sha256": "ab"})
        (whole,) = told(connection)
        assert whole["document"]["texts"] == {
            "displayName": "Welcome \u2028",
            "metadata": {"snake_case": [1, None], "salt": "theirs"},
        }


def test_everything_that_happens_is_told_as_its_event(database: Database) -> None:
    lived_through(database)
    with database.connect(Role.WRITER) as connection:
        happened = told(connection)
        assert {data["document"]["texts"] is None for data in happened if data["document"]} == {False}
    assert {data["kind"] for data in happened} == {"CREDIT_GRANT", "EXECUTION_CREDIT", "ALLOCATION_RULE"}
