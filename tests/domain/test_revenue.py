"""What becomes of the cost of a grant: exact at every step, and nothing before its payment is recorded."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.credits import AMOUNT_MAX, credits_of, credits_text
from ledger.domain.grant_details import Cost, GrantDetails, Origin, Payment
from ledger.domain.revenue import Course, Price, Revenue, counts_from, deferred_of, revenue_of
from ledger.domain.values import PaymentCollection, PaymentMethod, StreamId

BEGINS_AT = datetime(2026, 3, 1, tzinfo=UTC)
PAID_AT = datetime(2026, 2, 1, tzinfo=UTC)
THIRDS = Price(credits_of("100"), credits_of(3))
amounts = st.integers(1, 20) | st.integers(1, AMOUNT_MAX)


def course(
    used: object, voided: object = 0, lapsed: object = 0, rolled_over: object = 0, carried_out: object = 0
) -> Course:
    """Of THIRDS, with what is owed by law 1."""
    come = Course(True, credits_of(used), credits_of(voided), credits_of(lapsed), carried_out=credits_of(carried_out))
    come.owed = THIRDS.granted - come.used - come.voided - come.lapsed - credits_of(rolled_over)
    return come


@pytest.mark.parametrize(
    ("come",                                         "recognised",   "breakage",     "voided",       "deferred"),
    [
        (course(0),                                  "0",            "0",            "0",            "100"),
        (course(1),                                  "33.333333333", "0",            "0",            "66.666666667"),
        (course(2),                                  "66.666666667", "0",            "0",            "33.333333333"),
        (course(3),                                  "100",          "0",            "0",            "0"),
        (course(1, lapsed=2),                        "33.333333333", "66.666666667", "0",            "0"),
        (course(0, lapsed=3),                        "0",            "100",          "0",            "0"),
        (course(2, voided=1),                        "66.666666667", "0",            "33.333333333", "0"),
        (course(1, 0, 0, 2, "66.666666667"),         "33.333333333", "0",            "0",            "0"),
        (course(1, 0, 1, 1, "33.333333334"),         "33.333333333", "33.333333333", "0",            "0"),
        (course(0, 0, 2, 1, "33.333333333"),         "0",            "66.666666667", "0",            "0"),
        (course(0, 0, 1, 2, "66.666666667"),         "0",            "33.333333333", "0",            "0"),
        (replace(course(3), counts=False),           "0",            "0",            "0",            "0"),
        (replace(course(1, 0, 2), counts=False),     "0",            "0",            "0",            "0"),
    ],
)  # fmt: skip
def test_of_100_for_three_credits(come: Course, recognised: str, breakage: str, voided: str, deferred: str) -> None:
    found = revenue_of(THIRDS, come)
    told = [credits_text(each) for each in (found.recognised, found.breakage, found.voided, found.deferred)]
    assert told == [recognised, breakage, voided, deferred]
    assert deferred_of(THIRDS, come) == found.deferred
    assert found.cost == (THIRDS.cost if come.counts else 0)


@given(cost=amounts, granted=amounts, carried_on=st.booleans(), data=st.data())
def test_uses_refunds_and_the_end_add_up_to_the_cost_exactly_however_they_are_cut(
    cost: int, granted: int, carried_on: bool, data: st.DataObject
) -> None:
    """After every step: used up to so much, or back to so much; then it ends, and what was refunded ends as well."""
    price = Price(cost, granted, carried_on)
    steps = data.draw(st.lists(st.integers(0, granted), min_size=1, max_size=8))
    gross = refunds = used = 0
    for step in [*steps, 0]:
        gross += max(0, price.share(step) - price.share(used))
        refunds += price.returned(used - step, step) if step < used else 0
        used = step
        for come in (
            Course(True, used, owed=granted - used, refunds=refunds),
            Course(True, used, lapsed=granted - used, refunds=refunds),
            Course(True, used, voided=granted - used, refunds=refunds),
        ):
            found = revenue_of(price, come)
            assert found.cost + found.carried_in == cost
            assert (found.carried_in == 0) != carried_on
            assert found.recognised == round(Fraction(cost * used, granted))
            assert found.recognised + found.refunds == gross
            assert found.deferred == deferred_of(price, come)
            assert min(found) >= 0
            assert found.deferred == 0 or come.owed > 0


def test_what_came_since_tells_refunds_that_outweigh_uses() -> None:
    earlier, later = revenue_of(THIRDS, course(2)), revenue_of(THIRDS, course(1))
    assert later.since(earlier) == Revenue(recognised=credits_of("33.333333333") - credits_of("66.666666667"))
    assert earlier.since(Revenue()) == earlier


@pytest.mark.parametrize(
    ("method",               "paid_at", "counts"),
    [
        (PaymentMethod.NONE,    None,    BEGINS_AT),
        (PaymentMethod.NONE,    PAID_AT, BEGINS_AT),
        (PaymentMethod.INVOICE, PAID_AT, PAID_AT),
        (PaymentMethod.INVOICE, None,    None),
        (PaymentMethod.CHARGE,  PAID_AT, PAID_AT),
        (PaymentMethod.CHARGE,  None,    None),
    ],
)  # fmt: skip
def test_a_grant_counts_from_its_payment_or_where_none_is_asked_for_from_its_beginning(
    method: PaymentMethod, paid_at: datetime | None, counts: datetime | None
) -> None:
    payment = Payment(method=method, collection=PaymentCollection.NOT_REQUIRED, paid_at=paid_at)
    details = GrantDetails(readable_id="cg-1", cost=Cost(amount=Decimal(9), currency="EUR"), payment=payment)
    assert counts_from(details, BEGINS_AT) == counts


def test_the_cost_of_a_grant_that_carries_on_another_came_in_with_it() -> None:
    origin = Origin(grant_id=StreamId("0"), readable_id="cg-0")
    details = GrantDetails(readable_id="cg-1", cost=Cost(amount=Decimal("9.5"), currency="EUR"))
    assert Price.of(details, 7) == Price(credits_of("9.5"), 7, carried_on=False)
    assert Price.of(details.model_copy(update={"rolled_over_from": origin}), 7).carried_on
