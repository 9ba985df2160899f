"""What is given up is kept, and everything can be sent again: what was parked, or all from a position on."""

from collections.abc import Iterator

import pytest

from ledger.domain.refusals import InvalidArgument
from ledger.store.database import Role
from service.webhooks.courier import Bounds
from service.webhooks.deliverer import Deliverer
from service.webhooks.endpoints import (
    backlog,
    disable_endpoint,
    enable_endpoint,
    parked_messages,
    replay_from,
    replay_parked,
)
from service.webhooks.schedule import Schedule
from tests.service.load import eventually
from tests.webhooks.receiving import SECONDS_MAX, Answer, Receiver
from tests.webhooks.sending import Sending, delivering

TAKEN, REFUSED = Answer(), Answer(500)
PARKED_MAX = 4


@pytest.fixture(scope="module")
def deliverer(sending: Sending) -> Iterator[Deliverer]:
    """It gives up so soon that several attempts of a message are noted together."""
    impatient = Schedule(retry_seconds=0.03, first_wait_seconds=0.005)
    with delivering(sending.database, schedule=impatient, bounds=Bounds(parked_max=PARKED_MAX)) as deliverer:
        yield deliverer


def parks(sending: Sending, receiver: Receiver, endpoint: str, holder: str, times: int) -> list[int]:
    """The receiver refuses what a holder uses until it is parked; the positions."""
    receiver.answer = lambda got: REFUSED if got.holder == holder else TAKEN
    positions = sending.uses(holder, times=times)
    assert eventually(lambda: sending.standing(endpoint).parked == times, SECONDS_MAX)
    return positions


def test_what_is_not_taken_in_time_is_parked_and_each_next_one_after_one_attempt_until_one_is_taken(
    sending: Sending, receiver: Receiver, holder: str, deliverer: Deliverer
) -> None:
    other = f"other-{holder}"
    sending.grants(other)
    endpoint, _ = sending.calls(receiver, holder, other)
    before = deliverer.tally.parked
    positions = parks(sending, receiver, endpoint, holder, 3)
    assert deliverer.tally.parked == before + 3
    parked = parked_messages(sending.database, endpoint, 10)
    assert [(each.position, each.holder, each.error) for each in parked] == [
        (position, holder, "answered 500") for position in positions
    ]
    assert parked[0].attempts > 1
    assert [each.attempts for each in parked[1:]] == [1, 1]
    tried = [attempt.position for attempt in sending.log(endpoint)]
    assert tried == [positions[0]] * parked[0].attempts + positions[1:]
    taken = sending.uses(other)
    receiver.until(lambda got: got[-1].position == taken[0])
    assert sending.standing(endpoint).state == "failing"
    receiver.answer = lambda _: TAKEN
    taken = sending.uses(holder)
    receiver.until(lambda got: got[-1].position == taken[0])
    assert eventually(lambda: sending.standing(endpoint).state == "enabled", SECONDS_MAX)
    assert sending.standing(endpoint).parked == 3
    with sending.database.connect(Role.WRITER) as connection:
        assert backlog(connection) == (0, 3, 0)


def test_what_is_parked_is_sent_again_in_order_before_what_waits(
    sending: Sending, receiver: Receiver, holder: str
) -> None:
    endpoint, _ = sending.calls(receiver, holder)
    positions = parks(sending, receiver, endpoint, holder, 3)
    disable_endpoint(sending.database, endpoint)
    positions += sending.uses(holder, times=3)
    receiver.answer = lambda _: TAKEN
    receiver.got.clear()
    _, count = replay_parked(sending.database, endpoint)
    enable_endpoint(sending.database, endpoint)
    receiver.has(6)
    assert (count, receiver.positions()) == (3, positions)
    assert sending.nothing_waits(endpoint)


def test_a_replay_from_a_position_sends_everything_from_there_once_and_in_order(
    sending: Sending, receiver: Receiver, holder: str
) -> None:
    """What was taken, what is parked, and what waits behind it."""
    endpoint, _ = sending.calls(receiver, holder)
    positions = sending.uses(holder, times=10)
    receiver.has(10)
    positions += parks(sending, receiver, endpoint, holder, 2)
    receiver.answer = lambda _: TAKEN
    receiver.got.clear()
    replay_from(sending.database, endpoint, positions[4])
    positions += sending.uses(holder)
    receiver.until(lambda got: len(got) >= len(positions) - 4)
    assert receiver.positions() == positions[4:]
    assert sending.nothing_waits(endpoint)


def test_a_replay_never_leaves_out_what_was_not_sent_yet(sending: Sending, receiver: Receiver, holder: str) -> None:
    endpoint, _ = sending.calls(receiver, holder)
    disable_endpoint(sending.database, endpoint)
    positions = sending.uses(holder, times=5)
    replay_from(sending.database, endpoint, positions[3])
    enable_endpoint(sending.database, endpoint)
    receiver.has(5)
    assert receiver.positions() == positions
    for nowhere in (0, positions[-1] + 1):
        with pytest.raises(InvalidArgument):
            replay_from(sending.database, endpoint, nowhere)


def test_an_endpoint_that_has_taken_nothing_for_long_is_disabled_before_too_much_is_parked(
    sending: Sending, receiver: Receiver, holder: str
) -> None:
    endpoint, _ = sending.calls(receiver, holder)
    parks(sending, receiver, endpoint, holder, PARKED_MAX)
    assert eventually(lambda: sending.standing(endpoint).state == "disabled", SECONDS_MAX)
    assert sending.standing(endpoint).disabled_why == f"{PARKED_MAX} of its messages are parked"
