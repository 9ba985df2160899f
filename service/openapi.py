"""What the OpenAPI documents of all doors say alike."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]
RETRY = "Retry-After"
JSON = "application/json"
TEXT: Schema = {"type": "string"}


def problem() -> Schema:
    """What is told of a refusal under /v1/."""
    told = {
        "timestamp": {**TEXT, "format": "date-time"},
        "status": {"type": "integer"},
        **dict.fromkeys(("error", "message", "path", "code"), TEXT),
    }
    return {"description": "What went wrong, and the facts of it, by name.", **object_of(told)}


def object_of(told: Schema) -> Schema:
    """An object that has all of these."""
    return {"type": "object", "properties": told, "required": [*told]}


def refusal(status: int, reason: str, of_every_answer: Iterable[str]) -> Schema:
    """The answer to a request that is turned down."""
    return {
        "description": f"{HTTPStatus(status).phrase}. {reason}",
        "headers": headers((*of_every_answer, *([RETRY] if status in (429, 503) else []))),
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def response(status: int) -> Schema:
    """A reference to such an answer."""
    return {"$ref": f"#/components/responses/{name_of(status)}"}


def name_of(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "")


def headers(names: Iterable[str]) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
