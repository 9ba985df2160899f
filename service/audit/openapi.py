"""The OpenAPI document of the auditor's door, from the questions themselves."""

from collections.abc import Iterator

from projections.reports.report import Of
from service.audit.door import FORMAT, FORMATS, JSON, REPLAY, ZIP
from service.audit.parameters import POSITION_DIGITS_MAX, Parameter, read_instant, read_recorded
from service.audit.question import Answer, Question
from service.audit.questions import QUESTIONS
from service.frame import POSITION, REQUEST_ID_HEADER
from service.openapi import JSON as JSON_TYPE
from service.openapi import RETRY, TEXT, Schema, headers, name_of, object_of, problem, refusal, response

AMOUNT = "Amounts are exact decimals, as texts."
REASONS = {
    400: "A parameter is not as it must be; `field` is its name.",
    401: "No key, or none that is good (any more).",
    403: "The key may not audit, or not see this holder.",
    404: "There is nothing of that name.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    429: "Too many reports are being made, or there are too many requests.",
    500: "A fault of the service.",
    503: "Not available now: try again.",
}
HEADERS: Schema = {
    POSITION: {"description": "The position of the log that the answer is right at.", "schema": TEXT},
    REQUEST_ID_HEADER: {"description": "To ask about this request by.", "schema": TEXT},
    RETRY: {"description": "Seconds after which the same may succeed.", "schema": {"type": "integer"}},
}
OF_EVERY_ANSWER = (POSITION, REQUEST_ID_HEADER)


def document() -> Schema:
    """The whole document."""
    paths = {question.path: {"get": _operation(question)} for question in QUESTIONS}
    schemas = {"AsOf": _as_of(), "Report": _report(), "Tree": _tree(), "Replay": _replayed(), "Problem": problem()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Credit ledger: finance",
            "version": "1",
            "description": "Reports and figures as of two clocks, folded from the log. The same question at the same "
            "two clocks has the same answer, byte for byte.",
        },
        "paths": paths | {REPLAY: {"post": _replay()}},
        "components": {
            "schemas": schemas,
            "responses": {name_of(status): refusal(status, REASONS[status], OF_EVERY_ANSWER) for status in REASONS},
            "headers": HEADERS,
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-API-KEY"}},
        },
    }


def _operation(question: Question[Answer]) -> Schema:
    words = f"{question.group}-{question.name}".replace(" ", "-").split("-")
    schema = {"$ref": "#/components/schemas/Report" if question.tabular else "#/components/schemas/Tree"}
    content: Schema = {JSON_TYPE: {"schema": schema}}
    if question.tabular:
        content |= {ZIP: {"schema": {"type": "string", "contentMediaType": ZIP}}}
    return {
        "operationId": words[0] + "".join(word.capitalize() for word in words[1:]),
        "summary": question.help,
        "security": [{"key": []}],
        "parameters": list(_parameters(question)),
        "responses": {"200": _done(content)} | {str(status): response(status) for status in REASONS},
    }


def _replay() -> Schema:
    about = "A position, with all of its transaction, or an instant; default: the head."
    return {
        "operationId": "auditReplay",
        "summary": "Fold the whole log again, hold every event to every law, and compare what serves.",
        "security": [{"key": []}],
        "parameters": [{"name": "to", "in": "query", "description": about, "schema": _place()}],
        "responses": {"200": _done({JSON_TYPE: {"schema": {"$ref": "#/components/schemas/Replay"}}})}
        | {str(status): response(status) for status in REASONS},
    }


def _done(content: Schema) -> Schema:
    return {"description": "Done.", "headers": headers(OF_EVERY_ANSWER), "content": content}


def _parameters(question: Question[Answer]) -> Iterator[Schema]:
    for each in question.parameters:
        yield {
            "name": each.wire,
            "in": "query",
            "required": each.required,
            "description": each.help,
            "schema": _schema(each),
        }
    if question.tabular:
        about = "What the answer is; all but json are a file and its manifest in a zip."
        yield {"name": FORMAT, "in": "query", "description": about, "schema": {"enum": list(FORMATS), "default": JSON}}


def _schema(parameter: Parameter) -> Schema:
    if parameter.choices is not None:
        return {"enum": list(parameter.choices)}
    if parameter.read is read_instant:
        return TEXT | {"format": "date-time"}
    return _place() if parameter.read is read_recorded else TEXT


def _place() -> Schema:
    position = {"type": "string", "pattern": f"^[0-9]{{1,{POSITION_DIGITS_MAX}}}$"}
    return {"anyOf": [position, TEXT | {"format": "date-time"}]}


def _as_of() -> Schema:
    told = {
        "effectiveAsOf": {**TEXT, "format": "date-time", "description": "What is dated up to then counts."},
        "recordedAsOf": {**TEXT, "description": "The position up to which the log was read."},
        "recordedAt": {"type": ["string", "null"], "format": "date-time", "description": "When that was recorded."},
        "final": {"type": "boolean", "description": "Nothing that is still to be recorded can change the answer."},
    }
    return object_of(told)


def _report() -> Schema:
    told = {
        "report": TEXT,
        "parameters": {"type": "object", "additionalProperties": TEXT, "description": "What it was asked with."},
        "asOf": {"$ref": "#/components/schemas/AsOf"},
        "rows": {"type": "array", "items": {"type": "object"}, "description": AMOUNT},
        "controlTotals": {"type": "array", "items": {"type": "object"}, "description": f"For each unit. {AMOUNT}"},
        "notes": {"type": "array", "items": TEXT, "description": "What a reader must know of these figures."},
    }
    return object_of(told)


def _tree() -> Schema:
    told = {
        "trace": TEXT,
        "parameters": {"type": "object", "additionalProperties": TEXT, "description": "What it was asked with."},
        "asOf": {"$ref": "#/components/schemas/AsOf"},
        "figure": TEXT,
        "amount": {**TEXT, "description": f"The sum of what is below it, at every branch. {AMOUNT}"},
        "of": {"enum": [Of.CREDITS.value, Of.MONEY.value]},
        "unit": {"type": ["string", "null"], "description": "The currency that it is counted in, if it is one."},
        "notes": {"type": "array", "items": TEXT, "description": "What a reader must know of this figure."},
    }
    parts: Schema = {"type": "array", "items": {"type": "object"}}
    below = {"children": parts, "events": parts, "more": {"type": "object"}}
    return object_of(told) | {"properties": told | below}


def _replayed() -> Schema:
    checks: Schema = {"type": "array", "items": {"type": "object"}}
    told = {
        "ledger": TEXT,
        "epoch": TEXT,
        "position": {"type": "integer"},
        "recordedAt": {"type": ["string", "null"]},
        "seconds": {"type": "number"},
        "eventsPerSecond": {"type": "number"},
        "processes": {"type": "integer"},
        "checks": {**checks, "description": "Each law: how many it was asked of, and the first event that breaks it."},
        "comparisons": {**checks, "description": "What serves, beside what the log comes to."},
        "earlierReplay": {"type": ["object", "null"]},
        "numbers": {"type": "object", "description": f"What an earlier replay is held against. {AMOUNT}"},
        "passed": {"type": "boolean"},
    }
    return object_of(told)
