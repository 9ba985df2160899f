"""What a subscriber asks next, when it tries again, and what it is told when it cannot go on."""

from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent

from service.client import CursorGone, LedgerClient, LedgerError, Page
from service.client.errors import error_of
from service.client.following import Filter, Pauses, Pulling, Streaming
from service.client.messages import page_of
from tests.client.reading import EVERY_WAY, IDS, Read
from tests.service.serving import Service

BEYOND = 1_000_000
JSON = {"timestamp": "", "status": 0, "error": "", "message": "why", "path": "", "code": "Told", "field": "x"}
ALL = Filter.of((), (), ())


def answer(status: int, body: str | None = None, **headers: str) -> httpx.Response:
    given = {"json": JSON} if body is None else {"text": body}
    request = httpx.Request("GET", "http://ledger.example/v1/events")
    return httpx.Response(status, headers=headers, request=request, **given)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 409])
def test_what_is_wrong_with_a_request_is_raised(status: int) -> None:
    with pytest.raises(LedgerError, match=f"^{status} Told: why$") as raised:
        Pauses(30).after(error_of(answer(status)))
    assert raised.value.facts == {"field": "x"}


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_waited_for_as_long_as_the_ledger_says(status: int) -> None:
    assert 7 <= Pauses(30).after(error_of(answer(status, **{"Retry-After": "7"}))) <= 10.5
    assert 0.1 <= Pauses(30).after(error_of(answer(status, "<h1>Bad gateway</h1>"))) <= 0.15


def test_pauses_double_up_to_a_bound_and_are_short_again_once_something_came() -> None:
    pauses = Pauses(30)
    waited = [pauses.after(None) for _ in range(2000)]
    for number in range(8):
        assert 0.1 * 2**number <= waited[number] <= 0.15 * 2**number
    assert set(waited[10:]) == {30}
    pauses.worked()
    assert pauses.after(None) <= 0.15


def test_an_answer_that_is_not_whole_is_asked_for_again_and_one_of_another_server_is_not() -> None:
    batch = "application/cloudevents-batch+json"
    for given, passes in (
        (answer(200, '[{"id": ', **{"Content-Type": batch}), True),
        (answer(200, "<h1>Welcome</h1>", **{"Content-Type": "text/html"}), False),
        (answer(200, "[{}]", **{"Content-Type": batch}), False),
    ):
        with pytest.raises(LedgerError) as raised:
            page_of(given)
        assert raised.value.may_pass is passes


def test_a_stream_goes_on_from_where_it_was_told_to_be_after_the_pause_it_was_told_to_make() -> None:
    streaming = Streaming(ALL, 5, 45, pauses=Pauses(30))
    assert streaming.take(ServerSentEvent(retry=4000)) is None
    assert ("after", "5") in streaming.asked()["params"]
    assert streaming.take(ServerSentEvent(id="the-head")) is None
    assert ("after", "the-head") in streaming.asked()["params"]
    assert 4 <= streaming.pauses.after(None) <= 6


def test_the_latest_events_of_a_stream_begin_at_the_head_of_the_first_try_that_succeeds() -> None:
    """Else those that come between two tries were lost."""
    streaming = Streaming(ALL, "latest", 45, pauses=Pauses(30))
    assert streaming.seeks_head
    streaming.begin(Page((), "a-cursor", 5, caught_up=True))
    assert not streaming.seeks_head
    assert ("after", "a-cursor") in streaming.asked()["params"]


def test_pages_without_events_lead_on_and_at_the_head_the_next_one_is_waited_for() -> None:
    pulling = Pulling(ALL, "latest", 10, follow=True, pauses=Pauses(30))
    assert {("after", "latest"), ("wait", "0")} < set(pulling.asked()["params"])
    assert pulling.take(Page((), "further", 7, caught_up=False)), "a new place to keep"
    assert {("after", "further"), ("wait", "0")} < set(pulling.asked()["params"])
    assert pulling.take(Page((), "head", 8, caught_up=True))
    assert {("after", "head"), ("wait", "30")} < set(pulling.asked()["params"])
    assert not pulling.take(Page((), "head", 8, caught_up=True)), "nothing new"


@pytest.mark.parametrize(("read", "door"), EVERY_WAY, ids=IDS)
def test_what_does_not_pass_by_itself_is_told_at_once(service: Service, read: Read, door: str) -> None:
    def told(key: str = service.key, **asked: Any) -> LedgerError:
        with pytest.raises(LedgerError) as raised:
            read(service.url, key, door, 1, **asked)
        return raised.value

    unknown = told(types=["ledger.nonsense"])
    assert (unknown.status, unknown.code, unknown.facts["field"]) == (400, "InvalidArgumentError", "types")
    stranger = told(key="nobody.knows")
    assert (stranger.status, stranger.code) == (401, "Unauthenticated")
    gone = told(after=BEYOND)
    assert isinstance(gone, CursorGone)
    assert (gone.status, gone.code) == (409, "CursorBeyondHead")


def test_a_trouble_is_logged_once_while_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    pauses, away = Pauses(30.0), LedgerError(None, "NoAnswer", "connection refused")
    for _ in range(3):
        pauses.after(away)
    assert [record.message for record in caplog.records] == [f"trying again until it passes: {away}"]
    pauses.worked()
    pauses.after(away)
    assert len(caplog.records) == 2


def test_where_the_log_ends_before_a_place_the_last_common_one_is_told(
    service: Service, log: list[dict[str, Any]]
) -> None:
    with LedgerClient(service.url, service.key) as client:
        with pytest.raises(CursorGone) as raised:
            client.page(BEYOND)
        gone = raised.value
        assert gone.last_common_position == len(log)
        assert client.page(gone.last_common_cursor) == Page((), log[-1]["cursor"], len(log), caught_up=True)


def test_a_subscriber_to_a_few_events_keeps_a_place_behind_all_that_are_not_for_it(
    service: Service, log: list[dict[str, Any]]
) -> None:
    head = log[-1]["cursor"]
    granted = [message["id"] for message in log if message["type"] == "ledger.granted"]
    with LedgerClient(service.url, service.key) as client:
        for chosen, expected in (({"types": "ledger.granted"}, granted), ({"currencies": ["none"]}, [])):
            pages = list(client.pages(**chosen, follow=False))
            assert [event.id for page in pages for event in page.events] == expected
            assert (pages[-1].cursor, pages[-1].caught_up) == (head, True)
            assert list(client.pages(head, **chosen, follow=False)) == []
