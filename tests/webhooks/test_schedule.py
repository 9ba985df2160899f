"""When a message that was not taken is sent again, and when it is given up."""

import random

import pytest

from service.webhooks.schedule import THREE_DAYS_SECONDS, Schedule, Trouble

DAY, HOUR = 24 * 3600, 3600
SCHEDULE = Schedule()
MIDDLE = 0.5
"""The chance that makes a wait neither longer nor shorter."""


def attempts_of(schedule: Schedule, chance: random.Random) -> list[float]:
    """The seconds at which a message is tried that nobody takes, until it is given up."""
    trouble, at = Trouble(1, 0.0, "answered 500"), [0.0]
    while not schedule.gives_up(trouble):
        seconds = schedule.wait_seconds(trouble, chance.random())
        trouble = trouble.again(seconds, "answered 500")
        at.append(at[-1] + seconds)
    return at


def test_waits_double_from_five_seconds_to_six_hours() -> None:
    waits = [SCHEDULE.wait_seconds(Trouble(attempts, 0.0, ""), MIDDLE) for attempts in range(1, 16)]
    assert waits[:5] == [5, 10, 20, 40, 80]
    assert waits[-3:] == [5 * 2**12, 6 * HOUR, 6 * HOUR]


def test_a_wait_is_a_quarter_longer_or_shorter_at_most_so_that_not_all_come_at_once() -> None:
    trouble = Trouble(3, 100.0, "")
    assert [SCHEDULE.wait_seconds(trouble, chance) for chance in (0.0, MIDDLE, 1.0)] == [15, 20, 25]


@pytest.mark.parametrize("seed", range(20))
def test_a_message_is_tried_for_three_days_to_the_end_and_not_longer(seed: int) -> None:
    at = attempts_of(SCHEDULE, random.Random(seed))
    assert at[-1] == pytest.approx(3 * DAY)
    assert 20 <= len(at) <= 30


def test_patience_is_what_is_set() -> None:
    assert attempts_of(Schedule(retry_seconds=60), random.Random(1))[-1] == pytest.approx(60)


def test_while_nothing_is_taken_for_three_days_each_next_message_has_one_attempt() -> None:
    trouble = Trouble(25, float(THREE_DAYS_SECONDS), "answered 500")
    assert SCHEDULE.gives_up(trouble)
    assert SCHEDULE.gives_up(trouble.again(0.1, "answered 500"))
    assert SCHEDULE.wait_seconds(trouble, MIDDLE) == 0


@pytest.mark.parametrize(
    ("asked", "waits"), [(0, 5), (2, 5), (60, 60), (HOUR, HOUR), (DAY, HOUR)]
)  # fmt: skip
def test_who_asks_to_be_left_alone_is_for_an_hour_at_most(asked: float, waits: float) -> None:
    assert SCHEDULE.wait_seconds(Trouble(1, 0.0, ""), MIDDLE, asked) == waits
