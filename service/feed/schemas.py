"""The published JSON Schemas of the messages' data, one for each event type, and what may change in one.

There may be more fields, and a field that was sometimes left out may always be there. All else stays as it was
published: what reads a message today reads it for ever.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from service.feed.messages import SCHEMA
from service.feed.wire import MESSAGES

Schema: TypeAlias = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
DEFINITIONS = "$defs"
TELLS_PEOPLE = {"title", "description", "default", "examples", "$comment", DEFINITIONS}
"""What may change at will in a schema: no message obeys it less for that."""
NOT_PUBLISHED = {"title", "default", "additionalProperties"}
OF_NAMES = {"properties", DEFINITIONS}
OF_FIELDS = {"properties", "required", "items", "anyOf"}


@cache
def schema_of(topic: str) -> Schema:
    """The schema of the data of a message; it is shared, so change it not.

    It lets fields be added: readers ignore those that they do not know.
    """
    told = MESSAGES[topic].model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": DIALECT, "$id": SCHEMA.format(type=topic), **_open(told), "title": topic}


def broken_promises(published: Schema, changed: Schema) -> list[str]:
    """What a reader of the published schema could stumble over in the changed one, field by field; mostly nothing."""
    was, would_be = dict(_fields(_inlined(published))), dict(_fields(_inlined(changed)))
    broken = []
    for name, field in was.items():
        other = would_be.get(name)
        if other is None:
            broken.append(f"{name} would be gone")
        elif other.says != field.says:
            broken.append(f"{name} is {field.says} and would be {other.says}")
        elif field.certain and not other.certain:
            broken.append(f"{name} would not always be there")
    return broken


def publish(folder: Path) -> list[str]:
    """Write the schema of every event type to a folder, unless that breaks what one there promises: then write none.

    Returns what it would break.
    """
    schemas = {topic: schema_of(topic) for topic in MESSAGES}
    broken = []
    for path in sorted(folder.glob("*.json")):
        changed = schemas.get(path.stem)
        promised = json.loads(path.read_text())
        said = ["the type would be gone"] if changed is None else broken_promises(promised, changed)
        broken += [f"{path.stem}: {each}" for each in said]
    if not broken:
        folder.mkdir(parents=True, exist_ok=True)
        for topic, schema in schemas.items():
            (folder / f"{topic}.json").write_text(published_text(schema))
    return broken


def published_text(schema: Schema) -> str:
    """A schema as it is published."""
    return json.dumps(schema, indent=2) + "\n"


class Field(NamedTuple):
    """What a schema says of one field: of each kind of value it may have, and whether it is always there."""

    says: str
    certain: bool


def _fields(schema: Schema, name: str = "data", *, certain: bool = True) -> Iterator[tuple[str, Field]]:
    """Every field of an inlined schema by its path: `data.after.lotBalance`, `data.accountGroups[]`."""
    options = schema.get("anyOf", [schema])
    says = sorted(
        json.dumps({word: value for word, value in option.items() if word not in OF_FIELDS}, sort_keys=True)
        for option in options
    )
    yield name, Field(" or ".join(says), certain)
    for option in options:
        for field, inner in option.get("properties", {}).items():
            yield from _fields(inner, f"{name}.{field}", certain=field in option.get("required", ()))
        if "items" in option:
            yield from _fields(option["items"], f"{name}[]")


def _inlined(schema: Schema) -> Schema:
    """A schema without references and without what it tells people; the order of an enumeration says nothing."""

    def inlined(node: Any) -> Any:
        if "$ref" in node:
            meant = schema[DEFINITIONS][node["$ref"].rpartition("/")[2]]
            node = {**meant, **{word: value for word, value in node.items() if word != "$ref"}}
        said = {word: value for word, value in node.items() if word not in TELLS_PEOPLE}
        return said | {"enum": sorted(said["enum"])} if "enum" in said else said

    told: Schema = _rewritten(schema, inlined)
    return told


def _open(schema: Schema) -> Schema:
    """Without the ban on other fields, titles made of names, and defaults: what a message says, it says."""
    opened: Schema = _rewritten(
        schema, lambda node: {word: value for word, value in node.items() if word not in NOT_PUBLISHED}
    )
    return opened


def _rewritten(node: Any, rewrite: Callable[[Schema], Schema]) -> Any:
    """A schema with every schema in it rewritten, the outer ones first; names of fields are no words of it."""
    if isinstance(node, list):
        return [_rewritten(each, rewrite) for each in node]
    if not isinstance(node, Mapping):
        return node
    return {
        word: {name: _rewritten(inner, rewrite) for name, inner in value.items()}
        if word in OF_NAMES
        else _rewritten(value, rewrite)
        for word, value in rewrite(dict(node)).items()
    }


if __name__ == "__main__":
    sys.exit("\n".join(publish(Path(sys.argv[1]))) or None)
