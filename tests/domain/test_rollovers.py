"""What is left of a schedule's part rolls over once, up to the cap, with its share of the cost; the rest lapses."""

from decimal import Decimal

import pytest

from ledger.domain.events import Debited, Expired, Granted, GrantScheduleDefined, GrantUpdated, Refunded, Voided
from ledger.domain.grant_details import Origin, Payment
from ledger.domain.instants import Instant
from ledger.domain.values import BillingPeriod, Cadence, Cause, GrantType
from tests.domain.grant_steps import AT_ONCE, MONTH, MONTHLY, YEAR, end_of_month, end_schedule, schedule, update
from tests.domain.scenario import (
    MICROSECOND,
    Clock,
    Fact,
    Scenario,
    Step,
    at,
    consume,
    day,
    fact,
    given,
    refund,
    settle,
    texts_of,
    units,
    void,
)

FEB, MARCH, APRIL = day("2026-02-28"), day("2026-03-31"), day("2026-04-30")
NEXT_YEAR = day("2027-01-31")


def rolled(amount: int | str, name: str = "S0", ends: Instant = FEB) -> list[Fact]:
    """What rolls over goes out of the one grant and into the other."""
    return [
        fact(Expired, name, f"-{amount}", cause=Cause.ROLLED_OVER, effective_at=ends, rolled_over_to=f"{name}+"),
        fact(Granted, f"{name}+", amount, cause=Cause.ROLLED_OVER, effective_at=ends, grant_type=GrantType.ROLLOVER),
    ]


def lost(amount: int | str, name: str = "S0", ends: Instant = FEB) -> Fact:
    return fact(Expired, name, f"-{amount}", cause=Cause.LAPSED, effective_at=ends, rolled_over_to=None)


def target(scenario: Scenario) -> Granted:
    (found,) = [event for event in scenario.events if isinstance(event, Granted) and event.cause is Cause.ROLLED_OVER]
    return found


CAPS = [
    # used      cap             rolls over      lapses
    (None,      None,           "10",           None),
    ("4",       None,           "6",            None),
    ("4",       "6",            "6",            None),
    ("4",       "5.999999999",  "5.999999999",  "0.000000001"),
    ("4",       "6.000000001",  "6",            None),
    (None,      "1",            "1",            "9"),
    ("9.999999999", None,       "0.000000001",  None),
]  # fmt: skip


@pytest.mark.parametrize(("used", "cap", "over", "lapses"), CAPS)
def test_the_remainder_rolls_over_up_to_the_cap_and_what_is_above_lapses_as_its_own_event(
    used: str | None, cap: str | None, over: str, lapses: str | None
) -> None:
    use = () if used is None else (consume(used),)
    scenario = given(schedule("S", 10, rolls_for=1, rolls_at_most=cap), *use, at(FEB)).when(settle())
    scenario.then(
        *rolled(over), *([] if lapses is None else [lost(lapses)]), fact(Granted, "S1", 10, cause=Cause.SCHEDULED)
    )
    amounts = [event.amount for event in scenario.events if isinstance(event, Expired)]
    assert -sum(amounts) == units(10) - units(used or 0)


def test_a_rollover_names_its_origin_and_carries_its_cost_and_priority() -> None:
    scenario = given(schedule("S", 12, cost=10, priority=7, rolls_for=1, rolls_at_most=4), consume(5), at(APRIL)).when(
        settle()
    )
    event = next(event for event in scenario.events if isinstance(event, Granted) and event.grant)
    origin = scenario.book.log[1]
    assert isinstance(origin, Granted)
    assert origin.grant is not None
    assert event.grant is not None
    assert event.grant.rolled_over_from == Origin(grant_id=origin.lot, readable_id=origin.grant.readable_id)
    assert (event.grant.scheduled, event.grant.recharge, event.grant.payment) == (None, None, Payment())
    assert (event.grant.cost.amount, event.grant.cost.currency) == (Decimal("3.333333333"), "EUR")
    assert event.terms.model_dump() == {
        "effective_at": FEB, "expires_at": MARCH, "created_at": APRIL, "priority": Decimal(7),
        "awaiting_payment": False,
    }  # fmt: skip
    assert event.transaction.document == texts_of("S")


def test_both_sides_of_a_rollover_and_what_the_cap_takes_are_one_transaction() -> None:
    scenario = given(schedule("S", 10, rolls_for=1, rolls_at_most=4), at(FEB)).when(settle())
    out, come, gone, part = (event.transaction.transaction_id for event in scenario.events)
    assert out == come == gone != part


SHARES = [
    # used of 9, which cost 10   the cap   the cost that goes along
    (0,                          None,     "10"),
    (3,                          None,     "6.666666667"),
    (6,                          None,     "3.333333333"),
    (3,                          3,        "3.333333334"),
    (0,                          3,        "3.333333333"),
]  # fmt: skip


@pytest.mark.parametrize(("used", "cap", "share"), SHARES)
def test_the_cost_goes_with_the_credits(used: int, cap: int | None, share: str) -> None:
    """What was used has borne its share, what is above the cap takes the rest with it."""
    use = (consume(used),) if used else ()
    scenario = given(schedule("S", 9, cost=10, rolls_for=1, rolls_at_most=cap), *use, at(FEB)).when(settle())
    grant = target(scenario).grant
    assert grant is not None
    assert grant.cost.amount == Decimal(share)


LASTING = [
    # cadence  period  for  the part ends  the rollover ends
    (AT_ONCE,  MONTH,  1,   FEB,           MARCH),
    (AT_ONCE,  MONTH,  3,   FEB,           day("2026-05-31")),
    (MONTHLY,  MONTH,  2,   FEB,           APRIL),
    (AT_ONCE,  YEAR,   1,   NEXT_YEAR,     day("2028-01-31")),
    (MONTHLY,  YEAR,   1,   FEB,           day("2027-02-28")),
    (MONTHLY,  YEAR,   2,   FEB,           day("2028-02-29")),
    (AT_ONCE,  MONTH,  1200, FEB,          day("2126-02-28")),
]  # fmt: skip


@pytest.mark.parametrize(("cadence", "period", "periods", "part_ends", "ends"), LASTING)
def test_a_rollover_lasts_so_many_billing_periods(
    cadence: Cadence, period: BillingPeriod, periods: int, part_ends: Instant, ends: Instant
) -> None:
    scenario = given(schedule("S", 12, cadence=cadence, period=period, rolls_for=periods), at(part_ends)).when(settle())
    terms = target(scenario).terms
    assert (terms.effective_at, terms.expires_at) == (part_ends, ends)


def test_a_rollover_lapses_at_its_end_and_never_rolls_again() -> None:
    scenario = given(schedule("S", 10, rolls_for=1), at(FEB), consume(10)).when(at(MARCH), settle())
    scenario.then(*rolled(10, "S1", MARCH), fact(Granted, "S2", 10, effective_at=MARCH))
    again = given(schedule("S", 10, rolls_for=1), at(FEB), settle()).when(at(MARCH - MICROSECOND), settle()).then()
    again.when(at(MARCH), settle())
    told = {(event.lot, event.cause) for event in again.events if isinstance(event, Expired)}
    names = again.book.names
    assert {(names[lot], cause) for lot, cause in told} == {("S0+", Cause.LAPSED), ("S1", Cause.ROLLED_OVER)}
    assert [name for name in names.values() if name.endswith("++")] == []
    again.holding(**{"S1+": 10, "S2": 10})


def test_months_that_nobody_looked_at_roll_over_as_if_somebody_had() -> None:
    def plan() -> Scenario:
        return given(schedule("S", 12, cadence=MONTHLY, period=YEAR, rolls_for=1, rolls_at_most="0.25"))

    asleep, watched = plan().when(at(end_of_month(30)), settle()), plan()
    for month in range(1, 31):
        watched.when(at(end_of_month(month)), settle())
    told = [
        sorted((each.book.names[event.lot], event.effective_at, event.amount) for event in each.book.log[1:])  # type: ignore[union-attr]
        for each in (asleep, watched)
    ]
    assert told[0] == told[1]
    instants = [event.effective_at for event in asleep.book.log[1:]]  # type: ignore[union-attr]
    assert instants == sorted(instants)


NOTHING = [
    ("all of it is used",           (consume(10),)),
    ("it is void",                  (void("S0"),)),
    ("it is void, part of it used", (consume(3), void("S0"))),
]  # fmt: skip


@pytest.mark.parametrize("steps", [case[1] for case in NOTHING], ids=[case[0] for case in NOTHING])
def test_where_nothing_is_left_nothing_rolls_over(steps: tuple[Step, ...]) -> None:
    given(schedule("S", 10, rolls_for=1), *steps, at(FEB)).when(settle()).then(fact(Granted, "S1", 10)).holding(S1=10)


REFUNDED = [
    # what happened to S0, whose 6 of 10 are used    how what comes back to it ends
    ("rolled over",                (), Expired),
    ("rolled over, still due",     (at(MARCH),), Expired),
    ("voided before its end",      (void("S0"),), Voided),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "ending"), [case[1:] for case in REFUNDED], ids=[case[0] for case in REFUNDED])
def test_what_comes_back_to_a_part_that_has_ended_ends_again_and_nothing_rolls_a_second_time(
    steps: tuple[Step | Clock, ...], ending: type[Expired] | type[Voided]
) -> None:
    scenario = given(schedule("S", 10, rolls_for=3), consume(6, "d"), *steps, at(MARCH), consume(1))
    scenario.when(refund("d", 5)).then(
        fact(Refunded, "S0", 5, effective_at=MARCH), fact(ending, "S0", -5, cause=Cause.REFUND, effective_at=MARCH)
    )
    if ending is Expired:
        assert scenario.events[1].rolled_over_to is None  # type: ignore[union-attr]  # it is a lapse
    scenario.when(at(APRIL), settle(), refund("d"))
    assert [name for name in scenario.book.names.values() if name.startswith("S0")] in (["S0", "S0+"], ["S0"])


def test_a_refund_to_a_rollover_that_goes_on_is_usable() -> None:
    given(schedule("S", 10, rolls_for=3), at(FEB), consume(4, "d")).when(refund("d", 3), consume(3)).then(
        fact(Refunded, "S1", 3), fact(Debited, "S1", -3)
    ).holding(**{"S1": 6, "S0+": 10})


def test_what_is_left_of_an_ended_schedules_last_part_lapses() -> None:
    given(schedule("S", 10, rolls_for=1), end_schedule("S"), at(MARCH)).when(settle()).then(lost(10)).holding()


def test_what_rolled_over_before_the_schedule_ended_stays_to_its_end() -> None:
    given(schedule("S", 10, rolls_for=2), at(FEB)).when(end_schedule("S")).then(
        *rolled(10), fact(Granted, "S1", 10), fact(GrantScheduleDefined)
    ).when(at(MARCH), settle()).then(lost(10, "S1", MARCH)).holding(**{"S0+": 10})


def test_a_part_with_another_end_rolls_over_at_that_end_and_lasts_whole_periods_from_there() -> None:
    middle = day("2026-03-15")
    scenario = given(schedule("S", 10, rolls_for=1), update("S0", ends=middle), at(middle)).when(settle())
    scenario.then(fact(Granted, "S1", 10, effective_at=FEB), *rolled(10, "S0", middle))
    assert target(scenario).terms.expires_at == day("2026-04-15")


def test_a_part_whose_end_is_taken_away_does_not_roll_over() -> None:
    given(schedule("S", 10, rolls_for=1)).when(update("S0", endless=True), at(FEB), settle()).then(
        fact(GrantUpdated, "S0"), fact(Granted, "S1", 10)
    ).holding(S1=10, S0=10)


def test_without_a_rollover_nothing_rolls_over() -> None:
    given(schedule("S", 10), at(FEB)).when(settle()).then(lost(10), fact(Granted, "S1", 10))
