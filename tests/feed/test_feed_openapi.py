"""The feed's document is true of what the feed answers, of each kind of answer."""

from typing import Any

import pytest
import schemathesis

from service.feed.door import PARAMETERS
from service.feed.openapi import document
from tests.feed.reading import Feed
from tests.history import HOLDERS

DOCUMENT = document()
api = schemathesis.openapi.from_dict(DOCUMENT)
EVENTS, SCHEMAS, ONE_SCHEMA = "/v1/events", "/v1/schemas", "/v1/schemas/{type}"
OTHER_EPOCH = {"after": "A" * 32}


@pytest.mark.parametrize(
    ("path", "asked", "headers", "status"),
    [
        (EVENTS, {"limit": 1000}, {}, 200),
        (EVENTS, {"holder": HOLDERS, "types": "ledger.granted,ledger.debited", "wait": 1}, {}, 200),
        (EVENTS, {"after": "latest"}, {"Accept": "application/json"}, 200),
        (EVENTS, {"limit": 0}, {}, 400),
        (EVENTS, {}, {"X-API-KEY": "unknown"}, 401),
        (EVENTS, {}, {"Accept": "text/html"}, 406),
        (EVENTS, OTHER_EPOCH, {}, 409),
        (EVENTS, {"after": "9" * 18}, {"Accept": "text/event-stream"}, 409),
        (SCHEMAS, {}, {}, 200),
        (ONE_SCHEMA, {"type": "ledger.granted"}, {}, 200),
        (ONE_SCHEMA, {"type": "ledger.lent"}, {}, 404),
    ],
)
def test_an_answer_is_as_the_document_says(
    feed: Feed, path: str, asked: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    params = {} if path == ONE_SCHEMA else asked
    answer = feed.service.http.get(path.format(**asked) if path == ONE_SCHEMA else path, params=params, headers=headers)
    assert answer.status_code == status
    told = api[path]["GET"]
    told.validate_response(answer)
    named = DOCUMENT["paths"][path]["get"]["responses"][str(status)]
    named = DOCUMENT["components"]["responses"][named["$ref"].rpartition("/")[2]] if "$ref" in named else named
    assert answer.headers["Content-Type"] in named["content"]
    assert {name.lower() for name in named["headers"]} <= set(answer.headers)


def test_the_document_has_every_parameter_and_no_other() -> None:
    told = DOCUMENT["paths"][EVENTS]["get"]["parameters"]
    assert {each["name"] for each in told if each["in"] == "query"} == PARAMETERS
    assert {each["name"] for each in told if each["in"] == "header"} == {"Last-Event-ID", "X-Ledger-At-Least"}
