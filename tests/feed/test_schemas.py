"""A published schema is a promise: it may say more one day, and never anything else."""

import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from ledger.domain.events import EVENT_TYPES
from service.feed.schemas import Schema, broken_promises, publish, published_text, schema_of

PUBLISHED = Path(__file__).parents[2] / "docs" / "contracts" / "events"
TOPIC = "ledger.granted"
GRANT = ("$defs", "GrantTold")


def change(*path: str | int, **words: Any) -> Callable[[Schema], None]:
    """Put words into a part of a schema; those that are None go out of it."""

    def changed(schema: Schema) -> None:
        part: Any = schema
        for name in path:
            part = part[name]
        for word, value in words.items():
            if value is None:
                del part[word]
            else:
                part[word] = value

    return changed


def rename(schema: Schema) -> None:
    after = schema["$defs"]["After"]
    after["properties"]["lotBooked"] = after["properties"].pop("lotBalance")
    after["required"][after["required"].index("lotBalance")] = "lotBooked"


def remove(schema: Schema) -> None:
    del schema["properties"]["useAt"]
    schema["required"].remove("useAt")


def may_be_left_out(schema: Schema) -> None:
    schema["$defs"]["Money"]["required"].remove("currency")


def one_cause_more(schema: Schema) -> None:
    schema["$defs"]["Cause"]["enum"].append("FOUND")


def one_cause_less(schema: Schema) -> None:
    schema["$defs"]["Cause"]["enum"].remove("REFUND")


def another_pattern(schema: Schema) -> None:
    schema["properties"]["amount"]["pattern"] = "^-?[0-9]+$"


TEXT, NOTHING = {"type": "string"}, {"type": "null"}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (remove, "data.useAt would be gone"),
        (rename, "data.after.lotBalance would be gone"),
        (may_be_left_out, "data.grant.cost.currency would not always be there"),
        (change("properties", position=TEXT), 'data.position is {"type": "integer"} and would be {"type": "string"}'),
        (change("properties", "accountGroups", "anyOf", 0, items={"type": "integer"}), "data.accountGroups[] is"),
        (change("properties", accountGroups=TEXT), "data.accountGroups is"),
        (change("properties", transactionId={"anyOf": [schema_of(TOPIC)["properties"]["transactionId"], NOTHING]}),
         "data.transactionId is"),
        (change("properties", correlationId=TEXT), "data.correlationId is"),
        (change(*GRANT, "properties", readableId={"anyOf": [TEXT, NOTHING]}), "data.grant.readableId is"),
        (one_cause_more, "data.cause is"),
        (one_cause_less, "data.cause is"),
        (another_pattern, "data.amount is"),
        (change("properties", "transactionId", format=None), "data.transactionId is"),
        (change("properties", "recordedAt", format="date"), "data.recordedAt is"),
        (change("$defs", "ActorTold", "properties", "key", maxLength=10), "data.actor.key is"),
        (change("$defs", "DocumentTold", "properties", "texts", "anyOf", 0, additionalProperties=False),
         "data.document.texts is"),
        (change(**{"$id": "urn:credit-ledger:events:ledger.granted:2"}), "data is"),
    ],
)  # fmt: skip
def test_what_would_break_a_reader_is_found(changed: Callable[[Schema], None], told: str) -> None:
    schema = deepcopy(schema_of(TOPIC))
    changed(schema)
    broken = broken_promises(schema_of(TOPIC), schema)
    assert [each for each in broken if each.startswith(told)] == broken[:1]
    assert {each.split()[0].removesuffix("[]") for each in broken} == {told.split()[0].removesuffix("[]")}


def one_field_more(schema: Schema) -> None:
    schema["properties"]["channel"] = {"anyOf": [TEXT, NOTHING]}


def one_certain_field_more(schema: Schema) -> None:
    schema["$defs"]["After"]["properties"]["lotVoided"] = TEXT
    schema["$defs"]["After"]["required"].append("lotVoided")


def another_order(schema: Schema) -> None:
    schema["$defs"]["Cause"]["enum"].reverse()
    schema["required"].reverse()
    schema["properties"]["holder"]["anyOf"].reverse()


def written_out(schema: Schema) -> None:
    schema["properties"]["after"] = schema["$defs"].pop("After")


@pytest.mark.parametrize(
    "changed",
    [
        one_field_more,
        one_certain_field_more,
        another_order,
        written_out,
        change("properties", "amount", description="How much.", title="Amount", examples=["1"]),
        change(*GRANT, description=None),
    ],
)
def test_what_breaks_nobody_is_let_through(changed: Callable[[Schema], None]) -> None:
    schema = deepcopy(schema_of(TOPIC))
    changed(schema)
    assert broken_promises(schema_of(TOPIC), schema) == []


def test_a_field_that_was_not_always_there_may_be_from_now_on() -> None:
    published = deepcopy(schema_of(TOPIC))
    may_be_left_out(published)
    assert broken_promises(published, schema_of(TOPIC)) == []
    assert broken_promises(schema_of(TOPIC), published) != []


def test_every_schema_that_is_committed_is_the_one_that_is_served() -> None:
    committed = {path.name: path.read_text() for path in PUBLISHED.iterdir()}
    served = {f"{each.TOPIC}.json": published_text(schema_of(each.TOPIC)) for each in EVENT_TYPES}
    assert committed == served, "run scripts/contracts and look at the difference"


def test_a_schema_that_is_published_is_never_overwritten_by_one_that_breaks_it(tmp_path: Path) -> None:
    """Nor is any other written then; what may be changed is, and a new type is published beside the others."""
    assert publish(tmp_path) == []
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    promised = json.loads(written["ledger.voided.json"])
    promised["properties"]["reason"] = TEXT
    (tmp_path / "ledger.voided.json").write_text(json.dumps(promised))
    (tmp_path / "ledger.lent.json").write_text(json.dumps(promised))
    (tmp_path / "ledger.debited.json").write_text(written["ledger.debited.json"].replace("Credits of", "Some of"))
    (tmp_path / "ledger.granted.json").unlink()
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    done = subprocess.run(
        [sys.executable, "-m", "service.feed.schemas", str(tmp_path)], capture_output=True, text=True, check=False
    )
    broken = "ledger.lent: the type would be gone\nledger.voided: data.reason would be gone\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", broken)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before

    (tmp_path / "ledger.lent.json").unlink()
    (tmp_path / "ledger.voided.json").unlink()
    assert publish(tmp_path) == []
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == written
