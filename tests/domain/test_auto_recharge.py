"""Automatic recharge: one PAID grant for each fall below the threshold, and never past the month's cap."""

from decimal import Decimal

import pytest

from ledger.domain.events import AutoRechargeDefined, Debited, Expired, Granted, GrantPaymentRecorded, RechargesDone
from ledger.domain.grant_details import Recharge
from ledger.domain.instants import Instant
from ledger.domain.lots import LawBroken
from ledger.domain.pool import Pool
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import Cause, ExpirationPeriod, GrantType, PaymentCollection, PaymentMethod
from tests.domain.grant_steps import pay, recharge, save_recharge, schedule
from tests.domain.scenario import (
    GRANTS,
    MICROSECOND,
    START,
    Clock,
    Fact,
    Scenario,
    Step,
    at,
    changed,
    consume,
    day,
    fact,
    given,
    issue,
    refund,
    units,
    void,
)

FEB, MARCH = day("2026-02-01"), day("2026-03-01")
LATER = day("2026-06-01")


def done(scenario: Scenario) -> RechargesDone:
    event = scenario.book.log[-1]
    assert isinstance(event, AutoRechargeDefined)
    return event.done


def recharged(number: int, amount: int | str) -> tuple[Fact, ...]:
    return (
        fact(Granted, f"R{number}", amount, cause=Cause.RECHARGED, grant_type=GrantType.PAID),
        fact(AutoRechargeDefined, originator_id="R"),
    )


def test_settings_are_kept_whole_and_saved_again_under_the_same_configuration() -> None:
    scenario = given().when(save_recharge("R"), at(FEB), save_recharge("other", below=20, cap=7))
    scenario.then(
        fact(AutoRechargeDefined, originator_id="R", originator_version=1, created_at=START, saved_at=START,
             done=RechargesDone()),
        fact(AutoRechargeDefined, originator_id="R", originator_version=2, created_at=START, saved_at=FEB),
    )  # fmt: skip
    second = scenario.events[1]
    assert isinstance(second, AutoRechargeDefined)
    assert (second.settings.threshold, second.settings.max_spend) == (units(20), units(7))


CROSSINGS = [
    # the balance     recharged with
    ("0",             "100"),
    ("9.999999999",   "90.000000001"),
    ("10",            None),
    ("10.000000001",  None),
    ("100",           None),
    ("500",           None),
]  # fmt: skip


@pytest.mark.parametrize(("balance", "amount"), CROSSINGS)
def test_a_recharge_brings_what_is_strictly_below_the_threshold_to_the_target(balance: str, amount: str | None) -> None:
    has = (issue("A", balance),) if balance != "0" else ()
    scenario = given(*has, save_recharge(), at(LATER)).when(recharge())
    scenario.then(*(() if amount is None else recharged(1, amount)))
    if amount is not None:
        assert scenario.book.pool.balance == units(100)


def test_a_recharge_is_a_paid_grant_that_names_its_configuration() -> None:
    scenario = given(save_recharge(price="0.1", currency="EUR"), at(LATER)).when(recharge())
    event = scenario.events[0]
    assert isinstance(event, Granted)
    assert event.grant is not None
    assert event.grant.recharge == Recharge(configuration_id="R", number=1)
    assert (event.grant.cost.amount, event.grant.cost.currency) == (Decimal(10), "EUR")
    assert event.terms.model_dump() == {
        "effective_at": LATER, "expires_at": None, "created_at": LATER, "priority": Decimal(50),
        "awaiting_payment": False,
    }  # fmt: skip
    assert len({each.transaction.transaction_id for each in scenario.events}) == 1


def test_asked_twice_in_a_row_there_is_one_recharge_and_the_next_crossing_has_its_own() -> None:
    scenario = given(save_recharge()).when(recharge(), recharge())
    scenario.then(*recharged(1, 100))
    scenario.when(consume(90), recharge()).then(fact(Debited, "R1", -90))
    scenario.when(consume(1), recharge(), recharge()).then(fact(Debited, "R1", -1), *recharged(2, 91))
    assert done(scenario).grants == 2


def test_a_target_at_the_threshold_is_enough() -> None:
    given(save_recharge(below=10, to=10), issue("A", 9)).when(recharge(), recharge()).then(*recharged(1, 1))


COUNTING = [
    # what there is beside a usable grant of 5                       counts
    ("a usable grant",         (issue("B", 20),),                     True),
    ("one that has not begun", (issue("B", 20, begins=LATER),),       False),
    ("one that has ended",     (issue("B", 20, ends=FEB), at(FEB)),   False),
    ("an unpaid grant",        (issue("B", 20, unpaid=True),),        False),
    ("a void grant",           (issue("B", 20), void("B")),           False),
    ("a schedule's part",      (schedule("S", 20),),                  True),
    ("a part that falls due",  (schedule("S", 20, anchor=FEB), at(FEB)), True),
    ("a refund",               (issue("B", 20), consume(25, "d"), refund("d")), True),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "counts"), [case[1:] for case in COUNTING], ids=[case[0] for case in COUNTING])
def test_the_balance_is_what_is_usable(steps: tuple[Step | Clock, ...], counts: bool) -> None:
    scenario = given(issue("A", 5), save_recharge(), *steps).when(recharge())
    assert [
        event.amount for event in scenario.events if isinstance(event, Granted) and event.cause is Cause.RECHARGED
    ] == ([] if counts else [units(95)])


def test_a_recharge_that_waits_for_its_payment_is_counted_in() -> None:
    scenario = given(save_recharge(method=PaymentMethod.INVOICE), issue("A", 5)).when(recharge(), recharge())
    scenario.then(*recharged(1, 95))
    event = scenario.events[0]
    assert isinstance(event, Granted)
    assert event.terms.awaiting_payment
    assert event.grant is not None
    assert event.grant.payment.collection is PaymentCollection.PROCESSING
    scenario.when(consume(5), recharge()).then(fact(Debited, "A", -5))  # 95 on their way are not below 10
    scenario.when(pay("R1"), consume(90), recharge()).then(
        fact(GrantPaymentRecorded, "R1"), fact(Debited, "R1", -90), *recharged(2, 95)
    )  # fmt: skip


def test_an_unpaid_recharge_that_has_ended_or_is_void_is_counted_no_longer() -> None:
    lasting = save_recharge(method=PaymentMethod.CHARGE, lasts=ExpirationPeriod.ONE_MONTH)
    scenario = given(lasting, recharge(), at(day("2026-02-28") - MICROSECOND)).when(recharge())
    scenario.then().when(at(day("2026-02-28")), recharge()).then(fact(Expired, "R1", -100), *recharged(2, 100))
    scenario.when(void("R2"), recharge())
    assert done(scenario).grants == 3


LASTS = [
    (None,                        None),
    (ExpirationPeriod.ONE_MONTH,  day("2028-02-29")),
    (ExpirationPeriod.ONE_YEAR,   day("2029-01-31")),
]  # fmt: skip


@pytest.mark.parametrize(("lasts", "ends"), LASTS)
def test_a_recharge_lasts_as_the_settings_say(lasts: ExpirationPeriod | None, ends: Instant | None) -> None:
    scenario = given(save_recharge(lasts=lasts), at(day("2028-01-31"))).when(recharge())
    assert scenario.events[0].terms.expires_at == ends  # type: ignore[union-attr]  # it is a grant's


CAPS = [
    # the cap          recharges of 100 at 0.5, the balance used up after each: how many in a month
    (None,             3),
    ("150",            3),
    ("149.999999999",  2),
    ("100",            2),
    ("50",             1),
    ("49.999999999",   0),
    ("0",              0),
]  # fmt: skip


@pytest.mark.parametrize(("cap", "count"), CAPS)
def test_what_would_pass_the_months_cap_is_not_issued(cap: str | None, count: int) -> None:
    scenario = given(save_recharge(cap=cap))
    for _ in range(3):
        scenario.when(recharge())
        if scenario.events:
            scenario.when(consume(100))
    assert len(scenario.book.names) == count
    scenario.when(recharge())
    if cap is not None:
        scenario.then()


def test_the_next_month_has_its_own_cap_and_begins_at_midnight_utc() -> None:
    scenario = given(save_recharge(cap=50), recharge(), consume(100), at(FEB - MICROSECOND)).when(recharge())
    scenario.then().when(at(FEB), recharge()).then(*recharged(2, 100))
    spend = done(scenario).spend
    assert spend is not None
    assert (spend.month, spend.amount, spend.currency) == ("2026-02", units(50), "USD")
    scenario.when(consume(100), recharge()).then(fact(Debited, "R2", -100))
    scenario.when(at(day("2027-02-01")), recharge()).then(*recharged(3, 100))  # another year's


def test_spend_adds_up_over_the_month_and_is_kept_when_settings_are_saved() -> None:
    scenario = given(save_recharge(cap=80), recharge(), consume(95), save_recharge(cap=97, below=50)).when(recharge())
    scenario.then().when(save_recharge(cap="97.5", below=50), recharge())
    scenario.then(fact(AutoRechargeDefined), *recharged(2, 95))
    spend = done(scenario).spend
    assert spend is not None
    assert spend.amount == units("97.5")


def test_what_is_disabled_or_was_never_saved_does_nothing() -> None:
    given().when(recharge()).then()
    given(save_recharge(enabled=False)).when(recharge()).then()
    given(save_recharge(), save_recharge(enabled=False, below=None, to=None)).when(recharge()).then()
    given(save_recharge(enabled=False), save_recharge()).when(recharge()).then(*recharged(1, 100))


ROUNDED = [
    # price          credits        cost
    ("0.000000001",  "1",           "0.000000001"),
    ("0.000000001",  "0.5",         "0"),            # a half goes to the even one
    ("0.000000003",  "0.5",         "0.000000002"),
    ("0.000000001",  "0.500000001", "0.000000001"),
    ("0.333333333",  "3",           "0.999999999"),
    ("0",            "3",           "0"),
    ("123.456789012", "98765432.123456789", "12193263115.344611936"),
]  # fmt: skip


@pytest.mark.parametrize(("price", "amount", "cost"), ROUNDED)
def test_a_recharge_costs_price_times_credits_half_to_even(price: str, amount: str, cost: str) -> None:
    scenario = given(save_recharge(price=price, below="0.000000001", to=amount)).when(recharge())
    grant = scenario.events[0].grant  # type: ignore[union-attr]  # it is a grant's
    assert grant is not None
    assert grant.cost.amount == Decimal(cost)
    spend = done(scenario).spend
    assert spend is not None
    assert spend.amount == units(cost)


def test_another_currency_is_refused_in_a_month_in_which_something_was_spent() -> None:
    scenario = given(save_recharge(), recharge(), at(FEB - MICROSECOND)).when(save_recharge(currency="EUR"))
    scenario.then_refused(
        InvalidArgument,
        field="unitPrice.currency",
        reason="must stay USD this month: recharges were paid for in it",
    )
    scenario.when(save_recharge(price=1)).then(fact(AutoRechargeDefined))
    scenario.when(at(FEB), save_recharge(currency="EUR")).then(fact(AutoRechargeDefined))


def test_another_currency_is_fine_where_nothing_was_spent() -> None:
    given(save_recharge(price=0), recharge()).when(save_recharge(currency="EUR")).then(fact(AutoRechargeDefined))


def test_a_pool_has_one_configuration_whose_versions_are_gapless() -> None:
    log = given(save_recharge(), save_recharge(), save_recharge()).book.log
    pool = Pool(GRANTS)
    pool.evolve(log[0])
    with pytest.raises(LawBroken, match="two automatic recharges"):
        pool.evolve(changed(log[1], originator_id="other"))
    with pytest.raises(LawBroken, match="version 3 follows 1"):
        pool.evolve(log[2])
