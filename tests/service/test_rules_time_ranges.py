"""Which uses a range of time means, to the microsecond; asked of a list, where each use counts for a rule.

These tests move the clock, forward only: each begins where the one before it ended.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.service.rules import LIST, SUMMARY, Rules
from tests.service.serving import Service
from tests.service.test_graphql_clock import MICROSECOND, move, now

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND, HOUR = timedelta(milliseconds=1), timedelta(hours=1)
LAST_MILLISECOND = 253_402_300_799_999
INT64_MAX = 2**63 - 1
MUCH = 10**30
UGLY = "2026-03-31T12:34:56.789012+00:00"
LEAP_DAY = "2028-02-29T23:59:59.999999+00:00"
LAST_OF_MARCH = "2028-03-31T00:00:00+00:00"
NEW_YEAR = "2029-01-01T00:00:00+00:00"
AT_THE_END = "9999-12-31T23:59:59.999998+00:00"
"""The last instant at which anything is usable."""
MONTH = {"unit": "month", "amount": 1}
UP_TO_NOW = [
    (UGLY, "relative", {"unit": "hour", "amount": 1}, "2026-03-31T11:34:56.789012"),
    (UGLY, "relative", {"unit": "hour", "amount": 1.0}, "2026-03-31T11:34:56.789012"),
    (UGLY, "relative", {"unit": "hour", "amount": 36}, "2026-03-30T00:34:56.789012"),
    (UGLY, "relative", {"unit": "day", "amount": 1}, "2026-03-30T12:34:56.789012"),
    (UGLY, "relative", {"unit": "day", "amount": 31}, "2026-02-28T12:34:56.789012"),
    (UGLY, "relative", {"unit": "week", "amount": 1}, "2026-03-24T12:34:56.789012"),
    (UGLY, "relative", {"unit": "week", "amount": 5}, "2026-02-24T12:34:56.789012"),
    (UGLY, "relative", {"unit": "month", "amount": 1}, "2026-02-28T12:34:56.789012"),
    (UGLY, "relative", {"unit": "month", "amount": 2}, "2026-01-31T12:34:56.789012"),
    (UGLY, "relative", {"unit": "month", "amount": 4}, "2025-11-30T12:34:56.789012"),
    (UGLY, "relative", {"unit": "month", "amount": 25}, "2024-02-29T12:34:56.789012"),
    (UGLY, "relative", {"unit": "year", "amount": 1}, "2025-03-31T12:34:56.789012"),
    (UGLY, "relative", {"unit": "year", "amount": 56}, "1970-03-31T12:34:56.789012"),
    (UGLY, "relative", {"unit": "year", "amount": 57}, "1970-01-01T00:00:00"),
    (UGLY, "relative", {"unit": "month", "amount": 56 * 12 + 3}, "1970-01-01T00:00:00"),
    (UGLY, "relative", {"unit": "hour", "amount": MUCH}, "1970-01-01T00:00:00"),
    (UGLY, "relative", {"unit": "week", "amount": MUCH}, "1970-01-01T00:00:00"),
    (UGLY, "relative", {"unit": "year", "amount": MUCH}, "1970-01-01T00:00:00"),
    (UGLY, "to_now", "hour", "2026-03-31T12:00:00"),
    (UGLY, "to_now", "day", "2026-03-31T00:00:00"),
    (UGLY, "to_now", "month", "2026-03-01T00:00:00"),
    (UGLY, "to_now", "year", "2026-01-01T00:00:00"),
    (LEAP_DAY, "relative", {"unit": "year", "amount": 1}, "2027-02-28T23:59:59.999999"),
    (LEAP_DAY, "relative", {"unit": "year", "amount": 4}, "2024-02-29T23:59:59.999999"),
    (LEAP_DAY, "relative", {"unit": "month", "amount": 12}, "2027-02-28T23:59:59.999999"),
    (LEAP_DAY, "to_now", "hour", "2028-02-29T23:00:00"),
    (LEAP_DAY, "to_now", "month", "2028-02-01T00:00:00"),
    (LAST_OF_MARCH, "relative", {"unit": "month", "amount": 1}, "2028-02-29T00:00:00"),
    (NEW_YEAR, "relative", {"unit": "month", "amount": 1}, "2028-12-01T00:00:00"),
    (NEW_YEAR, "to_now", "hour", "2029-01-01T00:00:00"),
    (NEW_YEAR, "to_now", "day", "2029-01-01T00:00:00"),
    (NEW_YEAR, "to_now", "month", "2029-01-01T00:00:00"),
    (NEW_YEAR, "to_now", "year", "2029-01-01T00:00:00"),
]
WHOLE = "must be a whole number of at least 1"
CALENDAR = "must be one of hour, day, month, year"
MILLISECONDS = "must be a whole number from 0 to 9223372036854775807: milliseconds since the epoch"
BOTH_TIMES = [f"timeRange.value.{name} {MILLISECONDS}" for name in ("startTime", "endTime")]
REFUSED: list[tuple[Any, list[str]]] = [
    (5, ["timeRange must be an object with type and value"]),
    ("month", ["timeRange must be an object"]),
    ([], ["timeRange must be an object"]),
    ({}, ["timeRange.type must be one of relative, absolute, to_now, from_now"]),
    *(
        ({"type": kind, "value": MONTH}, ["timeRange.type must be one of"])
        for kind in (None, "", "Relative", "toNow", 1, True, ["relative"], {"relative": 1})
    ),
    ({"type": "relative", "value": MONTH, "zone": "UTC"}, ["timeRange.zone is not known"]),
    ({"zone": "UTC"}, ["timeRange.zone is not known", "timeRange.type"]),
    ({"type": "relative"}, ["timeRange.value must be an object with unit and amount"]),
    *(({"type": "relative", "value": value}, ["timeRange.value must be"]) for value in (None, "month", 1, [MONTH])),
    ({"type": "relative", "value": {}}, ["timeRange.value.unit must be one of", f"timeRange.value.amount {WHOLE}"]),
    ({"type": "relative", "value": {"unit": "month"}}, [f"timeRange.value.amount {WHOLE}"]),
    ({"type": "relative", "value": {"amount": 1}}, ["timeRange.value.unit must be one of hour, day, week"]),
    *(
        ({"type": "relative", "value": MONTH | {"unit": unit}}, ["timeRange.value.unit must be one of"])
        for unit in (None, "", "minute", "Month", "months", 1, ["month"])
    ),
    *(
        ({"type": "relative", "value": MONTH | {"amount": amount}}, [f"timeRange.value.amount {WHOLE}"])
        for amount in (None, 0, -1, -MUCH, 0.5, 1.5, "1", True, [1])
    ),
    ({"type": "relative", "value": MONTH | {"startTime": 0}}, ["timeRange.value.startTime is not known"]),
    ({"type": "absolute"}, ["timeRange.value must be an object with startTime and endTime"]),
    *(({"type": "absolute", "value": value}, ["timeRange.value must be"]) for value in (None, 0, "2026", [0, 1])),
    ({"type": "absolute", "value": {}}, BOTH_TIMES),
    ({"type": "absolute", "value": {"startTime": 0}}, [f"timeRange.value.endTime {MILLISECONDS}"]),
    ({"type": "absolute", "value": {"endTime": 1}}, [f"timeRange.value.startTime {MILLISECONDS}"]),
    *(
        ({"type": "absolute", "value": {"startTime": time, "endTime": time}}, BOTH_TIMES)
        for time in (None, -1, 0.5, "0", "2026-01-31T12:00:00Z", True, INT64_MAX + 1, MUCH)
    ),
    *(
        ({"type": "absolute", "value": {"startTime": start, "endTime": end}}, ["value.startTime must be before"])
        for start, end in ((0, 0), (2, 1), (INT64_MAX, INT64_MAX), (INT64_MAX, 0))
    ),
    ({"type": "absolute", "value": {"startTime": 0, "endTime": 1, "unit": 1}}, ["timeRange.value.unit is not known"]),
    *(
        ({"type": kind, "value": value}, [f"timeRange.value {CALENDAR}"])
        for kind in ("to_now", "from_now") for value in (None, "week", "Month", "", 1, ["month"])
    ),
    *(
        ({"type": kind, "value": value}, [f"timeRange.value.unit {CALENDAR}"])
        for kind in ("to_now", "from_now") for value in ({}, {"unit": None}, {"unit": "week"}, {"unit": 1})
    ),
    ({"type": "to_now"}, [f"timeRange.value {CALENDAR}"]),
    ({"type": "from_now", "value": MONTH}, ["timeRange.value.amount is not known"]),
]  # fmt: skip


@pytest.fixture
def rules(service: Service, customer: str) -> Rules:
    return Rules(service, customer)


def at(service: Service, instant: str) -> datetime:
    """The clock where a test needs it."""
    wanted = datetime.fromisoformat(instant)
    if now(service) != wanted:
        move(service, wanted)
    return wanted


def use_at(rules: Rules, *amounts: tuple[int, datetime]) -> None:
    for amount, instant in amounts:
        rules.use(amount, rules.group, at=instant.isoformat())


def milliseconds(instant: datetime) -> int:
    return (instant - EPOCH) // MILLISECOND


@pytest.mark.parametrize(("clock", "kind", "value", "start"), UP_TO_NOW)
def test_a_range_up_to_now_has_its_first_instant_and_its_last(
    service: Service, rules: Rules, clock: str, kind: str, value: Any, start: str
) -> None:
    last, first = at(service, clock), datetime.fromisoformat(f"{start}+00:00")
    rule = rules.define()
    use_at(rules, (1, first - MICROSECOND), (10, first), (100, last))
    spellings = [value, {"unit": value}] if isinstance(value, str) else [value]
    assert [rules.used(rule, timeRange={"type": kind, "value": each}) for each in spellings] == [110] * len(spellings)


def test_without_a_range_the_last_month_is_meant(service: Service, rules: Rules) -> None:
    last = at(service, NEW_YEAR)
    first = datetime(2028, 12, 1, tzinfo=UTC)
    rule = rules.define()
    use_at(rules, (1, first - MICROSECOND), (10, first), (100, last))
    requests: list[dict[str, Any]] = [
        {}, {"content": b""}, {"content": b" "}, {"content": b"null"}, {"json": {}}, {"json": {"timeRange": None}},
        {"json": {"timeRange": {"type": "relative", "value": {"unit": "month", "amount": 1}}}},
    ]  # fmt: skip
    for request in requests:
        answer = service.http.post(LIST, **request).json()
        assert {told["id"]: told["usedCredits"] for told in answer["rules"]}[rule["id"]] == 110


def test_only_an_absolute_range_ends_before_its_end(service: Service, rules: Rules) -> None:
    last = at(service, NEW_YEAR)
    first = datetime(2028, 12, 24, 18, 0, 0, 1000, UTC)
    end = first + MILLISECOND
    rule = rules.define()
    use_at(rules, (1, first - MICROSECOND), (10, first), (100, end - MICROSECOND), (1000, end), (10_000, last))
    for start, until, used in [
        (first,              end,                110),
        (first,              end + MILLISECOND,  1110),
        (first - MILLISECOND, end,               111),
        (end,                last,               1000),
        (end,                last + MILLISECOND, 11_000),
        (EPOCH,              first,              1),
        (last,               last + MILLISECOND, 10_000),
        (last + MILLISECOND, last + HOUR,        0),
    ]:  # fmt: skip
        value = {"startTime": milliseconds(start), "endTime": milliseconds(until)}
        assert rules.used(rule, timeRange={"type": "absolute", "value": value}) == used


@pytest.mark.parametrize(
    ("start", "end", "used"),
    [
        (0, 1, 10),
        (0, INT64_MAX, 110),
        (1, INT64_MAX, 100),
        (0.0, 9.223372036854775e18, 110),
        (INT64_MAX - 1, INT64_MAX, 0),
        (LAST_MILLISECOND, INT64_MAX, 0),
    ],
)
def test_a_range_is_cut_to_the_years_1970_to_9999(
    service: Service, rules: Rules, start: float, end: float, used: int
) -> None:
    last = at(service, NEW_YEAR)
    rule = rules.define()
    use_at(rules, (1, EPOCH - MICROSECOND), (10, EPOCH), (100, last))
    assert rules.used(rule, timeRange={"type": "absolute", "value": {"startTime": start, "endTime": end}}) == used


@pytest.mark.parametrize("unit", ["hour", "day", "month", "year"])
def test_from_now_on_nothing_is_used(service: Service, rules: Rules, unit: str) -> None:
    last = at(service, NEW_YEAR)
    rule = rules.define()
    use_at(rules, (1, last - MICROSECOND), (10, last))
    for value in (unit, {"unit": unit}):
        assert rules.used(rule, timeRange={"type": "from_now", "value": value}) == 0


@pytest.mark.parametrize(("given", "told"), REFUSED)
def test_what_is_wrong_with_a_range_is_told_by_its_name(rules: Rules, given: Any, told: list[str]) -> None:
    for path in (LIST, SUMMARY):
        message = rules.refused(path, timeRange=given)
        assert [each for each in told if each not in message] == [], message


def test_the_end_of_the_calendar_has_ranges_too(service: Service, rules: Rules) -> None:
    at(service, AT_THE_END)
    rule = rules.define()
    rules.use(7, rules.group)
    for unit in ("hour", "day", "week", "month", "year"):
        for amount in (1, MUCH):
            assert rules.used(rule, timeRange={"type": "relative", "value": {"unit": unit, "amount": amount}}) == 7
    for unit in ("hour", "day", "month", "year"):
        assert rules.used(rule, timeRange={"type": "to_now", "value": unit}) == 7
        assert rules.used(rule, timeRange={"type": "from_now", "value": unit}) == 0
