"""Every shape ever written is read for ever: through the mapper, and through the view, and both tell the same."""

import json
from typing import Any, NamedTuple

import pytest
from psycopg import sql

from ledger.domain.credits import credits_column, credits_of
from ledger.domain.events import (
    DEFINITIONS,
    EVENT_TYPES,
    Event,
    ExecutionCreditDefined,
    GrantChange,
    Granted,
)
from ledger.store.database import Database, Role
from ledger.store.mapper import COLUMNS, LedgerMapper, array_of_lines, escape_copy, event_of_row
from tests.store.golden import FOLDER, FULL, GOLDEN, TEXTS, path_of, row_of


def golden(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path_of(name).read_text())
    return read


class Read(NamedTuple):
    """A row of the log as our connections read it, from its table and from the view."""

    row: dict[str, Any]
    seen: dict[str, Any]


def read_back(schema: Database, row: dict[str, str | None]) -> Read:
    """Put a golden row into a real, empty log as text, the way it was written; afterwards it is as before."""
    whole = {"position": "1", "transaction_last": "1", **row}
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    values = [whole[column] for column in COLUMNS]
    with schema.connect(Role.WRITER) as connection, connection.transaction(force_rollback=True):
        connection.execute(
            sql.SQL("INSERT INTO events ({}) VALUES ({})").format(columns, sql.SQL(", ").join([sql.SQL("%s")] * 30)),
            values,
        )
        (read,) = connection.execute("SELECT * FROM events").fetchall()
        (seen,) = connection.execute("SELECT * FROM movements").fetchall()
        return Read(read, seen)


@pytest.mark.parametrize("name", GOLDEN)
def test_an_event_is_written_as_ever(name: str) -> None:
    assert row_of(GOLDEN[name]) == golden(name)["row"]


def test_lines_sent_as_an_array_are_those_that_a_copy_takes_in(schema: Database) -> None:
    lines = [f"1\t1\t{LedgerMapper().to_stored_event(event).line}" for event in GOLDEN.values()]
    assert_an_array_says_the_same_as_a_copy(schema, "".join(lines))
    for line in lines:
        assert_an_array_says_the_same_as_a_copy(schema, line)


STRANGE = (
    *(
        "plain",
        "",
        " ",
        " a ",
        "\\N",
        "N",
        "NULL",
        "a\\",
        "\\\\N",
        'say "x"',
        '"',
        "a,b",
        ",",
        "(",
        ")",
        "(a)",
        "{}",
        "{a}",
    ),
    *(
        "\x01",
        "\x0b",
        "\x0c",
        "\x1c",
        "\x7f",
        "\x85",
        "\u2028",
        "\u00e4",
        "a\tb",
        "a\nb",
        "\r\n",
        "[1]",
        "'",
        "%s",
        "$1",
    ),
)


@pytest.mark.parametrize("text", STRANGE)
def test_any_text_in_a_line_is_the_same_in_an_array(schema: Database, text: str) -> None:
    fields = LedgerMapper().to_stored_event(GOLDEN["debited-v1"]).line.split("\t")
    fields[COLUMNS.index("holder") - 2] = escape_copy(text)
    line = "1\t1\t" + "\t".join(fields)
    fields[COLUMNS.index("currency") - 2] = "a,b"
    taken_apart = "1\t1\t" + "\t".join(fields)
    read = assert_an_array_says_the_same_as_a_copy(schema, line)
    assert read[0]["holder"] == text
    assert_an_array_says_the_same_as_a_copy(schema, line * 2)
    assert_an_array_says_the_same_as_a_copy(schema, taken_apart * 2)  # as the comma has it


def assert_an_array_says_the_same_as_a_copy(schema: Database, lines: str) -> list[dict[str, Any]]:
    with schema.connect(Role.WRITER) as connection:
        connection.execute("CREATE TEMP TABLE copied OF event_line")
        with connection.cursor().copy("COPY copied FROM STDIN") as copy:
            copy.write(lines)
        copied = connection.execute("SELECT * FROM copied").fetchall()
        sent = connection.execute("SELECT * FROM unnest(%s::event_line[])", [array_of_lines(lines)]).fetchall()
    assert sent == copied
    return sent


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_every_golden_row_is_read_as_its_event(schema: Database, path: Any) -> None:
    """What a file does not say, because it is older than the field, has the field's default."""
    written = golden(path.stem)
    event = event_of_row(read_back(schema, written["row"]).row)
    assert event == type(event).model_validate_json(json.dumps(written["event"]))
    assert said_by(written["event"], json.loads(event.model_dump_json())) == written["event"]


def said_by(written: Any, read: Any) -> Any:
    """Of what was read, what the file says something about."""
    if isinstance(written, dict) and isinstance(read, dict):
        return {name: said_by(value, read[name]) for name, value in written.items() if name in read}
    return read


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_the_view_tells_the_same_as_the_mapper(schema: Database, path: Any) -> None:
    row, seen = read_back(schema, golden(path.stem)["row"])
    event = event_of_row(row)
    assert seen == {**dict.fromkeys(seen), **expected(event)}


def expected(event: Event) -> dict[str, Any]:
    """What the view should show of an event, told from the event alone; what is left out is null."""
    values: dict[str, Any] = {
        **event.transaction._asdict(),
        **vars(event),
        **vars(event)["pool"]._asdict(),
        "position": 1,
        "transaction_last": 1,
        "stream_id": event.originator_id,
        "version": event.originator_version,
        "type": event.TOPIC,
        "actor_kind": event.transaction.actor.kind,
        "actor_key": event.transaction.actor.key,
    }
    if event.transaction.document is not None:
        values["document_id"], values["document_sha256"] = event.transaction.document
    if "after" in values:
        names = ("lot_granted", "lot_used", "lot_balance", "pool_balance")
        values |= dict(zip(names, values["after"], strict=True))
        groups = values.get("account_groups")
        values["account_groups"] = None if groups is None else list(groups)
    if values.get("terms") is not None:
        values |= {f"lot_{name}": value for name, value in vars(values["terms"]).items()}
        values["lot_priority"] = credits_of(values["lot_priority"])
    if values.get("grant") is not None:
        values["readable_id"] = values["grant"].readable_id
        values["cost_amount"] = credits_of(values["grant"].cost.amount)
        values["cost_currency"] = values["grant"].cost.currency
        values["grant_details"] = values["grant"].model_dump(mode="json", exclude_defaults=True)
    if isinstance(event, Granted) and event.transaction.document is not None:
        values["grant_document_id"] = event.transaction.document.document_id
    if isinstance(event, GrantChange) and event.grant.texts is not None:
        values["grant_document_id"] = event.grant.texts.document_id
    if type(event) in DEFINITIONS:
        values["definition"] = definition(event)
    if "credits" in values:
        values["allotment"] = values["credits"]
    gone = {"originator_id", "originator_version", "transaction", "pool", "actor", "document", "after"}
    gone |= {"terms", "grant", "credits", "created_at", "saved_at", "plan", "settings", "done"}
    gone |= {"next_rollup_type", "first_month"}
    gone |= {"rule", "month", "used", "allocated", "alarm_threshold", "reached_position", "reached_at"}
    return {name: value for name, value in values.items() if name not in gone}


def definition(event: Event) -> dict[str, Any]:
    """What a definition tells besides what every event has; one of an execution credit leaves out what is ordinary."""
    ordinary = isinstance(event, ExecutionCreditDefined)
    told = event.model_dump(mode="json", exclude={*Event.model_fields, "pool"}, exclude_defaults=ordinary)
    if isinstance(event, ExecutionCreditDefined):
        told["credits"] = credits_column(event.credits)
        for name in ("anchor_at", "created_at", "deleted_at"):
            told[name] = told[name] and told[name].replace("Z", "+00:00")
    return told


NEWER = ("grant_details", "grant_document_id", "rolled_over_to", "definition", "terms_version")


@pytest.mark.parametrize("column", NEWER)
def test_some_golden_row_has_something_in_each_of_the_newer_columns(column: str) -> None:
    """Else the comparison of view and mapper would hold nothing to it."""
    told = [expected(GOLDEN[name]).get(column) for name in GOLDEN]
    assert len([value for value in told if value is not None]) >= 2 or column == "rolled_over_to"
    assert any(value is not None for value in told)


def test_the_texts_of_a_grant_are_told_by_the_view_whichever_event_brought_them() -> None:
    told = {name: expected(GOLDEN[name]).get("grant_document_id") for name in GOLDEN}
    assert FULL.document is not None
    assert told["granted-v1"] == told["grant-updated-v1-with-texts"] == FULL.document.document_id
    assert told["grant-payment-recorded-v1-with-invoice"] == TEXTS.document_id != FULL.document.document_id
    assert told["voided-v1"] is None


def test_every_golden_file_is_held_against_what_is_written() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(GOLDEN)


def test_every_event_type_has_a_golden_file() -> None:
    topics = {golden(path.stem)["row"]["type"] for path in FOLDER.glob("*.json")}
    assert topics == {event_type.TOPIC for event_type in EVENT_TYPES}


def test_a_definition_from_before_cycles_turned_is_of_the_first_cycle(schema: Database) -> None:
    row = golden("execution-credit-defined-v1")["row"]
    assert {"next_rollup_type", "first_month"}.isdisjoint(json.loads(row["data"]))
    event = event_of_row(read_back(schema, row).row)
    assert isinstance(event, ExecutionCreditDefined)
    assert (event.next_rollup_type, event.first_month) == (None, 0)


def test_amounts_are_stored_with_nine_places() -> None:
    assert golden("debited-v1")["row"]["amount"] == credits_column(-1) == "-0.000000001"
