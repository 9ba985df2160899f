"""Execution credits: one lot for each billing period, renewed once each, however long nobody looked."""

import pytest

from ledger.domain.events import Debited, ExecutionCreditDefined, Expired, Granted, Refunded, Voided
from ledger.domain.execution_credit import insufficient
from ledger.domain.refusals import (
    CreditsBelowUsed,
    ExecutionCreditDeleted,
    ExecutionCreditExists,
    InsufficientCredits,
    InvalidArgument,
)
from ledger.domain.values import Cause, CreditType, RollupType
from tests.domain.scenario import (
    EXECUTIONS,
    MICROSECOND,
    START,
    Clock,
    Fact,
    Scenario,
    Step,
    at,
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
FEB, MARCH, APRIL, MAY = day("2026-02-28"), day("2026-03-31"), day("2026-04-30"), day("2026-05-31")


def given(*steps: Step | Clock) -> Scenario:
    return given_in(*steps, pool=EXECUTIONS)


@pytest.mark.parametrize(
    ("rollup",      "ends"),
    [
        (MONTHLY,    FEB),
        (QUARTERLY,  APRIL),
        (SEMIANNUAL, day("2026-07-31")),
        (YEARLY,     day("2027-01-31")),
        (ADDON,      None),
    ],
)  # fmt: skip
def test_opening_a_credit_defines_it_and_grants_its_first_period(rollup: RollupType, ends: object) -> None:
    scenario = given().when(open_credit("C", rollup, 100)).then(
        fact(ExecutionCreditDefined, credit_type=CreditType.DAST, rollup_type=rollup, credits=units(100),
             anchor_at=START, created_at=START, deleted_at=None, next_rollup_type=None, first_month=0,
             originator_id="C", originator_version=1),
        fact(Granted, "lot1", 100, cause=Cause.ISSUED, effective_at=START, grant_type=None, grant=None,
             originator_id="C", originator_version=2, terms_version=2),
    )  # fmt: skip
    granted = scenario.events[1]
    assert isinstance(granted, Granted)
    assert (granted.terms.effective_at, granted.terms.expires_at) == (START, ends)


@pytest.mark.parametrize(
    ("anchor",      "ends"),
    [
        ("2026-01-31", "2026-02-28"),
        ("2026-01-15", "2026-02-15"),
        ("2025-12-31", "2026-02-28"),
        ("2025-03-30", "2026-02-28"),
        ("2020-02-29", "2026-02-28"),
        ("2026-01-30T23:59:59.999999", "2026-02-28T23:59:59.999999"),
    ],
)  # fmt: skip
def test_with_an_anchor_in_the_past_the_first_lot_runs_from_now_to_the_end_of_the_anchored_period(
    anchor: str, ends: str
) -> None:
    scenario = given().when(open_credit("C", MONTHLY, 100, anchor=day(anchor)))
    granted = scenario.events[1]
    assert isinstance(granted, Granted)
    assert (granted.terms.effective_at, granted.terms.expires_at) == (START, day(ends))


def test_an_anchor_in_the_future_is_refused() -> None:
    given().when(open_credit("C", MONTHLY, 100, anchor=START + MICROSECOND)).then_refused(
        InvalidArgument, field="periodAnchor", reason="must not be in the future"
    )


def test_each_period_slept_through_is_renewed_once_at_its_own_instant() -> None:
    scenario = given(open_credit("C", MONTHLY, 100), consume(30), at(APRIL + MICROSECOND)).when(settle()).then(
        fact(Expired, "lot1",  -70, cause=Cause.LAPSED,  effective_at=FEB),
        fact(Granted, "lot2",  100, cause=Cause.RENEWED, effective_at=FEB),
        fact(Expired, "lot2", -100, cause=Cause.LAPSED,  effective_at=MARCH),
        fact(Granted, "lot3",  100, cause=Cause.RENEWED, effective_at=MARCH),
        fact(Expired, "lot3", -100, cause=Cause.LAPSED,  effective_at=APRIL),
        fact(Granted, "lot4",  100, cause=Cause.RENEWED, effective_at=APRIL),
    )  # fmt: skip
    terms = [event.terms for event in scenario.events if isinstance(event, Granted)]
    assert [(each.effective_at, each.expires_at) for each in terms] == [(FEB, MARCH), (MARCH, APRIL), (APRIL, MAY)]
    scenario.holding(lot4=100).when(settle()).then()


def test_ten_years_of_sleep_are_120_renewals_ending_on_the_anchors_day() -> None:
    scenario = given(open_credit("C", MONTHLY, 1), at(day("2036-01-31"))).when(settle())
    renewals = [event for event in scenario.events if isinstance(event, Granted)]
    assert (len(renewals), len(scenario.events)) == (120, 240)
    assert renewals[-1].effective_at == day("2036-01-31")
    assert renewals[-1].terms.expires_at == day("2036-02-29")
    scenario.holding(lot121=1)


def test_a_period_that_was_used_up_renews_without_a_lapse() -> None:
    given(open_credit("C", MONTHLY, 100), consume(100), at(FEB)).when(settle()).then(
        fact(Granted, "lot2", 100, cause=Cause.RENEWED, effective_at=FEB)
    ).holding(lot2=100)


def test_nothing_renews_before_its_instant() -> None:
    given(open_credit("C", MONTHLY, 100), at(FEB - MICROSECOND)).when(settle()).then().holding(lot1=100)


def test_a_use_at_the_instant_of_renewal_is_paid_by_the_new_period() -> None:
    given(open_credit("C", MONTHLY, 100), consume(90), at(FEB)).when(consume(100)).then(
        fact(Expired, "lot1", -10), fact(Granted, "lot2", 100), fact(Debited, "lot2", -100, effective_at=FEB)
    ).holding()


@pytest.mark.parametrize("rollup", [MONTHLY, QUARTERLY, SEMIANNUAL, YEARLY])
@pytest.mark.parametrize("addon_first", [False, True])
def test_a_renewing_credit_pays_before_an_addon(rollup: RollupType, addon_first: bool) -> None:
    both = (open_credit("Z", rollup, 100), open_credit("A", ADDON, 50))
    scenario = given(*(reversed(both) if addon_first else both))
    renewing, addon = ("lot2", "lot1") if addon_first else ("lot1", "lot2")
    scenario.when(consume(120)).then(fact(Debited, renewing, -100), fact(Debited, addon, -20)).holding(**{addon: 30})


def test_an_addon_never_ends_and_never_renews() -> None:
    given(open_credit("A", ADDON, 50), consume(20), at(day("2036-01-31"))).when(consume(30)).then(
        fact(Debited, "lot1", -30)
    ).holding()


@pytest.mark.parametrize("rollup", [MONTHLY, ADDON])
def test_what_never_ends_is_not_due_at_the_calendars_last_instant_either(rollup: RollupType) -> None:
    """A period whose end would lie beyond the calendar has none."""
    last = day("9999-12-31T23:59:59.999999")
    given(at(day("9999-12-15")), open_credit("C", rollup, 50), at(last)).when(settle()).then().holding(lot1=50)


def test_a_debit_beyond_both_credits_is_refused_as_a_whole() -> None:
    given(open_credit("C", MONTHLY, 100), open_credit("A", ADDON, 50)).when(consume(151)).then_refused(
        InsufficientCredits, available=units(150), requested=units(151), shortfall=units(1)
    ).holding(lot1=100, lot2=50)


EXISTS = [
    # live          wanted       renewing
    (MONTHLY,       MONTHLY,     True),
    (MONTHLY,       YEARLY,      True),
    (ADDON,         ADDON,       False),
]  # fmt: skip


@pytest.mark.parametrize(("live", "wanted", "renewing"), EXISTS)
def test_a_company_has_one_live_renewing_credit_and_one_live_addon_of_a_type(
    live: RollupType, wanted: RollupType, renewing: bool
) -> None:
    scenario = given(open_credit("C", live, 100)).when(open_credit("D", wanted, 100))
    scenario.then_refused(ExecutionCreditExists, company="acme", credit_type=CreditType.DAST, renewing=renewing)
    scenario.when(delete("C"), open_credit("D", wanted, 100)).holding(lot2=100)


def test_a_renewing_credit_and_an_addon_live_side_by_side() -> None:
    given(open_credit("C", MONTHLY, 100)).when(open_credit("A", ADDON, 50)).holding(lot1=100, lot2=50)


RESIZED = [
    # to    the movement                                balance
    (150,   (fact(Granted, "lot1", 50, cause=Cause.RESIZED, effective_at=START),),  120),
    (70,    (fact(Voided, "lot1", -30, cause=Cause.RESIZED, effective_at=START),),  40),
    (30,    (fact(Voided, "lot1", -70, cause=Cause.RESIZED, effective_at=START),),  0),
    (100,   (),                                         70),
]  # fmt: skip


@pytest.mark.parametrize(("credits", "movement", "balance"), RESIZED)
def test_a_resize_grants_or_voids_the_difference_in_the_present_lot(
    credits: int, movement: tuple[Fact, ...], balance: int
) -> None:
    scenario = given(open_credit("C", MONTHLY, 100), consume(30)).when(resize("C", credits))
    definition = fact(ExecutionCreditDefined, credits=units(credits), deleted_at=None)
    scenario.then(*movement, definition)
    assert scenario.book.pool.balance == units(balance)


def test_a_resize_up_after_one_down_grants_the_difference_to_what_the_lot_has_now() -> None:
    given(open_credit("C", MONTHLY, 100), consume(30), resize("C", 70)).when(resize("C", 90)).then(
        fact(Granted, "lot1", 20, after=(units(120), units(30), units(60), units(60))),
        fact(ExecutionCreditDefined, credits=units(90)),
    )


def test_a_resize_at_the_instant_of_renewal_changes_the_new_period() -> None:
    given(open_credit("C", MONTHLY, 100), consume(60), at(FEB)).when(resize("C", 50)).then(
        fact(Expired, "lot1", -40),
        fact(Granted, "lot2", 100),
        fact(Voided, "lot2", -50),
        fact(ExecutionCreditDefined, credits=units(50)),
    ).holding(lot2=50)


def test_a_delete_at_the_instant_of_renewal_voids_the_new_period() -> None:
    given(open_credit("C", MONTHLY, 100), at(FEB)).when(delete("C")).then(
        fact(Expired, "lot1", -100),
        fact(Granted, "lot2", 100),
        fact(Voided, "lot2", -100),
        fact(ExecutionCreditDefined, deleted_at=FEB),
    ).holding()


def test_a_resize_below_what_is_used_is_refused() -> None:
    given(open_credit("C", MONTHLY, 100), consume(30)).when(resize("C", "29.999999999")).then_refused(
        CreditsBelowUsed, credits=units("29.999999999"), used=units(30)
    ).holding(lot1=70)


def test_a_refund_makes_room_for_a_smaller_size() -> None:
    given(open_credit("C", MONTHLY, 100), consume(30), refund(amount=10)).when(resize("C", 20)).then(
        fact(Voided, "lot1", -80), fact(ExecutionCreditDefined, credits=units(20))
    ).holding()


def test_a_credit_used_up_may_be_raised_and_used_on() -> None:
    given(open_credit("C", MONTHLY, 100), consume(100), resize("C", 101)).when(consume(1)).then(
        fact(Debited, "lot1", -1)
    )


def test_a_credit_used_up_is_kept_when_closed_lots_are_let_go() -> None:
    scenario = given(open_credit("C", MONTHLY, 100), consume(100))
    scenario.book.pool.forget_closed()
    scenario.when(resize("C", 101)).then(fact(Granted, "lot1", 1), fact(ExecutionCreditDefined)).holding(lot1=1)


def test_the_new_size_is_what_every_later_period_is_granted() -> None:
    given(open_credit("C", MONTHLY, 100), resize("C", 150), resize("C", 40), at(MARCH)).when(settle()).then(
        fact(Expired, "lot1", -40), fact(Granted, "lot2", 40), fact(Expired, "lot2", -40), fact(Granted, "lot3", 40)
    )


def test_a_refund_into_an_earlier_period_is_ended_at_once_and_the_present_period_is_untouched() -> None:
    scenario = given(open_credit("C", MONTHLY, 100), consume(30, "d"), at(FEB), settle(), consume(5)).when(refund("d"))
    scenario.then(
        fact(Refunded, "lot1", 30, effective_at=FEB),
        fact(Expired, "lot1", -30, effective_at=FEB, cause=Cause.REFUND),
    ).holding(lot2=95)
    assert scenario.book.credit("C").present_lot.used == units(5)


def test_a_refund_over_a_renewing_credit_and_an_addon_returns_to_the_addon_first() -> None:
    given(open_credit("C", MONTHLY, 100), open_credit("A", ADDON, 50), consume(120, "d")).when(refund("d", 30)).then(
        fact(Refunded, "lot2", 20), fact(Refunded, "lot1", 10)
    ).holding(lot1=10, lot2=50)


@pytest.mark.parametrize("rollup", [MONTHLY, ADDON])
def test_a_delete_voids_what_is_left_and_takes_the_credit_out_of_use(rollup: RollupType) -> None:
    scenario = given(open_credit("C", rollup, 100), consume(30, "d")).when(delete("C"))
    scenario.then(
        fact(Voided, "lot1", -70, cause=Cause.DELETED, effective_at=START),
        fact(ExecutionCreditDefined, deleted_at=START, credits=units(100)),
    ).holding()
    scenario.when(consume(1)).then_refused(InsufficientCredits, available=0, requested=units(1), shortfall=units(1))
    scenario.when(refund("d")).then(fact(Refunded, "lot1", 30), fact(Voided, "lot1", -30, cause=Cause.REFUND)).holding()
    scenario.when(at(MAY), settle()).then()


def test_a_delete_of_a_credit_used_up_moves_nothing() -> None:
    given(open_credit("C", MONTHLY, 100), consume(100)).when(delete("C")).then(
        fact(ExecutionCreditDefined, deleted_at=START)
    )


@pytest.mark.parametrize(
    "step",
    [delete("C"), resize("C", 150), resize("C", 1), turn("C", YEARLY), turn("C", ADDON)],
    ids=["deleted again", "raised", "lowered", "turned", "made an ADDON"],
)
def test_a_deleted_credit_is_told_as_deleted_whatever_is_asked_of_it(step: Step) -> None:
    scenario = given(open_credit("C", MONTHLY, 100), consume(30), delete("C"))
    scenario.when(step).then_refused(ExecutionCreditDeleted, credit="C")


NOTHING = "Insufficient credits: no available recurrent balance and no ADDON pool found for DAST"
INSUFFICIENT = [
    # behind it                                                                          message to one who asks for 60
    ((),                                                                                 NOTHING),
    ((open_credit("C", MONTHLY, 100), consume(100)),                                     NOTHING),
    ((open_credit("C", MONTHLY, 100), delete("C")),                                      NOTHING),
    ((open_credit("A", ADDON, 50), delete("A")),                                         NOTHING),
    ((open_credit("A", ADDON, 50), consume(50), delete("A")),                            NOTHING),
    ((open_credit("C", MONTHLY, 100), consume(100), open_credit("A", ADDON, 50), delete("A")), NOTHING),
    ((open_credit("C", MONTHLY, 50),),                                                   "60 requested, 50 available"),
    ((open_credit("C", MONTHLY, 100), consume(99)),                                      "60 requested, 1 available"),
    ((open_credit("C", MONTHLY, 50), open_credit("A", ADDON, 50), delete("A")),          "60 requested, 50 available"),
    ((open_credit("A", ADDON, 50),),                                                     "60 requested, 50 available"),
    ((open_credit("A", ADDON, 50), consume(50)),                                         "60 requested, 0 available"),
    ((open_credit("C", MONTHLY, 10), open_credit("A", ADDON, 50), consume(60)),          "60 requested, 0 available"),
    ((open_credit("C", MONTHLY, 10), open_credit("A", ADDON, 49)),                       "60 requested, 59 available"),
    ((open_credit("C", MONTHLY, 50), consume(50), at(FEB)),                              "60 requested, 50 available"),
]  # fmt: skip


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize(("steps", "message"), INSUFFICIENT)
def test_a_debit_that_is_not_covered_says_what_there_is(
    steps: tuple[Step | Clock, ...], message: str, forgotten: bool
) -> None:
    scenario = given(*steps)
    if forgotten:
        scenario.book.pool.forget_closed()
    refusal = scenario.when(consume(60)).refusal
    assert isinstance(refusal, InsufficientCredits)
    told = message if message is NOTHING else f"Insufficient credits: {message} for DAST"
    assert insufficient(scenario.book.pool, refusal).message == told
