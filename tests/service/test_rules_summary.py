"""What a summary adds up: the credits that were there to use in a window, and what was used, of everybody together.

A service's tests share its sums, so each looks at what it adds to them. Some move the clock, forward only.
"""

import itertools
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.instants import add_months
from ledger.store.clock import set_test_clock
from ledger.store.database import Database, Role
from tests.service.executions import Company, delete, refund, update
from tests.service.rules import SUMMARY, Rules
from tests.service.serving import Service
from tests.service.test_graphql_clock import MICROSECOND, VOID, move, now
from tests.service.test_graphql_payments import COST, record

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND, DAY, YEAR = timedelta(milliseconds=1), timedelta(days=1), timedelta(days=365)
MARCH, APRIL = datetime(2100, 3, 1, tzinfo=UTC), datetime(2100, 4, 1, tzinfo=UTC)
TODAY: dict[str, Any] = {"type": "to_now", "value": "day"}
REST_OF_TODAY: dict[str, Any] = {"type": "from_now", "value": {"unit": "day"}}
LOTS = [
    # effective_at         expires_at             usable in March
    (MARCH,                APRIL,                 True),
    (MARCH - DAY,          MARCH,                 False),
    (MARCH - DAY,          MARCH + MICROSECOND,   True),
    (APRIL - MICROSECOND,  APRIL + DAY,           True),
    (APRIL,                APRIL + DAY,           False),
    (MARCH + DAY,          MARCH + 2 * DAY,       True),
    (MARCH - YEAR,         APRIL + YEAR,          True),
    (MARCH - YEAR,         None,                  True),
    (APRIL,                None,                  False),
]  # fmt: skip


@pytest.fixture
def rules(service: Service, customer: str) -> Rules:
    return Rules(service, customer)


def between(start: datetime, end: datetime) -> dict[str, Any]:
    """The absolute range [start, end); both are whole milliseconds."""
    times = [(instant - EPOCH) // MILLISECOND for instant in (start, end)]
    return {"type": "absolute", "value": dict(zip(("startTime", "endTime"), times, strict=True))}


class Sums:
    """What a summary of a range tells more than when this began."""

    def __init__(self, rules: Rules, time_range: dict[str, Any]) -> None:
        self._rules, self._range = rules, time_range
        self._before: tuple[Decimal | int, Decimal | int] = (0, 0)
        self._before = self.added

    @property
    def added(self) -> tuple[Decimal | int, Decimal | int]:
        """Purchased and used."""
        answer = self._rules.summary(timeRange=self._range)
        assert answer.status_code == 200, answer.text
        told = json.loads(answer.text, parse_float=Decimal, parse_int=Decimal)
        assert list(told) == ["purchased", "usage"]
        return told["purchased"] - self._before[0], told["usage"] - self._before[1]

    @property
    def purchased(self) -> Decimal | int:
        return self.added[0]

    @property
    def usage(self) -> Decimal | int:
        return self.added[1]


def test_a_ledger_without_credits_has_nothing_to_sum_up(rules: Rules) -> None:
    assert rules.summary().json() == {"purchased": 0, "usage": 0}


def test_purchased_is_what_was_usable_at_some_instant_of_the_window(rules: Rules) -> None:
    sums, wanted = Sums(rules, between(MARCH, APRIL)), Decimal(0)
    for number, (effective_at, expires_at, counts) in enumerate(LOTS):
        amount = Decimal(10**number)
        end = None if expires_at is None else expires_at.isoformat()
        rules.grant(amount, effectiveAt=effective_at.isoformat(), expireAt=end)
        wanted += amount * counts
        assert sums.purchased == wanted, (effective_at, expires_at)


def test_purchased_counts_an_allotment_as_its_last_update_left_it(service: Service, rules: Rules) -> None:
    sums, company = Sums(rules, TODAY), Company(service)
    credit = company.create("MONTHLY", credits=20)
    for allotment in (50, 10, 30):
        update(service, credit, credits=allotment)
        assert sums.purchased == allotment
    move(service, now(service) + MICROSECOND)
    delete(service, credit)
    assert sums.purchased == 30, "it was usable"


def test_purchased_counts_what_is_used_up_and_what_is_over(service: Service, rules: Rules) -> None:
    sums, begins, company = Sums(rules, TODAY), now(service), Company(service)
    company.create("ADDON", credits=5)
    company.debit(5)
    rules.grant(7, expireAt=(begins + MICROSECOND).isoformat())
    move(service, begins + MICROSECOND)
    assert sums.added == (12, 5)


def test_a_range_up_to_now_has_now_and_one_from_now_on_has_not(service: Service, rules: Rules) -> None:
    instant = now(service)
    midnight = (instant + DAY).replace(hour=0, minute=0, second=0, microsecond=0)
    for begins, ends, up_to_now, from_now in [
        (None,                         None,                      1, 1),
        (instant,                      instant + MICROSECOND,     1, 0),
        (instant,                      instant + 2 * MICROSECOND, 1, 1),
        (instant + MICROSECOND,        None,                      0, 1),
        (midnight - MICROSECOND,       midnight,                  0, 1),
        (midnight,                     None,                      0, 0),
    ]:  # fmt: skip
        today, rest = Sums(rules, TODAY), Sums(rules, REST_OF_TODAY)
        rules.grant(1, effectiveAt=begins and begins.isoformat(), expireAt=ends and ends.isoformat())
        assert (today.purchased, rest.purchased) == (up_to_now, from_now), (begins, ends)


def test_what_is_void_was_purchased_until_then(service: Service, rules: Rules) -> None:
    begins = (now(service) + DAY).replace(microsecond=0)
    move(service, begins)
    voided = begins + 2 * MILLISECOND
    windows = [(begins, begins + MILLISECOND), (voided - MILLISECOND, voided), (voided, voided + YEAR)]
    sums = [Sums(rules, between(*window)) for window in windows]
    lot, late = rules.grant(3), rules.grant(50, effectiveAt=voided.isoformat())
    assert [each.purchased for each in sums] == [3, 3, 53]
    move(service, voided)
    for grant in (lot, late):
        service.data(VOID, input={"id": grant})
    assert [each.purchased for each in sums] == [3, 3, 0]


def test_what_is_not_paid_is_purchased_from_its_payment_on(service: Service, rules: Rules) -> None:
    begins = (now(service) + DAY).replace(microsecond=0)
    move(service, begins)
    paid = begins + MILLISECOND
    sums = [
        Sums(rules, between(*window))
        for window in ((begins, paid), (paid, paid + MILLISECOND), (begins, begins + YEAR))
    ]
    awaiting: dict[str, Any] = {"cost": COST, "paymentCollectionMethod": "CHARGE"}
    grant = rules.grant(3, **awaiting)
    rules.grant(50, **awaiting)
    assert [each.purchased for each in sums] == [0, 0, 0]
    move(service, paid)
    record(service, {"id": grant}, "NOT_REQUIRED")
    assert [each.purchased for each in sums] == [0, 3, 3]


def test_execution_credits_are_purchased_and_used_like_grants(service: Service, rules: Rules) -> None:
    company = Company(service)
    sums = Sums(rules, TODAY)
    company.create("ADDON", credits=30)
    assert sums.added == (30, 0)
    debit = company.debit(7)
    company.debit(8, accountGroupIds=["a", "b"])
    assert sums.added == (30, 15)
    refund(service, debit, 5)
    assert sums.added == (30, 10)


def test_a_period_that_is_due_is_purchased_when_it_begins(schema: Database, service: Service, rules: Rules) -> None:
    anchor = (now(service) + YEAR).replace(day=31, month=1, hour=12, minute=0, second=0, microsecond=0)
    move(service, anchor)
    periods = [add_months(anchor, number) for number in range(5)]
    sums = [Sums(rules, between(*window)) for window in itertools.pairwise(periods)]
    whole = Sums(rules, between(anchor, periods[-1]))
    Company(service).create("MONTHLY", credits=10)
    for instant, begun in [
        (anchor,                   1),
        (periods[1] - MICROSECOND, 1),
        (periods[1],               2),
        (periods[3] - MICROSECOND, 3),
        (periods[3],               4),
    ]:  # fmt: skip
        with schema.connect(Role.WRITER) as connection:
            set_test_clock(connection, instant)  # and nobody is told
        assert whole.purchased == 10 * begun
        assert [each.purchased for each in sums] == [10] * begun + [0] * (4 - begun)


def test_usage_is_all_that_was_used_tagged_or_not_less_what_came_back(rules: Rules) -> None:
    month = between(datetime(1991, 5, 1, tzinfo=UTC), datetime(1991, 6, 1, tzinfo=UTC))
    assert rules.summary(timeRange=month).text == '{"purchased": 0, "usage": 0}'
    for amount, groups, at in [
        ("1000",        [],         "1991-04-30T23:59:59.999999Z"),
        ("0.000000001", [],         "1991-05-01T00:00:00Z"),
        ("20",          ["a"],      "1991-05-15T00:00:00Z"),
        ("300",         ["a", "b"], "1991-05-31T23:59:59.999999Z"),
        ("4000",        ["a"],      "1991-06-01T00:00:00Z"),
    ]:  # fmt: skip
        rules.use(amount, *groups, at=at)
    assert rules.summary(timeRange=month).text == '{"purchased": 0, "usage": 320.000000001}'
    use = rules.use("1234567890123456789.123456787", at="1991-05-02T00:00:00Z", currency="tokens")
    assert rules.summary(timeRange=month).text == '{"purchased": 0, "usage": 1234567890123457109.123456788}'
    rules.refund(use, "0.000000001")
    rules.refund(use)
    assert rules.summary(timeRange=month).text == '{"purchased": 0, "usage": 320.000000001}'


def test_without_a_range_the_last_month_is_summed_up(service: Service, rules: Rules) -> None:
    instant = now(service)
    first = add_months(instant, -1)
    before = service.http.post(SUMMARY).json()["usage"]
    for amount, at in [(1, first - MICROSECOND), (10, first), (100, instant)]:
        rules.use(amount, at=at.isoformat())
    assert rules.summary().json()["usage"] == before + 110
    requests: list[dict[str, Any]] = [
        {}, {"content": b""}, {"content": b"null"}, {"json": {}}, {"json": {"timeRange": None}},
        {"json": {"timeRange": {"type": "relative", "value": {"unit": "month", "amount": 1}}}},
    ]  # fmt: skip
    assert {service.http.post(SUMMARY, **request).text for request in requests} == {rules.summary().text}


def test_a_summary_has_no_filters(rules: Rules) -> None:
    message = rules.refused(SUMMARY, ruleNames=[], limit=1)
    assert "ruleNames is not known" in message
    assert "limit is not known" in message
