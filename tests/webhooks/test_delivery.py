"""What an endpoint is sent: signed, in order for each holder, again until it takes it, and nothing else."""

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from standardwebhooks import Webhook, WebhookVerificationError

from ledger.store.database import Database
from service.feed.messages import EVERYTHING, Message
from service.webhooks import bodies
from service.webhooks import endpoints as webhooks
from service.webhooks.bodies import Bodies
from service.webhooks.courier import Bounds
from service.webhooks.deliverer import Deliverer
from service.webhooks.endpoints import create_endpoint, disable_endpoint, enable_endpoint, rotate_secret
from tests.service.load import eventually
from tests.webhooks.receiving import SECONDS_MAX, Answer, Received, Receiver
from tests.webhooks.sending import Sending, delivering, ledger_of

TAKEN, REFUSED = Answer(), Answer(500, body=b"no")


@pytest.fixture(scope="module")
def deliverer(sending: Sending) -> Iterator[Deliverer]:
    with delivering(sending.database, bounds=Bounds(attempt_seconds_max=2.0)) as deliverer:
        yield deliverer


def verifies(secret: str, received: Received) -> bool:
    try:
        Webhook(secret).verify(received.body, received.headers)
    except WebhookVerificationError:
        return False
    return True


def test_a_message_is_an_event_that_a_standard_webhooks_library_verifies(
    sending: Sending, receiver: Receiver, holder: str
) -> None:
    endpoint, secret = sending.calls(receiver, holder)
    (position,) = sending.uses(holder)
    (received,) = receiver.has(1)
    assert verifies(secret, received)
    assert not verifies(secret, received._replace(body=received.body.replace(b'"-1"', b'"-2"')))
    event = received.event
    assert (event["specversion"], event["type"], event["data"]["amount"]) == ("1.0", "ledger.debited", "-1")
    assert received.headers["webhook-id"] == event["id"]
    assert event["id"].endswith(f":{position}")
    assert received.headers["content-type"] == "application/cloudevents+json"
    assert received.path == "/hook"
    assert sending.nothing_waits(endpoint)
    (attempt,) = sending.log(endpoint)
    assert (attempt.position, attempt.attempt, attempt.status, attempt.error) == (position, 1, 204, None)


def test_a_new_secret_signs_beside_the_former_one_until_their_overlap_ends(
    sending: Sending, receiver: Receiver, holder: str
) -> None:
    endpoint, first = sending.calls(receiver, holder)

    def signed_by(secret: str) -> Received:
        """The first message that is signed with a secret; an operator's change is known within a second."""

        def asked() -> bool:
            count = len(receiver.got)
            sending.uses(holder)
            return verifies(secret, receiver.has(count + 1)[-1])

        assert eventually(asked, SECONDS_MAX)
        return receiver.got[-1]

    assert signed_by(first).headers["webhook-signature"].count("v1,") == 1
    _, second = rotate_secret(sending.database, endpoint, overlap=timedelta(hours=24))
    received = signed_by(second)
    assert verifies(first, received)
    assert received.headers["webhook-signature"].count("v1,") == 2
    _, third = rotate_secret(sending.database, endpoint, overlap=timedelta(0))
    received = signed_by(third)
    assert not verifies(first, received)
    assert not verifies(second, received)


def test_a_holder_who_is_not_taken_waits_in_order_and_keeps_nobody_else_waiting(
    sending: Sending, receiver: Receiver, holder: str
) -> None:
    others = [f"{holder}-{number}" for number in range(3)]
    for other in others:
        sending.grants(other)
    healed: list[bool] = []
    receiver.answer = lambda got: REFUSED if got.holder == holder and not healed else TAKEN
    endpoint, _ = sending.calls(receiver, holder, *others)
    positions = sending.uses(holder, *others, times=20)
    for number, other in enumerate(others, 1):
        receiver.until(lambda _, other=other: len(receiver.positions(other)) >= 20)  # type: ignore[misc]
        assert receiver.positions(other) == positions[number::4]
    assert set(receiver.positions(holder)) == {positions[0]}
    assert eventually(lambda: sending.standing(endpoint).waiting == 20, SECONDS_MAX)
    standing = sending.standing(endpoint)
    assert (standing.state, standing.failing, standing.error) == ("failing", 1, "answered 500")
    healed.append(True)
    receiver.until(lambda got: got[-1].position == positions[-4])
    tried = receiver.positions(holder)
    assert tried[tried.index(positions[0]) :][-20:] == positions[::4]
    assert len({got.headers["webhook-id"] for got in receiver.got if got.position == positions[0]}) == 1
    assert sending.nothing_waits(endpoint)
    assert sending.standing(endpoint).state == "enabled"


def test_an_endpoint_gets_the_types_and_holders_that_it_asked_for_and_nothing_else(
    sending: Sending, receiver: Receiver, holder: str
) -> None:
    sending.calls(receiver, holder, types=("ledger.granted",))
    sending.uses(holder)
    sending.grants(f"not-{holder}")
    granted = sending.grants(holder)
    assert [received.position for received in receiver.has(1)] == [granted]


def test_a_redirect_is_not_followed(sending: Sending, receiver: Receiver, holder: str) -> None:
    receiver.answer = lambda _: Answer(302, {"location": receiver.url.replace("/hook", "/elsewhere")})
    endpoint, _ = sending.calls(receiver, holder)
    sending.uses(holder)
    assert {received.path for received in receiver.has(3)} == {"/hook"}
    assert eventually(lambda: bool(sending.log(endpoint)), SECONDS_MAX)
    assert {(attempt.status, attempt.error) for attempt in sending.log(endpoint)} == {(302, "answered 302")}


def test_an_endpoint_that_is_gone_is_disabled_and_goes_on_there_when_it_is_enabled(
    sending: Sending, receiver: Receiver, holder: str
) -> None:
    receiver.answer = lambda _: Answer(410)
    endpoint, _ = sending.calls(receiver, holder)
    positions = sending.uses(holder, times=5)
    assert eventually(lambda: sending.standing(endpoint).state == "disabled", SECONDS_MAX)
    assert sending.standing(endpoint).disabled_why == f"it answered 410 Gone to position {positions[0]}"
    receiver.answer = lambda _: TAKEN
    positions += sending.uses(holder, times=5)
    assert receiver.positions() == positions[:1]
    enable_endpoint(sending.database, endpoint)
    receiver.has(11)
    assert receiver.positions() == positions[:1] + positions
    disable_endpoint(sending.database, endpoint)


def test_an_endpoint_that_asks_for_time_gets_it(sending: Sending, receiver: Receiver, holder: str) -> None:
    receiver.answer = lambda _: TAKEN if receiver.got else Answer(429, {"Retry-After": "1"})
    sending.calls(receiver, holder)
    sending.uses(holder)
    first, second = receiver.has(2)
    assert second.at - first.at >= 1.0


def test_an_endpoint_that_does_not_answer_is_given_up_in_time_and_keeps_no_other_waiting(
    sending: Sending, receiver: Receiver, holder: str
) -> None:
    with Receiver() as slow:
        slow.answer = lambda _: Answer(never=True)
        stuck, _ = sending.calls(slow, holder)
        endpoint, _ = sending.calls(receiver, holder)
        positions = sending.uses(holder, times=100)
        receiver.has(100)
        assert receiver.positions() == positions
        assert sending.nothing_waits(endpoint)
        assert eventually(lambda: bool(sending.log(stuck)), SECONDS_MAX)
        attempt = sending.log(stuck)[0]
        assert (attempt.status, attempt.error) == (None, "no answer in 2 s")
        assert 2000 <= attempt.milliseconds < 10_000
        webhooks.delete_endpoint(sending.database, stuck)


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_answer_that_does_not_end_is_an_answer(sending: Sending, receiver: Receiver, holder: str, size: int) -> None:
    """Its beginning says that the message was taken; only a little of the rest is waited for, and read."""
    receiver.answer = lambda _: Answer(200, {"content-length": "1000000000"}, b"a" * size)
    endpoint, _ = sending.calls(receiver, holder)
    positions = sending.uses(holder, times=2)
    receiver.has(2)
    assert sending.nothing_waits(endpoint)
    assert receiver.positions() == positions
    assert {(attempt.status, attempt.error) for attempt in sending.log(endpoint)} == {(200, None)}


def test_what_waits_is_bounded_and_the_rest_comes_from_the_log(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without any message kept in memory: each is read from the log when its turn has come."""
    monkeypatch.setattr(bodies, "KEPT_BYTES_MAX", 0)
    with ledger_of(database) as sending, Receiver() as receiver:
        receiver.answer = lambda _: REFUSED
        sending.grants("acme")
        endpoint, _ = sending.calls(receiver)
        positions = sending.uses("acme", times=200)
        with delivering(database, bounds=Bounds(waiting_max=20, page_events=10)):
            assert eventually(lambda: sending.standing(endpoint).waiting == 20, SECONDS_MAX)
            receiver.has(5)
            standing = sending.standing(endpoint)
            assert (standing.waiting, standing.position, standing.lag) == (20, positions[19], 180)
            assert set(receiver.positions()) == {positions[0]}
            receiver.answer = lambda _: TAKEN
            receiver.until(lambda got: got[-1].position == positions[-1])
            assert receiver.positions()[-200:] == positions
            assert sending.nothing_waits(endpoint)


def test_what_finds_no_room_in_memory_is_read_one_by_one_and_many_at_once_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One holder whose messages nobody takes fills the memory: the others' are read, but no more than is sent."""
    log = [Message(position, "", "", "", "", "", b"ten bytes!") for position in range(1, 101)]
    stuck, others = log[:50], log[50:]
    monkeypatch.setattr(bodies, "KEPT_BYTES_MAX", sum(len(each.body) for each in stuck))
    read: list[Message] = []

    async def reads(after: int, until: int) -> Sequence[Message]:
        read.extend(log[after:until])
        return log[after:until]

    kept = Bodies(reads, lambda _: True)
    kept.keep(log)

    async def sent(messages: Sequence[Message]) -> list[Message | None]:
        return [await kept.of(each.position) for each in messages]

    assert asyncio.run(sent(stuck)) == stuck
    assert read == []
    assert asyncio.run(sent(others)) == others == read
    read.clear()
    for each in stuck:
        kept.forget(each.position)
    assert asyncio.run(sent(others)) == others
    assert len(read) < 2 * len(others)


def test_a_connection_goes_to_the_address_that_was_checked_under_the_name_of_the_host(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No other look-up could find this name; its certificate is that of the name, not of the address."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority, trusted = trustme.CA(), tmp_path / "authority.pem"
    authority.issue_cert("hooks.example").configure_cert(context)
    authority.cert_pem.write_to_path(str(trusted))
    names: list[str | None] = []
    context.sni_callback = lambda _connection, name, _context: names.append(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    asked: list[tuple[str, int]] = []

    async def resolver(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    with ledger_of(database) as sending, Receiver(context=context) as receiver:
        url = f"https://hooks.example:{receiver.port}/hook?a=b"
        create_endpoint(database, url=url, wanted=EVERYTHING, private_targets=True, resolver=resolver)
        with delivering(database, resolver=resolver):
            sending.grants("acme")
            (received,) = receiver.has(1)
    assert received.headers["host"] == f"hooks.example:{receiver.port}"
    assert received.path == "/hook?a=b"
    assert names == ["hooks.example"]
    assert set(asked) == {("hooks.example", receiver.port)}


def test_a_name_that_leads_inside_by_now_is_not_connected_to(database: Database) -> None:
    """It was public when the endpoint was made: whoever owns the name may change that at any time."""
    inside: list[bool] = []

    async def resolver(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"] if inside else ["1.1.1.1"]

    with ledger_of(database) as sending, Receiver() as receiver:
        url = f"https://hooks.example:{receiver.port}/hook"
        made, _ = create_endpoint(database, url=url, wanted=EVERYTHING, resolver=resolver)
        inside.append(True)
        with delivering(database, private_targets=False, resolver=resolver):
            sending.grants("acme")
            assert eventually(lambda: len(sending.log(made.id)) > 1, SECONDS_MAX)
        refused = (
            "WebhookTargetForbidden: hooks.example is at 127.0.0.1, which is not an address of the public internet"
        )
        assert {(attempt.status, attempt.error) for attempt in sending.log(made.id)} == {(None, refused)}
        assert receiver.connections == 0
