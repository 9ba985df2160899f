"""Schedules: what is granted when, in which parts, each part once, however long nobody looked."""

from decimal import Decimal

import pytest

from ledger.domain.credits import credits_text
from ledger.domain.events import Debited, Expired, Granted, GrantScheduleDefined
from ledger.domain.grant_schedule import next_grant_at
from ledger.domain.instants import Instant
from ledger.domain.lots import LawBroken
from ledger.domain.refusals import GrantScheduleNotFound, InvalidArgument
from ledger.domain.values import BillingPeriod, Cadence, Cause, GrantType
from tests.domain.grant_steps import AT_ONCE, MONTH, MONTHLY, YEAR, end_of_month, end_schedule, schedule
from tests.domain.scenario import (
    MICROSECOND,
    START,
    Scenario,
    at,
    changed,
    consume,
    day,
    fact,
    given,
    issue,
    settle,
    texts_of,
    units,
    void,
)

FEB, MARCH, APRIL = day("2026-02-28"), day("2026-03-31"), day("2026-04-30")
NEXT_YEAR, YEAR_AFTER = day("2027-01-31"), day("2028-01-31")


def granted(scenario: Scenario) -> list[Granted]:
    return [event for event in scenario.book.log if isinstance(event, Granted)]


FIRST = [
    # cadence   period  what the first part has   it ends
    (AT_ONCE,   MONTH,  120,                      FEB),
    (AT_ONCE,   YEAR,   120,                      NEXT_YEAR),
    (MONTHLY,   MONTH,  120,                      FEB),
    (MONTHLY,   YEAR,   10,                       FEB),
]  # fmt: skip


@pytest.mark.parametrize(("cadence", "period", "amount", "ends"), FIRST)
def test_a_schedule_is_defined_and_grants_the_part_that_has_begun(
    cadence: Cadence, period: BillingPeriod, amount: int, ends: Instant
) -> None:
    scenario = given().when(schedule("S", 120, cadence=cadence, period=period, cost=24, priority=7))
    scenario.then(
        fact(GrantScheduleDefined, originator_id="S", originator_version=1),
        fact(Granted, "S0", amount, cause=Cause.SCHEDULED, grant_type=GrantType.SUBSCRIPTION, effective_at=START,
             originator_version=1),
    )  # fmt: skip
    first = granted(scenario)[0]
    assert first.terms.model_dump() == {
        "effective_at": START, "expires_at": ends, "created_at": START, "priority": Decimal(7),
        "awaiting_payment": False,
    }  # fmt: skip
    assert first.grant is not None
    assert (first.grant.cost.amount, first.grant.cost.currency) == (Decimal(amount) / 5, "EUR")
    assert first.transaction.document == texts_of("S")
    assert len({event.transaction.transaction_id for event in scenario.events}) == 1


@pytest.mark.parametrize(("cadence", "period", "amount", "ends"), FIRST)
def test_the_next_part_comes_when_the_one_before_it_ends(
    cadence: Cadence, period: BillingPeriod, amount: int, ends: Instant
) -> None:
    scenario = given(schedule("S", 120, cadence=cadence, period=period), at(ends - MICROSECOND)).when(settle())
    scenario.then().when(at(ends), settle()).then(
        fact(Expired, "S0", -amount, cause=Cause.LAPSED, effective_at=ends, rolled_over_to=None),
        fact(Granted, "S1", amount, cause=Cause.SCHEDULED, effective_at=ends),
    )
    assert [event.transaction.recorded_at for event in scenario.events] == [ends, ends]
    lapse, part = scenario.events
    assert lapse.transaction.transaction_id != part.transaction.transaction_id
    assert (lapse.transaction.document, part.transaction.document) == (None, texts_of("S"))
    scenario.when(settle()).then()


PARTED = [
    # of a year   each month     the last        cost    each month      the last
    ("120",       "10",          "10",           "12",   "1",            "1"),
    ("100",       "8.333333333", "8.333333337",  "10",   "0.833333333",  "0.833333337"),
    ("0.000000012", "0.000000001", "0.000000001", "0.000000001", "0",    "0.000000001"),
    ("0.000000023", "0.000000001", "0.000000012", "0",   "0",            "0"),
    (str(10**18 * 9), "750000000000000000", "750000000000000000", "1", "0.083333333", "0.083333337"),
]  # fmt: skip


@pytest.mark.parametrize(("amount", "each", "last", "cost", "each_cost", "last_cost"), PARTED)
def test_a_year_in_monthly_parts_adds_up_and_the_last_one_takes_the_remainder(
    amount: str, each: str, last: str, cost: str, each_cost: str, last_cost: str
) -> None:
    scenario = given(schedule("S", amount, cadence=MONTHLY, period=YEAR, cost=cost), at(YEAR_AFTER - MICROSECOND)).when(
        settle()
    )
    parts = granted(scenario)
    assert [credits_text(part.amount) for part in parts] == ([each] * 11 + [last]) * 2
    costs = [part.grant.cost.amount for part in parts if part.grant is not None]
    assert costs == ([Decimal(each_cost)] * 11 + [Decimal(last_cost)]) * 2
    assert sum(part.amount for part in parts[:12]) == units(amount)
    assert sum(costs[12:]) == Decimal(cost)


STEPS = [
    # anchor                        period  when the parts begin
    (day("2026-01-31"),             MONTH,  ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]),
    (day("2026-01-30"),             MONTH,  ["2026-01-30", "2026-02-28", "2026-03-30", "2026-04-30"]),
    (day("2027-12-31"),             MONTH,  ["2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31"]),
    (day("2028-02-29"),             YEAR,   ["2028-02-29", "2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]),
    (day("2026-03-01T23:59:59.999999"), MONTH, ["2026-03-01T23:59:59.999999", "2026-04-01T23:59:59.999999"]),
]  # fmt: skip


@pytest.mark.parametrize(("anchor", "period", "begin"), STEPS)
def test_parts_step_through_the_calendar_without_drift(
    anchor: Instant, period: BillingPeriod, begin: list[str]
) -> None:
    scenario = given(at(anchor), schedule("S", 1, period=period), at(day(begin[-1]))).when(settle())
    parts = granted(scenario)
    assert [part.terms.effective_at for part in parts] == [day(text) for text in begin]
    assert [part.terms.expires_at for part in parts[:-1]] == [day(text) for text in begin[1:]]


@pytest.mark.parametrize("cadence", [AT_ONCE, MONTHLY])
def test_ten_years_that_nobody_looked_at_are_caught_up_in_order_each_part_once(cadence: Cadence) -> None:
    asleep = given(schedule("S", 12, cadence=cadence, period=MONTH), at(end_of_month(120))).when(settle())
    watched = given(schedule("S", 12, cadence=cadence, period=MONTH))
    for month in range(1, 121):
        watched.when(at(end_of_month(month)), settle())
    told = [
        [(type(event), event.effective_at, event.amount) for event in each.book.log[1:]]  # type: ignore[union-attr]
        for each in (asleep, watched)
    ]
    assert told[0] == told[1]
    scheduled = [part.grant.scheduled.part for part in granted(asleep) if part.grant and part.grant.scheduled]
    assert scheduled == list(range(121))
    assert [part.terms.effective_at for part in granted(asleep)] == [end_of_month(month) for month in range(121)]
    assert {part.transaction.recorded_at for part in granted(asleep)[1:]} == {end_of_month(120)}
    asleep.when(settle()).then().holding(S120=12)


def test_what_is_due_is_written_in_the_order_of_its_instants_whatever_it_is() -> None:
    """At the same instant, ends come before beginnings; two schedules go by their ids."""
    given(
        issue("A", 1, ends=day("2026-03-15")), issue("B", 1, ends=FEB), schedule("S", 5), schedule("T", 7, priority=60),
        issue("C", 1), at(MARCH),
    ).when(consume(13)).then(
        fact(Expired, "B", -1, effective_at=FEB),
        fact(Expired, "S0", -5, effective_at=FEB),
        fact(Expired, "T0", -7, effective_at=FEB),
        fact(Granted, "S1", 5, effective_at=FEB),
        fact(Granted, "T1", 7, effective_at=FEB),
        fact(Expired, "A", -1, effective_at=day("2026-03-15")),
        fact(Expired, "S1", -5, effective_at=MARCH),
        fact(Expired, "T1", -7, effective_at=MARCH),
        fact(Granted, "S2", 5, effective_at=MARCH),
        fact(Granted, "T2", 7, effective_at=MARCH),
        fact(Debited, "S2", -5), fact(Debited, "C", -1), fact(Debited, "T2", -7),
    )  # fmt: skip


def test_what_was_due_is_dropped_with_a_command_that_is_refused() -> None:
    """`when` itself checks that the refused command left the pool, its schedules included, as it was."""
    scenario = given(schedule("S", 5), at(APRIL)).when(end_schedule("T")).then_refused(
        GrantScheduleNotFound, schedule="T"
    )  # fmt: skip
    scenario.when(settle())
    assert len(granted(scenario)) == 4


ANCHORS = [
    # the anchor, the part that is granted at once, when the schedule grants next
    ("two months ago, today",         day("2025-11-30"),     2, FEB),
    ("long ago, in the middle",       day("2020-01-15"),    72, day("2026-02-15")),
    ("yesterday",                     day("2026-01-30"),     0, FEB),
    ("a microsecond ago",             START - MICROSECOND,   0, day("2026-02-28T23:59:59.999999")),
    ("at this very instant",          START,                 0, FEB),
    ("in a microsecond",              START + MICROSECOND, None, START + MICROSECOND),
    ("in ten years",                  day("2036-02-29"),   None, day("2036-02-29")),
]  # fmt: skip


@pytest.mark.parametrize(("anchor", "part", "following"), [case[1:] for case in ANCHORS], ids=[c[0] for c in ANCHORS])
def test_a_schedule_starts_with_the_part_that_has_begun(anchor: Instant, part: int | None, following: Instant) -> None:
    """The parts before it were over when the schedule was made: they were never promised."""
    scenario = given().when(schedule("S", 5, anchor=anchor))
    defined = scenario.events[0]
    assert isinstance(defined, GrantScheduleDefined)
    assert defined.plan.first_part == (part or 0)
    assert [event.grant.scheduled.part for event in granted(scenario) if event.grant and event.grant.scheduled] == (
        [] if part is None else [part]
    )
    assert next_grant_at(defined.plan, START) == following
    scenario.book.pool.look_for_due()
    assert scenario.book.pool.next_due_at == following
    scenario.when(at(following), settle())
    assert granted(scenario)[-1].terms.effective_at == following
    assert scenario.events[-1].originator_version == 1


def test_an_end_stops_all_future_grants_and_what_is_there_stays_to_its_end() -> None:
    scenario = given(schedule("S", 5), at(day("2026-02-10"))).when(end_schedule("S"))
    scenario.then(fact(GrantScheduleDefined, originator_id="S", originator_version=2)).holding(S0=5)
    ended = scenario.events[0]
    assert isinstance(ended, GrantScheduleDefined)
    assert ended.plan.ended_at == day("2026-02-10")
    assert ended.transaction.document == texts_of("S")
    assert next_grant_at(ended.plan, START) is None
    scenario.when(at(end_of_month(120)), settle()).then(fact(Expired, "S0", -5, effective_at=FEB)).holding()
    scenario.when(end_schedule("S")).then_refused(GrantScheduleNotFound, schedule="S")


def test_an_end_at_the_instant_of_the_next_part_comes_after_it() -> None:
    given(schedule("S", 5), at(FEB)).when(end_schedule("S")).then(
        fact(Expired, "S0", -5), fact(Granted, "S1", 5), fact(GrantScheduleDefined)
    ).when(at(MARCH), settle()).then(fact(Expired, "S1", -5))


def test_a_schedule_that_has_not_begun_may_be_ended() -> None:
    given(schedule("S", 5, anchor=FEB), end_schedule("S"), at(APRIL)).when(settle()).then().holding()


def test_a_voided_part_does_not_stop_the_next_one() -> None:
    given(schedule("S", 5), void("S0"), at(FEB)).when(settle()).then(fact(Granted, "S1", 5)).holding(S1=5)


REFUSED = [
    ("too small to be parted",      schedule("S", "0.000000011", cadence=MONTHLY, period=YEAR), "amountPerPeriod"),
    ("no end of the first part",    schedule("S", 5, anchor=day("9999-12-15")),                 "anchorAt"),
    ("no end of the first year",    schedule("S", 5, anchor=day("9999-01-01"), period=YEAR),    "anchorAt"),
]  # fmt: skip


@pytest.mark.parametrize(("step", "field"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_plan_that_cannot_be_kept_is_refused(step: object, field: str) -> None:
    scenario = given().when(step)  # type: ignore[arg-type]  # a table's cell
    assert isinstance(scenario.refusal, InvalidArgument)
    assert scenario.refusal.field == field


def test_the_smallest_amount_at_once_is_fine() -> None:
    given().when(schedule("S", "0.000000001", period=YEAR)).then(
        fact(GrantScheduleDefined), fact(Granted, "S0", "0.000000001")
    )


def test_a_part_out_of_turn_or_twice_breaks_the_law() -> None:
    log = given(schedule("S", 5), at(MARCH), settle()).book.log
    later = next(event for event in log if isinstance(event, Granted) and event.terms.effective_at == MARCH)
    for events in (log[:1], log[:2]):
        book = given(*events).book
        behind = book.pool.balance
        with pytest.raises(LawBroken, match="part 2 was granted"):
            book.pool.evolve(changed(later, after=later.after._replace(pool_balance=behind + later.amount)))


def test_of_two_schedules_each_goes_its_own_way() -> None:
    given(schedule("S", 5), schedule("T", 60, cadence=MONTHLY, period=YEAR), end_schedule("S"), at(FEB)).when(
        settle()
    ).then(fact(Expired, "S0", -5), fact(Expired, "T0", -5), fact(Granted, "T1", 5)).holding(T1=5)
