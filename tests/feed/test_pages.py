"""Other services read the log page by page: all of it in order, whatever the pages, and nothing that is not theirs."""

import random
from typing import Any

import pytest

from ledger.application import BlockingLedger
from ledger.domain.events import EVENT_TYPES
from ledger.store.database import Database, Role
from service.feed import pages
from service.feed.messages import Filter
from tests.feed.conftest import key_for
from tests.feed.reading import Event, Feed
from tests.history import HOLDERS
from tests.service.serving import KEY

TYPES = sorted(each.TOPIC for each in EVENT_TYPES)


def in_order(log: Database) -> list[int]:
    with log.connect(Role.READER) as connection:
        return [row["position"] for row in connection.execute("SELECT position FROM movements ORDER BY position")]


def test_pages_of_any_size_tell_the_whole_log_and_cut_no_transaction(log: Database, feed: Feed) -> None:
    everything = feed.all(limit=1000)
    assert [event["data"]["position"] for event in everything] == in_order(log)
    begin = everything[-70]["data"]["transactionLast"]
    rest = [event for event in everything if event["data"]["position"] > begin]
    for limit in (1, 2, 3, 5, 8, 13):
        read: list[Event] = []
        for page in feed.pages(after=begin, limit=limit):
            read += page.events
            assert page.position == page.events[-1]["data"]["transactionLast"] == page.events[-1]["data"]["position"]
            assert page.cursor == page.events[-1]["cursor"]
            transactions = {event["data"]["transactionId"] for event in page.events}
            assert len(page.events) <= limit or len(transactions) == 1
            assert page.caught_up == (page.events[-1] is read[-1] and len(read) == len(rest))
        assert read == rest


def test_a_page_has_a_hundred_events_unless_it_is_told_otherwise(feed: Feed) -> None:
    assert len(feed.page().events) <= 100 < len(feed.page().events) + 60
    assert len(feed.page(limit=1000).events) > 300


def wanted(event: Event, asked: dict[str, Any]) -> bool:
    """What a filter means, told a second time."""
    data = event["data"]
    return (
        (not asked.get("types") or event["type"] in ",".join(asked["types"]).split(","))
        and (not asked.get("holder") or data["holder"] in asked["holder"])
        and (not asked.get("currency") or data["currency"] in asked["currency"])
    )


def test_a_filtered_reader_gets_what_it_wants_and_nothing_else_and_still_comes_to_the_head(feed: Feed) -> None:
    everything, chance = feed.all(limit=1000), random.Random(3)
    head = everything[-1]["data"]["position"]
    for _ in range(30):
        asked: dict[str, Any] = {"limit": chance.choice([7, 100, 1000])}
        for name, there_are in (("types", TYPES), ("holder", [*HOLDERS, "nobody"]), ("currency", ["credits", "DAST"])):
            asked[name] = chance.sample(there_are, chance.randrange(min(4, len(there_are))))
        if len(asked["types"]) == 3:
            asked["types"] = [",".join(asked["types"][:2]), asked["types"][2]]
        hers = [event for event in everything if wanted(event, asked)]
        read = list(feed.pages(**asked))
        assert [event for page in read for event in page.events] == hers
        assert (read[-1].position, read[-1].cursor) == (head, everything[-1]["cursor"])
        assert len(read) <= 1 + len({event["data"]["transactionId"] for event in hers}) * 2 // asked["limit"] + 1


def test_a_filter_that_leaves_almost_all_out_comes_on_in_bounded_steps(
    log: Database, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SCANNED_EVENTS_MAX", 50)
    everything, rare, at = feed.all(limit=1000), "ledger.refunded", 0
    ends = {event["data"]["transactionLast"] for event in everything}
    found: list[int] = []
    with log.connect(Role.READER) as connection:
        while at < len(everything):
            page = pages.Log().page(connection, at, Filter(types=frozenset({rare})), 100)
            assert page.until == min(end for end in ends if end >= min(at + 50, len(everything)))
            assert page.caught_up == (page.until == len(everything))
            found += [message.position for message in page.messages]
            at = page.until
    assert found == [event["data"]["position"] for event in everything if event["type"] == rare] != []


def test_a_key_that_is_bound_sees_its_own_holders_and_no_rules(log: Database, feed: Feed) -> None:
    mine, others = HOLDERS[:2], HOLDERS[2]
    bound = Feed(feed.service, key_for(log, *mine)[1])
    seen = [event for event in feed.all(limit=1000) if event["data"]["holder"] in mine]
    assert bound.all() == seen != []
    assert bound.all(holder=mine[0]) == [event for event in seen if event["data"]["holder"] == mine[0]]
    assert bound.all(types="ledger.allocation-rule-defined") == []
    assert bound.page(after="latest").cursor == feed.page(after="latest").cursor
    refused = {"status": 403, "code": "IdentityForbidden", "needs": "to be for this customer or company"}
    for asked in ([others], [mine[0], others], ["nobody"]):
        assert bound.refusal(holder=asked) == refused
        assert bound.refusal({"Accept": "text/event-stream"}, holder=asked) == refused
    with bound.stream() as stream:
        assert stream.take(len(seen)) == seen


def test_a_reader_goes_on_from_a_cursor_a_position_the_newest_or_the_beginning(
    feed: Feed, writer: BlockingLedger, holder: str
) -> None:
    everything = feed.all(limit=1000)
    assert feed.page().events == feed.page(after="0").events == everything[: len(feed.page().events)]
    latest = feed.page(after="latest")
    assert (latest.events, latest.caught_up, latest.cursor) == ([], True, everything[-1]["cursor"])
    used = writer.consume(holder=holder, currency="credits", amount=1)
    for after in (latest.cursor, str(latest.position), str(used.position - 1)):
        (event,) = feed.page(after=after).events
        assert event["data"]["transactionId"] == used.transaction_id
    answer = feed.service.graphql("{ __typename }")
    assert feed.page(after=answer.headers["X-Ledger-Position"]).position == used.position
    inside = next(event for event in everything if event["data"]["position"] < event["data"]["transactionLast"])
    assert feed.page(after=inside["cursor"]).positions[0] == inside["data"]["position"] + 1


def test_the_feed_is_for_those_with_a_key_and_is_read_alone(feed: Feed) -> None:
    for key in ("", "unknown", "key-0.unknown"):
        assert feed.get({"X-API-KEY": key}).status_code == 401
        assert feed.get({"X-API-KEY": key, "Accept": "text/event-stream"}).json()["code"] == "Unauthenticated"
    assert feed.get({"X-API-KEY": KEY}).status_code == 200
    for method in ("HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        answer = feed.service.http.request(method, "/v1/events")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
