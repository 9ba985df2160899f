"""Calendar months are stepped from an anchor and never drift; instants are aware, in UTC, to the microsecond."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from ledger.domain.instants import add_months, instant_of, months_between
from ledger.domain.refusals import InvalidArgument
from tests.domain.scenario import MICROSECOND, day

STEPS = [
    # anchor                    months  lands on
    ("2026-01-31",              0,      "2026-01-31"),
    ("2026-01-31",              1,      "2026-02-28"),
    ("2028-01-31",              1,      "2028-02-29"),
    ("2026-01-31",              2,      "2026-03-31"),
    ("2026-01-31",              3,      "2026-04-30"),
    ("2026-01-31",              12,     "2027-01-31"),
    ("2026-01-31",              25,     "2028-02-29"),
    ("2026-01-30",              1,      "2026-02-28"),
    ("2026-01-29",              1,      "2026-02-28"),
    ("2026-01-28",              1,      "2026-02-28"),
    ("2024-02-29",              12,     "2025-02-28"),
    ("2024-02-29",              48,     "2028-02-29"),
    ("2026-12-15",              1,      "2027-01-15"),
    ("2026-11-30",              3,      "2027-02-28"),
    ("1900-01-31",              1,      "1900-02-28"),  # a century is no leap year
    ("2000-01-31",              1,      "2000-02-29"),  # a fourth one is
    ("2026-03-31",              -1,     "2026-02-28"),
    ("2026-01-31",              -1,     "2025-12-31"),
    ("2026-01-31T23:59:59.999999", 1,   "2026-02-28T23:59:59.999999"),
]  # fmt: skip


@pytest.mark.parametrize(("anchor", "months", "expected"), STEPS)
def test_a_month_later_is_the_same_day_or_the_last_of_the_month(anchor: str, months: int, expected: str) -> None:
    assert add_months(day(anchor), months) == day(expected)


@pytest.mark.parametrize(
    ("anchor",       "instant",                      "months"),
    [
        ("2026-01-31", "2026-01-31",                 0),
        ("2026-01-31", "2026-02-27T23:59:59.999999", 0),
        ("2026-01-31", "2026-02-28",                 1),
        ("2026-01-31", "2026-03-30T23:59:59.999999", 1),
        ("2026-01-31", "2026-03-31",                 2),
        ("2026-01-31", "2026-04-29T23:59:59.999999", 2),
        ("2026-01-31", "2026-04-30",                 3),
        ("2024-02-29", "2025-02-27T23:59:59.999999", 11),
        ("2024-02-29", "2025-02-28",                 12),
        ("2026-12-15", "2027-01-14T23:59:59.999999", 0),
        ("2026-12-15", "2027-01-15",                 1),
        ("2026-01-15", "2026-01-14T23:59:59.999999", -1),
        ("2026-01-15", "2025-12-15",                 -1),
        ("2026-01-15", "2025-12-14T23:59:59.999999", -2),
    ],
)  # fmt: skip
def test_the_months_between_are_the_whole_ones(anchor: str, instant: str, months: int) -> None:
    assert months_between(day(anchor), day(instant)) == months


@pytest.mark.parametrize("anchor", ["2024-01-31", "2024-02-29", "2024-01-30", "2024-01-29", "2024-06-15T12:30"])
def test_ten_years_of_months_do_not_drift(anchor: str) -> None:
    start = day(anchor)
    steps = [add_months(start, months) for months in range(121)]
    assert steps[120] == start.replace(year=2034, day=28 if (start.month, start.day) == (2, 29) else start.day)
    for months, instant in enumerate(steps):
        last_of_month = (add_months(instant.replace(day=1), 1) - timedelta(days=1)).day
        assert instant.day == min(start.day, last_of_month)
        assert instant.timetz() == start.timetz()
        assert months_between(start, instant) == months
        assert months_between(start, instant - MICROSECOND) == months - 1


def test_an_instant_is_kept_in_utc_to_the_microsecond() -> None:
    east = datetime(2026, 1, 1, 1, 30, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    instant = instant_of(east, field="useAt")
    assert (instant, instant.tzinfo) == (datetime(2025, 12, 31, 20, 0, 0, 1, tzinfo=UTC), UTC)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (datetime(2026, 1, 1), "must be an instant with a time zone"),  # noqa: DTZ001  # the point of the test
        ("2026-01-01T00:00:00Z", "must be an instant with a time zone"),
        (None, "must be an instant with a time zone"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "must lie between the years 1 and 9999"),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2))), "must lie between the years 1 and 9999"),
    ],
)
def test_what_is_not_an_instant_is_refused(value: object, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        instant_of(value, field="useAt")
    assert refused.value.facts == {"field": "useAt", "reason": reason}
