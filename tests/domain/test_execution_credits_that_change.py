"""An execution credit that becomes another: its rollup type at the next renewal, its allotment at once."""

from itertools import pairwise

import pytest

from ledger.domain.events import Debited, ExecutionCreditDefined, Expired, Granted, LedgerEvent, Refunded, Voided
from ledger.domain.refusals import CreditsBelowUsed, RollupTypeStays
from ledger.domain.values import Cause, RollupType
from tests.domain.scenario import (
    EXECUTIONS,
    MICROSECOND,
    START,
    Clock,
    Fact,
    Scenario,
    Step,
    at,
    bounds,
    changed,
    consume,
    day,
    delete,
    fact,
    open_credit,
    refund,
    resize,
    settle,
    turn,
    units,
)
from tests.domain.scenario import given as given_in

MONTHLY, QUARTERLY, SEMIANNUAL = RollupType.MONTHLY, RollupType.QUARTERLY, RollupType.SEMIANNUAL
YEARLY, ADDON = RollupType.YEARLY, RollupType.ADDON
FEB, MARCH, MAY = day("2026-02-28"), day("2026-03-31"), day("2026-05-31")


def given(*steps: Step | Clock | LedgerEvent) -> Scenario:
    return given_in(*steps, pool=EXECUTIONS)


def turned(rollup_type: RollupType, first_month: int) -> Fact:
    """The definition of a credit that has just begun its first period of another rollup type."""
    return fact(
        ExecutionCreditDefined, rollup_type=rollup_type, first_month=first_month, next_rollup_type=None,
        credits=units(100), anchor_at=START, created_at=START, deleted_at=None,
    )  # fmt: skip


TURNS = [
    # from       to           at the renewal of  months   until
    (MONTHLY,    QUARTERLY,   "2026-02-28",      1,       "2026-05-31"),
    (MONTHLY,    SEMIANNUAL,  "2026-02-28",      1,       "2026-08-31"),
    (MONTHLY,    YEARLY,      "2026-02-28",      1,       "2027-02-28"),
    (QUARTERLY,  MONTHLY,     "2026-04-30",      3,       "2026-05-31"),
    (QUARTERLY,  YEARLY,      "2026-04-30",      3,       "2027-04-30"),
    (SEMIANNUAL, MONTHLY,     "2026-07-31",      6,       "2026-08-31"),
    (SEMIANNUAL, QUARTERLY,   "2026-07-31",      6,       "2026-10-31"),
    (YEARLY,     MONTHLY,     "2027-01-31",      12,      "2027-02-28"),
    (YEARLY,     SEMIANNUAL,  "2027-01-31",      12,      "2027-07-31"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "renewal", "months", "until"), TURNS)
def test_another_rollup_type_begins_with_a_whole_period_at_the_next_renewal(
    before: RollupType, after: RollupType, renewal: str, months: int, until: str
) -> None:
    begins, ends = day(renewal), day(until)
    scenario = given(open_credit("C", before, 100), consume(30)).when(turn("C", after)).then(
        fact(ExecutionCreditDefined, rollup_type=before, next_rollup_type=after, first_month=0)
    ).holding(lot1=70)  # fmt: skip
    scenario.when(at(begins - MICROSECOND), settle()).then()
    scenario.when(at(begins), settle()).then(
        fact(Expired, "lot1", -70, cause=Cause.LAPSED, effective_at=begins),
        fact(Granted, "lot2", 100, cause=Cause.RENEWED, effective_at=begins),
        turned(after, months),
    )
    assert bounds(scenario.events) == [(begins, ends)]
    scenario.when(at(ends - MICROSECOND), settle()).then()
    scenario.when(at(ends), settle()).then(fact(Expired, "lot2", -100), fact(Granted, "lot3", 100))


def test_after_a_long_sleep_the_rollup_type_has_changed_at_the_first_renewal() -> None:
    scenario = given(open_credit("C", MONTHLY, 100), turn("C", QUARTERLY), at(day("2026-12-01"))).when(settle()).then(
        fact(Expired, "lot1", -100), fact(Granted, "lot2", 100), turned(QUARTERLY, 1),
        fact(Expired, "lot2", -100), fact(Granted, "lot3", 100),
        fact(Expired, "lot3", -100), fact(Granted, "lot4", 100),
        fact(Expired, "lot4", -100), fact(Granted, "lot5", 100),
    )  # fmt: skip
    ends = [FEB, MAY, day("2026-08-31"), day("2026-11-30"), day("2027-02-28")]
    assert bounds(scenario.events) == list(pairwise(ends))
    scenario.when(settle()).then()


def test_asking_for_the_present_rollup_type_again_takes_the_change_back() -> None:
    given(open_credit("C", MONTHLY, 100), turn("C", YEARLY)).when(turn("C", MONTHLY), at(FEB), settle()).then(
        fact(ExecutionCreditDefined, rollup_type=MONTHLY, next_rollup_type=None, first_month=0),
        fact(Expired, "lot1", -100), fact(Granted, "lot2", 100),
    )  # fmt: skip


def test_the_last_rollup_type_asked_for_is_the_one_that_comes() -> None:
    given(open_credit("C", MONTHLY, 100), turn("C", YEARLY), turn("C", QUARTERLY), at(FEB)).when(settle()).then(
        fact(Expired, "lot1", -100), fact(Granted, "lot2", 100), turned(QUARTERLY, 1)
    )


def test_another_allotment_leaves_the_coming_rollup_type_as_it_is() -> None:
    scenario = given(open_credit("C", MONTHLY, 70), turn("C", QUARTERLY)).when(resize("C", 100), at(FEB), settle())
    scenario.then(
        fact(Granted, "lot1", 30), fact(ExecutionCreditDefined, next_rollup_type=QUARTERLY),
        fact(Expired, "lot1", -100), fact(Granted, "lot2", 100), turned(QUARTERLY, 1),
    )  # fmt: skip


def test_an_allotment_changes_at_once_and_the_rollup_type_asked_for_with_it_at_the_renewal() -> None:
    given(open_credit("C", MONTHLY, 40)).when(turn("C", QUARTERLY, 100), at(FEB), settle()).then(
        fact(Granted, "lot1", 60, cause=Cause.RESIZED),
        fact(ExecutionCreditDefined, rollup_type=MONTHLY, next_rollup_type=QUARTERLY, credits=units(100)),
        fact(Expired, "lot1", -100), fact(Granted, "lot2", 100), turned(QUARTERLY, 1),
    )  # fmt: skip


def test_a_rollup_type_asked_for_at_the_instant_of_a_renewal_waits_for_the_next() -> None:
    scenario = given(open_credit("C", MONTHLY, 100), at(FEB)).when(turn("C", QUARTERLY), at(MARCH), settle()).then(
        fact(Expired, "lot1", -100), fact(Granted, "lot2", 100),
        fact(ExecutionCreditDefined, rollup_type=MONTHLY, next_rollup_type=QUARTERLY),
        fact(Expired, "lot2", -100), fact(Granted, "lot3", 100), turned(QUARTERLY, 2),
    )  # fmt: skip
    assert bounds(scenario.events) == [(FEB, MARCH), (MARCH, day("2026-06-30"))]


def test_what_is_asked_at_the_renewal_that_turns_the_cycle_is_asked_of_the_new_cycle() -> None:
    scenario = given(open_credit("C", MONTHLY, 100), turn("C", QUARTERLY), at(FEB))
    scenario.when(turn("C", MONTHLY, 60)).then(
        fact(Expired, "lot1", -100), fact(Granted, "lot2", 100), turned(QUARTERLY, 1),
        fact(Voided, "lot2", -40),
        fact(ExecutionCreditDefined, rollup_type=QUARTERLY, first_month=1, next_rollup_type=MONTHLY, credits=units(60)),
    )  # fmt: skip
    scenario.when(at(MAY), settle()).then(
        fact(Expired, "lot2", -60), fact(Granted, "lot3", 60),
        fact(ExecutionCreditDefined, rollup_type=MONTHLY, first_month=4, next_rollup_type=None),
    )  # fmt: skip
    assert bounds(scenario.events) == [(MAY, day("2026-06-30"))]


def test_a_delete_at_the_renewal_that_turns_the_cycle_deletes_the_turned_credit() -> None:
    given(open_credit("C", MONTHLY, 100), turn("C", QUARTERLY), at(FEB)).when(delete("C")).then(
        fact(Expired, "lot1", -100), fact(Granted, "lot2", 100), turned(QUARTERLY, 1), fact(Voided, "lot2", -100),
        fact(ExecutionCreditDefined, rollup_type=QUARTERLY, first_month=1, next_rollup_type=None, deleted_at=FEB),
    ).holding()  # fmt: skip


def test_a_deleted_credit_never_turns() -> None:
    given(open_credit("C", MONTHLY, 100), turn("C", YEARLY), delete("C")).when(at(MAY), settle()).then()


def test_a_use_at_the_instant_of_the_turn_is_paid_by_the_new_period() -> None:
    scenario = (
        given(open_credit("C", MONTHLY, 100), turn("C", YEARLY), consume(90), at(FEB))
        .when(consume(100))
        .then(fact(Expired, "lot1", -10), fact(Granted, "lot2", 100), turned(YEARLY, 1), fact(Debited, "lot2", -100))
    )
    assert scenario.book.credit("C").present_lot.used == units(100)


def test_a_refund_into_the_period_before_the_turn_leaves_the_present_period_untouched() -> None:
    scenario = given(open_credit("C", MONTHLY, 100), turn("C", YEARLY), consume(30, "d"), at(FEB), consume(5))
    scenario.when(refund("d")).then(
        fact(Refunded, "lot1", 30, effective_at=FEB),
        fact(Expired, "lot1", -30, effective_at=FEB, cause=Cause.REFUND),
    ).holding(lot2=95)
    scenario.when(resize("C", 5)).then(fact(Voided, "lot2", -95), fact(ExecutionCreditDefined, credits=units(5)))


def test_after_it_has_turned_a_yearly_credit_pays_after_what_ends_sooner_and_before_an_addon() -> None:
    given(open_credit("A", ADDON, 50), open_credit("C", MONTHLY, 100), turn("C", YEARLY), at(FEB)).when(
        consume(120)
    ).then(
        fact(Expired, "lot2", -100), fact(Granted, "lot3", 100), turned(YEARLY, 1),
        fact(Debited, "lot3", -100), fact(Debited, "lot1", -20),
    )  # fmt: skip


STAYS = [
    # is         asked for    asked before
    (MONTHLY,    ADDON,       None),
    (YEARLY,     ADDON,       MONTHLY),
    (ADDON,      MONTHLY,     None),
    (ADDON,      YEARLY,      None),
]  # fmt: skip


@pytest.mark.parametrize("credits", [None, 150, 1])
@pytest.mark.parametrize(("rollup", "wanted", "before"), STAYS)
def test_no_credit_becomes_an_addon_and_no_addon_one_that_renews(
    rollup: RollupType, wanted: RollupType, before: RollupType | None, credits: int | None
) -> None:
    """Also where the allotment asked for with it is too small, or where another change was coming."""
    scenario = given(open_credit("C", rollup, 100), consume(30), *([] if before is None else [turn("C", before)]))
    scenario.when(turn("C", wanted, credits)).then_refused(RollupTypeStays, rollup_type=rollup, requested=wanted)


def test_an_addon_may_be_asked_to_stay_one() -> None:
    given(open_credit("A", ADDON, 50)).when(turn("A", ADDON, 60)).then(
        fact(Granted, "lot1", 10), fact(ExecutionCreditDefined, rollup_type=ADDON, next_rollup_type=None)
    )


def test_an_allotment_below_what_is_used_changes_neither_it_nor_the_rollup_type() -> None:
    scenario = given(open_credit("C", MONTHLY, 100), consume(30))
    scenario.when(turn("C", YEARLY, 29)).then_refused(CreditsBelowUsed, credits=units(29), used=units(30))
    scenario.when(at(FEB), settle()).then(fact(Expired, "lot1", -70), fact(Granted, "lot2", 100))


def test_an_allotment_counts_what_is_used_of_the_present_period_alone() -> None:
    given(open_credit("C", MONTHLY, 100), consume(30, "d"), at(FEB), consume(7)).when(
        refund("d"), resize("C", 90), refund("use", 4), turn("C", YEARLY), at(MARCH), resize("C", 80), delete("C")
    ).then(
        fact(Refunded, "lot1", 30), fact(Expired, "lot1", -30),
        fact(Voided, "lot2", -10, after=(units(100), units(7), units(83), units(83))), fact(ExecutionCreditDefined),
        fact(Refunded, "lot2", 4), fact(ExecutionCreditDefined, credits=units(90)),
        fact(Expired, "lot2", -87), fact(Granted, "lot3", 90), fact(ExecutionCreditDefined, credits=units(90)),
        fact(Voided, "lot3", -10), fact(ExecutionCreditDefined, credits=units(80)),
        fact(Voided, "lot3", -80), fact(ExecutionCreditDefined, credits=units(80), deleted_at=MARCH),
    )  # fmt: skip


@pytest.mark.parametrize("step", [resize("C", 40), delete("C")], ids=["lowered", "deleted"])
def test_a_definition_before_its_movement_as_once_written_makes_the_same_credit(step: Step) -> None:
    behind = (open_credit("C", MONTHLY, 100), consume(30))
    now = given(*behind).when(step)
    movement, definition = now.events
    assert isinstance(movement, Voided)
    once = given(*behind, changed(definition, originator_version=4), changed(movement, originator_version=5))
    assert held(once) == held(now)


def held(scenario: Scenario) -> tuple[object, ...]:
    """What there is of the credit: its allotment, its lots and all that may be used."""
    credit = scenario.book.credit("C")
    return credit.version, credit.definition.credits, credit.live, credit.lots, scenario.book.pool.balance
