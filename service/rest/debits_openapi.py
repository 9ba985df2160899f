"""What the OpenAPI document says of debits, refunds and balances: their routes, bodies and answers."""

from typing import Any, NamedTuple

from ledger.domain.values import (
    ACCOUNT_GROUPS_MAX,
    KEY_CHARACTERS_MAX,
    KINDS_OF_CREDITS,
    NAME_CHARACTERS_MAX,
    TEXT_CHARACTERS_MAX,
    CreditType,
    Kind,
)
from service.callers import AT_LEAST
from service.frame import POSITION, REQUEST_ID_HEADER, STALE
from service.openapi import JSON, TEXT, Schema, headers, name_of, object_of, problem, refusal
from service.rest.balances import BALANCES
from service.rest.debit_fields import BATCH_MAX, KEY
from service.rest.debits import BATCH, DEBITS, REFUNDS
from service.rest.door import KEY_HEADER, REPLAYED

OF_ANY = (400, 401, 403, 408, 413, 429, 500, 503)
REASONS = {
    400: "A field, or the body, is not as it must be; `field` is its name.",
    401: "No key, or none that is good (any more).",
    403: "The key may not do that, or not for that holder.",
    404: "There is no such debit.",
    408: "The body did not come in time.",
    409: "Not enough credits, more than is left to refund, or the idempotency key was used with another body.",
    413: "The body is too large.",
    429: "Too many requests about execution credits, or too much waits.",
    500: "A fault of the service.",
    503: "Not available now, or a named position is not reached: try again, with the same key.",
}
OF_EVERY_ANSWER = (POSITION, REQUEST_ID_HEADER)
NAME: Schema = {**TEXT, "pattern": "^[^\\u0000]+$", "minLength": 1, "maxLength": NAME_CHARACTERS_MAX}
A_KEY: Schema = {**NAME, "maxLength": KEY_CHARACTERS_MAX}
KIND: Schema = {**TEXT, "enum": sorted(KINDS_OF_CREDITS), "default": Kind.CREDIT_GRANT.value}
EXACT: Schema = {**TEXT, "pattern": r"^[0-9]{1,29}(\.[0-9]{1,9})?$", "description": "Exact, in its shortest text."}
INSTANT: Schema = {**TEXT, "format": "date-time"}
ID: Schema = {**TEXT, "format": "uuid"}
PLACE: Schema = {**TEXT, "pattern": "^[0-9]+$"}
AMOUNT: Schema = {
    "description": "Above zero. A number that is not whole has at most 15 significant digits, a text every digit. "
    "Execution credits are whole.",
    "anyOf": [
        {**TEXT, "pattern": r"^[0-9]{1,19}(\.[0-9]{1,9})?$"},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 10**19 - 1},
    ],
}


class Operation(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    name: str
    summary: str
    answer: str
    body: str | None = None
    headers: tuple[str, ...] = ()
    statuses: tuple[int, ...] = OF_ANY


OPERATIONS = (
    Operation("post", DEBITS, "consumeCredits", "Use credits of one pool, all or nothing.", "Debit", "NewDebit",
              headers=(KEY_HEADER,), statuses=(*OF_ANY, 409)),
    Operation("post", BATCH, "consumeManyCredits", f"Use credits up to {BATCH_MAX} times, each by itself and in order; "
              "answered when all that was accepted is on disk.", "DebitBatchResults", "DebitBatch"),
    Operation("post", REFUNDS, "refundDebit", "Give back a debit or a part of it, last drawn first.", "Refund",
              "NewRefund", headers=(KEY_HEADER,), statuses=(*OF_ANY, 404, 409)),
    Operation("get", BALANCES, "listBalances", "A holder's pools, with all that is due for him written first.",
              "Balances", headers=(AT_LEAST,)),
)  # fmt: skip


def paths() -> dict[str, Schema]:
    return {operation.path: {operation.method: _told(operation)} for operation in OPERATIONS}


def responses() -> Schema:
    return {_response(status): _as_ours(refusal(status, REASONS[status], OF_EVERY_ANSWER)) for status in REASONS}


def schemas() -> Schema:
    """Every body and answer, by its name."""
    draws = {"type": "array", "items": object_of({"lot": ID, "amount": EXACT}), "minItems": 1}
    movement = {
        "kind": KIND,
        "holder": TEXT,
        "currency": TEXT,
        "resource": _or_null(TEXT),
        "amount": EXACT,
        "recordedAt": INSTANT,
        "draws": {**draws, "description": "What each lot gave or got back, in order."},
        "poolBalance": {**EXACT, "description": "What is booked in the pool after it."},
        "position": {**PLACE, "description": "Of its last event, to wait for in a read."},
        "replayed": {"type": "boolean", "description": "Whether this key was answered before; the facts are the same."},
    }
    debit = object_of({"transactionId": ID, **movement, "useAt": INSTANT})
    refund = object_of({"transactionId": ID, "refundedTransactionId": ID, **movement})
    index = {"type": "integer", "minimum": 0}
    failed = {**object_of({"code": TEXT, "message": TEXT}), "description": "And the facts of it, by name."}
    results = [_closed(object_of({"index": index, "debit": _of("Debit")})),
               _closed(object_of({"index": index, "error": failed}))]  # fmt: skip
    return {
        "NewDebit": _new_debit(),
        "DebitBatch": _closed(object_of({"debits": {
            "type": "array", "minItems": 1, "maxItems": BATCH_MAX,
            "items": {"anyOf": [_of("NewDebit"), {"description": "Anything else is refused by itself."}]},
        }})),
        "NewRefund": _closed({"type": "object", "required": ["transactionId"], "properties": {
            "transactionId": NAME,
            "amount": _or_null({**AMOUNT, "description": "Default: all that is left to refund."}),
            "reason": _or_null({**NAME, "minLength": 0, "pattern": "^[^\\u0000]*$", "maxLength": TEXT_CHARACTERS_MAX}),
            "kind": _or_null(KIND),
            KEY: _or_null(A_KEY),
        }}),
        "Debit": _closed(debit),
        "Refund": _closed(refund),
        "DebitBatchResults": _closed(object_of({
            "results": {"type": "array", "items": {"oneOf": results}, "minItems": 1, "maxItems": BATCH_MAX},
            "position": _or_null({**PLACE, "description": "Of the last event that was written; null if none was."}),
        })),
        "Balances": _closed(object_of({
            "holder": TEXT, "kind": KIND, "at": INSTANT, "position": PLACE,
            "pools": {"type": "array", "items": _of("PoolFigures")},
        })),
        "PoolFigures": {
            **_closed(object_of({
                "currency": TEXT, "resource": _or_null(TEXT),
                **dict.fromkeys(("granted", "used", "voided", "expired", "booked", "available"), EXACT),
            })),
            "description": "granted - used - voided - expired = booked; of that, available is usable at the instant.",
        },
        "Refused": problem(),
    }  # fmt: skip


def _new_debit() -> Schema:
    groups = {"type": "array", "items": NAME, "maxItems": ACCOUNT_GROUPS_MAX}
    dimensions = {"type": "object", "propertyNames": NAME, "additionalProperties": NAME}
    of_grants = f"Not of {Kind.EXECUTION_CREDIT}."
    types = " or ".join(CreditType)
    return _closed({"type": "object", "required": ["holder", "currency", "amount"], "properties": {
        "holder": {**NAME, "description": "The customer; of execution credits, the company."},
        "currency": {**NAME, "description": f"Of execution credits their type, {types}."},
        "amount": AMOUNT,
        "resource": _or_null({**NAME, "description": of_grants}),
        "kind": _or_null(KIND),
        "useAt": _or_null({**INSTANT, "description": f"When they were used; default: now. {of_grants}"}),
        "accountGroups": _or_null(groups),
        "dimensions": _or_null({**dimensions, "description": "At most 16 KiB."}),
        KEY: _or_null({**A_KEY, "description": "The same key and body again is the first answer again, for ever."}),
    }})  # fmt: skip


def _told(operation: Operation) -> Schema:
    told_headers = [*OF_EVERY_ANSWER]
    told_headers += [REPLAYED] if KEY_HEADER in operation.headers else []
    told_headers += [STALE] if AT_LEAST in operation.headers else []
    done = {
        "description": "Done.",
        "headers": headers(told_headers),
        "content": {JSON: {"schema": _of(operation.answer)}},
    }
    refusals = {str(each): {"$ref": f"#/components/responses/{_response(each)}"} for each in sorted(operation.statuses)}
    told: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "security": [{"key": []}],
        "parameters": list(_parameters(operation)),
        "responses": {"200": done} | refusals,
    }
    if operation.body is not None:
        told["requestBody"] = {"required": True, "content": {JSON: {"schema": _of(operation.body)}}}
    return told


def _parameters(operation: Operation) -> list[Schema]:
    if operation.path == BALANCES:
        asked = {**TEXT, "pattern": "^[0-9]{1,18}$"}
        return [
            {"name": "holder", "in": "path", "required": True, "schema": NAME},
            {"name": "kind", "in": "query", "schema": KIND},
            {"name": "currency", "in": "query", "schema": NAME},
            {"name": "resource", "in": "query", "description": "Empty: the pools of none.",
             "schema": {**NAME, "minLength": 0, "pattern": "^[^\\u0000]*$"}},
            {"name": AT_LEAST, "in": "header", "description": "A position that the answer must have reached.",
             "schema": asked},
        ]  # fmt: skip
    if KEY_HEADER in operation.headers:
        about = f"In place of {KEY}, in ASCII."
        return [{"name": KEY_HEADER, "in": "header", "description": about, "schema": A_KEY}]
    return []


def _closed(schema: Schema) -> Schema:
    """An object that has nothing besides."""
    return {**schema, "additionalProperties": False}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _of(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _response(status: int) -> str:
    """The name that a refusal has here; allocation rules tell theirs with fewer fields."""
    return f"Refused{name_of(status)}"


def _as_ours(told: Schema) -> Any:
    return {**told, "content": {JSON: {"schema": _of("Refused")}}}
