"""The OpenAPI document of the feed: what can be asked of it, and what it answers."""

from collections.abc import Iterable

from ledger.domain.values import NAME_CHARACTERS_MAX
from service.callers import AT_LEAST
from service.feed.cursor import CHARACTERS, POSITION_DIGITS_MAX
from service.feed.door import (
    BATCH,
    CAUGHT_UP,
    CURSOR,
    EVENTS,
    FILTERED_MAX,
    JSON,
    LAST_EVENT_ID,
    LATEST,
    LIMIT,
    LIMIT_MAX,
    ONE_SCHEMA,
    SCHEMA_TYPE,
    SCHEMAS,
    STREAM,
    WAIT_SECONDS_MAX,
)
from service.feed.wire import MESSAGES
from service.frame import POSITION, REQUEST_ID_HEADER
from service.openapi import RETRY, TEXT, Schema, headers, name_of, object_of, problem, refusal, response

A_CURSOR = f"[A-Za-z0-9_-]{{{CHARACTERS}}}"
A_POSITION = f"[0-9]{{1,{POSITION_DIGITS_MAX}}}"
OF_ANY = (408, 413, 429, 500, 503)
REASONS = {
    400: "A parameter is not as it must be; `field` is its name.",
    401: "No key, or none that is good (any more).",
    403: "The key may not see that.",
    404: "There is no such event type.",
    406: "Events are given as `offered`, and the request accepts neither.",
    408: "The body did not come in time.",
    409: "The log has become another one since: it was restored, or has lost what came after `lastCommonPosition`. "
    "Undo what came after that, and go on after `lastCommonCursor`.",
    413: "The body is too large.",
    429: "There are too many subscribers, or too many requests.",
    500: "A fault of the service.",
    503: "Not available now, or a named position is not reached: try again.",
}
HEADERS: Schema = {
    POSITION: {"description": "The position up to which the answer looked.", "schema": TEXT},
    REQUEST_ID_HEADER: {"description": "To ask about this request by.", "schema": TEXT},
    CURSOR: {"description": "The cursor to go on after, also past what the filter left out.", "schema": TEXT},
    CAUGHT_UP: {"description": "Whether that is the head.", "schema": {"enum": ["true", "false"]}},
    "Link": {"description": "The next page, as `next`.", "schema": TEXT},
    RETRY: {"description": "Seconds after which the same may succeed.", "schema": {"type": "integer"}},
}
OF_EVERY_ANSWER = (POSITION, REQUEST_ID_HEADER)


def document() -> Schema:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Credit ledger: events",
            "version": "1",
            "description": "Every event of the ledger as a CloudEvent, by page or by stream.",
        },
        "paths": {
            EVENTS: {"get": _events()},
            SCHEMAS: {"get": _schemas()},
            ONE_SCHEMA: {"get": _one_schema()},
        },
        "components": {
            "schemas": {"CloudEvent": _cloud_event(), "Problem": problem()},
            "responses": {name_of(status): refusal(status, REASONS[status], OF_EVERY_ANSWER) for status in REASONS},
            "headers": HEADERS,
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-API-KEY"}},
        },
    }


def _events() -> Schema:
    events = {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/CloudEvent"}}}
    told = {
        "description": "Whole transactions in order of position; as a stream, each event under its own cursor.",
        "headers": headers((*OF_EVERY_ANSWER, CURSOR, CAUGHT_UP, "Link")),
        "content": {BATCH: events, JSON: events, STREAM: {"schema": TEXT}},
    }
    return {
        "operationId": "readEvents",
        "summary": "Events after a place in the log: a page of them, or a stream as the request accepts.",
        "security": [{"key": []}],
        "parameters": [*_parameters()],
        "responses": {"200": told, **_refusals(400, 401, 403, 406, 409)},
    }


def _parameters() -> Iterable[Schema]:
    place = {"type": "string", "pattern": f"^({A_CURSOR}|{A_POSITION}|{LATEST})$"}
    types = {"type": "array", "items": {"enum": sorted(MESSAGES)}}
    names = {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": NAME_CHARACTERS_MAX},
        "maxItems": FILTERED_MAX,
    }
    after = f"A cursor, the digits of a position, or {LATEST}; without it, from the beginning."
    yield _parameter("after", after, place)
    limit = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT}
    yield _parameter("limit", "How many events at most, unless one transaction has more. Not for a stream.", limit)
    yield _parameter("types", "Events of these types alone; also as one text with commas.", types)
    yield _parameter("holder", "Events of these customers and companies alone.", names)
    yield _parameter("currency", "Events of these currencies alone.", names)
    wait = {"type": "integer", "minimum": 0, "maximum": WAIT_SECONDS_MAX, "default": 0}
    yield _parameter("wait", "How many seconds to wait for an event, if there is none yet. Not for a stream.", wait)
    yield _parameter(LAST_EVENT_ID, "Where a stream was; wins over after.", place, "header")
    position = {"type": "string", "pattern": f"^{A_POSITION}$"}
    yield _parameter(AT_LEAST, "A position that the answer must have reached.", position, "header")


def _schemas() -> Schema:
    paths = {"type": "object", "additionalProperties": TEXT}
    return {
        "operationId": "listSchemas",
        "summary": "Every event type, and where the schema of its data is.",
        "security": [],
        "responses": {"200": _done(JSON, paths), **_refusals()},
    }


def _one_schema() -> Schema:
    return {
        "operationId": "getSchema",
        "summary": "The JSON Schema of the data of an event type. It only ever gets more fields.",
        "security": [],
        "parameters": [{"name": "type", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}],
        "responses": {"200": _done(SCHEMA_TYPE, {"type": "object"}), **_refusals(404)},
    }


def _cloud_event() -> Schema:
    told = {
        "specversion": {"const": "1.0"},
        "id": {**TEXT, "description": "The same for ever, through every door: what to know an event again by."},
        "source": {**TEXT, "description": "Which ledger."},
        "type": {"enum": sorted(MESSAGES)},
        "subject": {**TEXT, "format": "uuid", "description": "The stream of the event."},
        "time": {**TEXT, "format": "date-time", "description": "When the log took it."},
        "datacontenttype": {"const": JSON},
        "dataschema": {**TEXT, "description": "The $id of the schema of the data."},
        "sequence": {**TEXT, "pattern": "^[0-9]{19}$", "description": "The position: texts sort as positions do."},
        "cursor": {**TEXT, "pattern": f"^{A_CURSOR}$", "description": "The place after this event."},
        "data": {"type": "object", "description": f"As the schema at {ONE_SCHEMA} says."},
    }
    holder = {**TEXT, "description": "Whose it is; of an event that is nobody's, it is not there."}
    return object_of(told) | {"properties": {**told, "partitionkey": holder}}


def _parameter(name: str, about: str, schema: Schema, place: str = "query") -> Schema:
    return {"name": name, "in": place, "description": about, "schema": schema}


def _done(media: str, schema: Schema) -> Schema:
    return {"description": "Done.", "headers": headers(OF_EVERY_ANSWER), "content": {media: {"schema": schema}}}


def _refusals(*statuses: int) -> Schema:
    return {str(status): response(status) for status in sorted((*statuses, *OF_ANY))}
