"""The OpenAPI document of the REST door: what its routes take and answer, from the same models that read and refuse."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ledger.domain.values import KEY_CHARACTERS_MAX
from service.callers import AT_LEAST
from service.frame import POSITION, REQUEST_ID_HEADER, STALE
from service.openapi import RETRY, Schema, headers, name_of, response
from service.rest import debits_openapi
from service.rest.door import KEY_HEADER, RATE_HEADERS, REPLAYED, TOKEN_HEADER
from service.rest.login import EXTEND, LOGIN
from service.rest.models import (
    ListRequest,
    Login,
    NewRule,
    Problem,
    Rule,
    RuleChange,
    RuleList,
    RuleNames,
    Summary,
    SummaryRequest,
    Token,
)
from service.rest.rules import NAMES, ONE_RULE, RULE, RULES, SUMMARY

REFERENCE = "#/components/schemas/{model}"
BY_KEY: Schema = {"key": []}
BY_TOKEN: Schema = {"token": []}
KEYS = (BY_KEY, BY_TOKEN)
OF_ANY = (400, 408, 413, 429, 500, 503)
OF_RULES = (401, 403, *OF_ANY)
REASONS = {
    400: "A field, or the body, is not as it must be.",
    401: "No key or token, or none that is good (any more).",
    403: "The key may not do that.",
    404: "There is no such rule.",
    408: "The body did not come in time.",
    409: "Another rule has that name, or the idempotency key was used with another body.",
    413: "The body is too large.",
    429: "Too many requests.",
    500: "A fault of the service.",
    503: "Not available now, or a named position is not reached: try again.",
}


def _header(kind: str, about: str) -> Schema:
    return {"description": about, "schema": {"type": kind}}


OF_EVERY_ANSWER = {
    POSITION: _header("string", "The position of the ledger that the answer is right at."),
    REQUEST_ID_HEADER: _header("string", "To ask about this request by."),
}
HEADERS = (
    OF_EVERY_ANSWER
    | {STALE: _header("string", "true: the head of the ledger was not reached in time.")}
    | {REPLAYED: _header("string", "true: this is the first answer under this key again.")}
    | {RETRY: _header("integer", "Seconds after which the same may succeed.")}
    | {f"X-RateLimit-{name}": _header("integer", "Of the caller's requests about rules.") for name in RATE_HEADERS}
)
OF_DOORS = {name: header for name, header in HEADERS.items() if name not in (REPLAYED, RETRY)}
WRITES, READS = (KEY_HEADER,), (AT_LEAST,)


class Operation(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    name: str
    summary: str
    answer: type[BaseModel] | None
    body: type[BaseModel] | None = None
    body_optional: bool = False
    headers: tuple[str, ...] = ()
    security: tuple[Schema, ...] = KEYS
    statuses: tuple[int, ...] = OF_RULES


OPERATIONS = (
    Operation("post", RULES, "listRules", "Rules with their usage in a window of time, page by page.", RuleList,
              ListRequest, body_optional=True, headers=READS),
    Operation("post", RULE, "defineRule", "Make a rule.", Rule, NewRule, headers=WRITES, statuses=(*OF_RULES, 409)),
    Operation("get", ONE_RULE, "getRule", "A rule.", Rule, headers=READS, statuses=(*OF_RULES, 404)),
    Operation("patch", ONE_RULE, "changeRule", "Change a rule.", Rule, RuleChange, headers=WRITES,
              statuses=(*OF_RULES, 404, 409)),
    Operation("delete", ONE_RULE, "removeRule", "Remove a rule; its name is free again.", None, headers=WRITES,
              statuses=(*OF_RULES, 404, 409)),
    Operation("post", SUMMARY, "summarise", "What was purchased and used in a window of time, of all together.",
              Summary, SummaryRequest, body_optional=True, headers=READS),
    Operation("get", NAMES, "listRuleNames", "The names of all rules.", RuleNames, headers=READS),
    Operation("post", LOGIN, "logIn", "A token of 10 minutes for an API key.", Token, Login, security=(),
              statuses=(*OF_ANY, 401)),
    Operation("get", EXTEND, "extendToken", "Another token, for one that is still good.", Token,
              security=(BY_TOKEN,), statuses=(*OF_ANY, 401)),
)  # fmt: skip


def document() -> Schema:
    """The whole document."""
    models: dict[type[BaseModel], None] = {Problem: None}
    for one in OPERATIONS:
        models |= {model: None for model in (one.body, one.answer) if model is not None}
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _told(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Credit ledger: allocation rules, debits and balances",
            "version": "1",
            "description": "Usage and percentages of groups of accounts, over any window of time; "
            "credits used and given back, one by one or by the batch; what a holder has.",
        },
        "paths": paths | debits_openapi.paths(),
        "components": {
            "schemas": _untitled(schemas["$defs"]) | debits_openapi.schemas(),
            "responses": {name_of(status): _problem(status) for status in REASONS} | debits_openapi.responses(),
            "headers": HEADERS,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-KEY"},
                "token": {"type": "apiKey", "in": "header", "name": TOKEN_HEADER},
            },
        },
    }


def _told(operation: Operation) -> Schema:
    told: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "security": list(operation.security),
        "parameters": list(_parameters(operation)),
        "responses": {"200": _done(operation)}
        | {str(status): response(status) for status in sorted(operation.statuses)},
    }
    if operation.body is not None:
        schema = _reference(operation.body)
        if operation.body_optional:
            schema = {"anyOf": [schema, {"type": "null"}]}
        content = {"application/json": {"schema": schema}}
        told["requestBody"] = {"required": not operation.body_optional, "content": content}
    return told


def _parameters(operation: Operation) -> Iterator[Schema]:
    if operation.path == ONE_RULE:
        yield {"name": "ruleId", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    if KEY_HEADER in operation.headers:
        about = "The same key and body again is the first answer again, for ever."
        schema: Schema = {"type": "string", "minLength": 1, "maxLength": KEY_CHARACTERS_MAX}
        yield {"name": KEY_HEADER, "in": "header", "description": about, "schema": schema}
    if AT_LEAST in operation.headers:
        about = "A position that the answer must have reached."
        schema = {"type": "string", "pattern": "^[0-9]{1,18}$"}
        yield {"name": AT_LEAST, "in": "header", "description": about, "schema": schema}


def _done(operation: Operation) -> Schema:
    done: Schema = {"description": "Done.", "headers": headers(OF_EVERY_ANSWER)}
    if operation.path not in (LOGIN, EXTEND):
        done["headers"] = headers([*OF_DOORS, *([REPLAYED] if KEY_HEADER in operation.headers else [])])
    if operation.answer is not None:
        done["content"] = {"application/json": {"schema": _reference(operation.answer)}}
    return done


def _problem(status: int) -> Schema:
    return {
        "description": f"{HTTPStatus(status).phrase}. {REASONS[status]}",
        "headers": headers([*OF_DOORS, *([RETRY] if status in (429, 503) else [])]),
        "content": {"application/json": {"schema": _reference(Problem)}},
    }


def _untitled(schema: Any) -> Any:
    """Without the titles that are made of names: they say nothing more."""
    if isinstance(schema, list):
        return [_untitled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _untitled(each) for name, each in schema.items() if name != "title" or not isinstance(each, str)}


def _reference(model: type[BaseModel]) -> Schema:
    return {"$ref": REFERENCE.format(model=model.__name__)}
