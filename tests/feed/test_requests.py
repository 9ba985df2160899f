"""What the feed is asked is said exactly, or refused by its field; and it says itself what it can be asked."""

import base64
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema_rs
import pytest

from ledger.application import BlockingLedger
from ledger.domain.events import EVENT_TYPES
from service.feed.schemas import schema_of
from tests.feed.reading import EVENTS, Feed

BATCH, JSON, STREAM = "application/cloudevents-batch+json", "application/json", "text/event-stream"
CURSOR = base64.urlsafe_b64encode(uuid.UUID(int=7).bytes + (1).to_bytes(8)).decode()
A_CURSOR = "must be a cursor as an answer gave it, the digits of a position, or latest"


@pytest.mark.parametrize(
    ("asked", "field", "reason"),
    [
        ({"limit": "0"}, "limit", "must be a whole number from 1 to 1000"),
        ({"limit": "1001"}, "limit", "must be a whole number from 1 to 1000"),
        ({"limit": "-1"}, "limit", "must be a whole number from 1 to 1000"),
        ({"limit": "1.0"}, "limit", "must be a whole number from 1 to 1000"),
        ({"limit": ""}, "limit", "must be a whole number from 1 to 1000"),
        ({"limit": "\u0663"}, "limit", "must be a whole number from 1 to 1000"),
        ({"limit": "9" * 5000}, "limit", "must be a whole number from 1 to 1000"),
        ({"limit": ["1", "2"]}, "limit", "must be given once"),
        ({"wait": "31"}, "wait", "must be a whole number from 0 to 30"),
        ({"wait": "0.5"}, "wait", "must be a whole number from 0 to 30"),
        ({"wait": "30s"}, "wait", "must be a whole number from 0 to 30"),
        ({"after": ""}, "after", A_CURSOR),
        ({"after": "Latest"}, "after", A_CURSOR),
        ({"after": "-1"}, "after", A_CURSOR),
        ({"after": "1.5"}, "after", A_CURSOR),
        ({"after": "\u0663"}, "after", A_CURSOR),
        ({"after": "1" * 19}, "after", A_CURSOR),
        ({"after": CURSOR[:-1]}, "after", A_CURSOR),
        ({"after": CURSOR + CURSOR[:4]}, "after", A_CURSOR),
        ({"after": CURSOR[:-1] + "="}, "after", A_CURSOR),
        ({"after": CURSOR[:-1] + " "}, "after", A_CURSOR),
        ({"after": "!" * 32}, "after", A_CURSOR),
        ({"after": "\u00e4" * 32}, "after", A_CURSOR),
        ({"after": ["1", "2"]}, "after", "must be given once"),
        ({"types": "ledger.lent"}, "types", "must be of ledger.allocation-rule-changed,"),
        ({"types": "ledger.granted,"}, "types", "must be of ledger.allocation-rule-changed,"),
        ({"types": ""}, "types", "must be of ledger.allocation-rule-changed,"),
        ({"types": "LEDGER.GRANTED"}, "types", "must be of ledger.allocation-rule-changed,"),
        ({"holder": ""}, "holder", "must be a text of 1 to 200 characters"),
        ({"holder": "x" * 201}, "holder", "must be a text of 1 to 200 characters"),
        ({"holder": "a\0b"}, "holder", "must not contain U+0000"),
        ({"currency": ""}, "currency", "must be a text of 1 to 200 characters"),
        ({"currency": [f"c{number}" for number in range(1001)]}, "currency", "must be given at most 1000 times"),
        ({"type": "ledger.granted"}, "type", "is not a parameter; there are after, currency, holder,"),
        ({"AFTER": "1"}, "AFTER", "is not a parameter; there are after, currency, holder,"),
    ],
)  # fmt: skip
def test_what_is_not_said_exactly_is_refused_by_its_field(
    feed: Feed, asked: dict[str, Any], field: str, reason: str
) -> None:
    """Through both doors; a page's own parameters have no meaning for a stream."""
    refused = feed.refusal(**asked)
    assert refused.pop("reason").startswith(reason)
    assert refused == {"status": 400, "code": "InvalidArgumentError", "field": field}
    streamed = feed.refusal({"Accept": STREAM}, **asked)
    assert (streamed["status"], streamed["field"]) == (400, field)
    assert streamed["reason"].startswith("must not be given for a stream" if field in ("limit", "wait") else reason)


@pytest.mark.parametrize("text", ["yesterday", CURSOR[:-1], "-1"])
def test_a_last_event_id_that_is_no_cursor_is_refused(feed: Feed, text: str) -> None:
    refused = feed.refusal({"Accept": STREAM, "Last-Event-ID": text})
    assert refused == {"status": 400, "code": "InvalidArgumentError", "field": "Last-Event-ID", "reason": A_CURSOR}


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (None, BATCH),
        ("*/*", BATCH),
        (BATCH, BATCH),
        (JSON, JSON),
        ("application/*", BATCH),
        (STREAM, STREAM),
        ("Text/Event-Stream; charset=utf-8", STREAM),
        ("text/*", STREAM),
        (f"{STREAM}, */*", STREAM),
        (f"{STREAM};q=0.5, {BATCH}", BATCH),
        (f"{STREAM}, {BATCH};q=0.9", STREAM),
        (f"{JSON}, text/plain, */*", BATCH),
        (f"{STREAM};q=0, */*", BATCH),
        (f"{BATCH};q=0, {JSON};q=0, */*", STREAM),
        ("text/html, application/xml;q=0.9, */*;q=0.8", BATCH),
        ("text/html", None),
        ("application/cloudevents+json", None),
        ("*/*;q=0", None),
        (f"{BATCH};q=0", None),
        (f"{STREAM};q=none", None),
        ("", BATCH),
        (",;q=", None),
    ],
)
def test_events_come_in_the_form_that_is_accepted_best(feed: Feed, accept: str | None, answered: str | None) -> None:
    headers = {"X-API-KEY": feed.service.key} | ({} if accept is None else {"Accept": accept})
    request = feed.service.http.build_request("GET", "/v1/events?after=latest", headers=headers)
    if accept is None:
        del request.headers["Accept"]
    answer = feed.service.http.send(request, stream=True)
    try:
        assert answer.headers["Content-Type"].partition(";")[0] == (answered or JSON)
        assert answer.status_code == (200 if answered else 406)
        if not answered:
            answer.read()
            assert answer.json()["code"] == "NotAcceptable"
            assert answer.json()["offered"] == [BATCH, STREAM]
    finally:
        answer.close()


def test_a_reader_may_wait_for_a_position_that_it_knows_of(feed: Feed, writer: BlockingLedger, holder: str) -> None:
    """What it had written itself, say, through another process."""
    head = feed.page(after="latest").position
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(feed.page, {"X-Ledger-At-Least": str(head + 1)}, after=head)
        with pytest.raises(TimeoutError):
            asked.result(timeout=0.1)
        written = writer.consume(holder=holder, currency="credits", amount=1)
        assert asked.result().positions == [written.position]
    refused = feed.refusal({"X-Ledger-At-Least": "soon"})
    assert (refused["status"], refused["field"]) == (400, "X-Ledger-At-Least")


def test_a_page_is_kept_by_nobody_and_leads_to_the_next_one_where_that_fits_into_a_header(feed: Feed) -> None:
    short, long = [feed.service.http.get(EVENTS, params={"holder": "x" * length}) for length in (10, 200)]
    longer = feed.service.http.get(EVENTS, params={"holder": [f"{n:0200d}" for n in range(10)]})
    assert {answer.headers["Cache-Control"] for answer in (short, long, longer)} == {"no-store"}
    assert {answer.headers["Vary"] for answer in (short, long, longer)} == {"Accept"}
    assert all(answer.headers["X-Ledger-Cursor"] in answer.headers["Link"] for answer in (short, long))
    assert "Link" not in longer.headers
    assert longer.headers["X-Ledger-Cursor"] == short.headers["X-Ledger-Cursor"]


def test_every_type_has_its_schema_where_the_messages_say_for_everybody(feed: Feed) -> None:
    """Without a key; what a message's dataschema names is the $id of its type's schema."""
    nobody = {"X-API-KEY": ""}
    listed = feed.service.http.get("/v1/schemas", headers=nobody).json()
    assert listed == {each.TOPIC: f"/v1/schemas/{each.TOPIC}" for each in EVENT_TYPES}
    for topic, path in listed.items():
        answer = feed.service.http.get(path, headers=nobody)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/schema+json")
        assert answer.json() == schema_of(topic)
        jsonschema_rs.meta.validate(answer.json())
    for event in feed.all(limit=1000):
        assert event["dataschema"] == schema_of(event["type"])["$id"]
    unknown = feed.service.http.get("/v1/schemas/ledger.lent", headers=nobody)
    assert (unknown.status_code, unknown.json()["code"], unknown.json()["type"]) == (
        *(404, "EventTypeUnknown", "ledger.lent"),
    )
