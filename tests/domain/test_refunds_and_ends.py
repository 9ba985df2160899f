"""Refunds, voids and lapses: what comes back, what is taken out, and when it counts."""

from decimal import Decimal

import pytest

from ledger.domain.events import Debited, Expired, Granted, Refunded, Voided
from ledger.domain.refusals import (
    CreditGrantAlreadyVoided,
    CreditGrantCannotBeVoided,
    InsufficientCredits,
    RefundExceedsDebit,
)
from ledger.domain.values import Cause, Terms
from tests.domain.scenario import (
    MICROSECOND,
    START,
    Clock,
    Step,
    at,
    consume,
    day,
    fact,
    given,
    issue,
    refund,
    settle,
    units,
    void,
)

JULY, SEP, OCT = day("2026-07-01"), day("2026-09-01"), day("2026-10-01")
THREE_LOTS = (issue("A", 10, priority=1), issue("B", 10, priority=2), issue("C", 10, priority=3))

LIFO = [
    # refunds one after the other   what each gives back
    ((None,),                       ((("C", 5), ("B", 10), ("A", 10)),)),
    ((25,),                         ((("C", 5), ("B", 10), ("A", 10)),)),
    ((3,),                          ((("C", 3),),)),
    ((5,),                          ((("C", 5),),)),
    ((6,),                          ((("C", 5), ("B", 1)),)),
    ((3, 4, 18),                    ((("C", 3),), (("C", 2), ("B", 2)), (("B", 8), ("A", 10)))),
    ((24, None),                    ((("C", 5), ("B", 10), ("A", 9)), (("A", 1),))),
]  # fmt: skip


@pytest.mark.parametrize(("amounts", "parts"), LIFO)
def test_a_refund_gives_back_last_drawn_first(
    amounts: tuple[int | None, ...], parts: tuple[tuple[tuple[str, int], ...], ...]
) -> None:
    scenario = given(*THREE_LOTS, consume(25, "d"))
    for amount, returned in zip(amounts, parts, strict=True):
        scenario.when(refund("d", amount)).then(*(fact(Refunded, lot, part) for lot, part in returned))


EXCEEDING = [
    # before                                   asked   requested   refundable
    ((),                                       26,     26,         25),
    ((),                                       "25.000000001", "25.000000001", 25),
    ((refund("d", 20),),                       6,      6,          5),
    ((refund("d", 20), refund("d", 5)),        1,      1,          0),
    ((refund("d"),),                           None,   0,          0),
]  # fmt: skip


@pytest.mark.parametrize(("before", "asked", "requested", "refundable"), EXCEEDING)
def test_more_than_is_left_to_refund_is_refused(
    before: tuple[Step, ...], asked: int | str | None, requested: int | str, refundable: int
) -> None:
    given(*THREE_LOTS, consume(25, "d"), *before).when(refund("d", asked)).then_refused(
        RefundExceedsDebit, requested=units(requested), refundable=units(refundable)
    )


def test_refunded_credits_are_usable_again_and_each_debit_has_its_own_refunds() -> None:
    given(issue("A", 10), consume(6, "d1"), consume(4, "d2"), refund("d2")).when(consume(4), refund("d1", 1)).then(
        fact(Debited, "A", -4), fact(Refunded, "A", 1, debit_id="d1")
    ).holding(A=1)


def test_a_refund_carries_the_use_and_the_groups_of_its_debit_and_counts_when_it_is_made() -> None:
    given(at(JULY), issue("A", 10), consume(6, "d", use_at=JULY, groups=("g",)), at(SEP)).when(refund("d", 2)).then(
        fact(Refunded, "A", 2, use_at=JULY, account_groups=("g",), effective_at=SEP, debit_id="d", cause=Cause.REFUNDED)
    )


ENDED = [
    # how the lot ended                 what comes first          the restored credits end as
    ("expired, its lapse written",      (at(SEP), settle(), at(OCT)), (),                     Expired),
    ("expired, its lapse still due",    (at(OCT),),               (("A", -4, SEP),),          Expired),
    ("expired at this very instant",    (at(SEP),),               (("A", -4, SEP),),          Expired),
    ("voided",                          (void("A"), at(OCT)),     (),                         Voided),
    ("voided an instant ago",           (void("A"),),             (),                         Voided),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "lapses", "ending"), [case[1:] for case in ENDED], ids=[case[0] for case in ENDED])
def test_a_refund_to_a_lot_that_has_ended_restores_it_and_ends_it_again_at_the_refund(
    steps: tuple[Step | Clock, ...], lapses: tuple[tuple[str, int, object], ...], ending: type[Expired] | type[Voided]
) -> None:
    scenario = given(issue("A", 10, ends=SEP), consume(6, "d"), *steps)
    now = scenario.book.now
    scenario.when(refund("d", 5)).then(
        *(fact(Expired, lot, left, cause=Cause.LAPSED, effective_at=end) for lot, left, end in lapses),
        fact(Refunded, "A", 5, effective_at=now),
        fact(ending, "A", -5, cause=Cause.REFUND, effective_at=now),
    ).holding()
    assert scenario.events[-1].after == (units(10), units(1), 0, 0)  # type: ignore[union-attr]  # it is a movement
    scenario.when(consume(1)).then_refused(InsufficientCredits, available=0, requested=units(1), shortfall=units(1))


def test_a_refund_just_before_the_end_is_usable_until_the_end() -> None:
    given(issue("A", 10, ends=SEP), consume(10, "d"), at(SEP - MICROSECOND)).when(refund("d")).then(
        fact(Refunded, "A", 10)
    ).holding(A=10)


def test_a_refund_over_several_lots_ends_only_those_that_have_ended() -> None:
    given(issue("A", 2, ends=SEP), issue("B", 2, ends=OCT), issue("C", 2), consume(5, "d"), void("C"), at(SEP)).when(
        refund("d")
    ).then(
        fact(Refunded, "C", 1),
        fact(Voided, "C", -1, cause=Cause.REFUND),
        fact(Refunded, "B", 2),
        fact(Refunded, "A", 2),
        fact(Expired, "A", -2, cause=Cause.REFUND, effective_at=SEP),
    ).holding(B=2)


def test_a_void_takes_out_what_is_left_and_keeps_what_was_consumed() -> None:
    given(issue("A", 10), consume(4), at(JULY)).when(void("A")).then(
        fact(Voided, "A", -6, cause=Cause.VOIDED, effective_at=JULY, after=(units(10), units(4), 0, 0))
    ).holding()


def test_a_void_of_a_grant_that_has_not_begun_counts_from_its_beginning() -> None:
    given(issue("A", 10, begins=SEP)).when(void("A")).then(fact(Voided, "A", -10, effective_at=SEP))


VOID_REFUSED = [
    ("void already",                       (void("A"),),                             CreditGrantAlreadyVoided),
    ("void already, part of it used",      (consume(4), void("A")),                  CreditGrantAlreadyVoided),
    ("void already, and ended since",      (void("A"), at(SEP)),                     CreditGrantAlreadyVoided),
    ("void already, and refunded since",   (consume(4, "d"), void("A"), refund("d")), CreditGrantAlreadyVoided),
    ("all consumed",                       (consume(10),),                           CreditGrantCannotBeVoided),
    ("all consumed, and ended",            (consume(10), at(SEP)),                   CreditGrantCannotBeVoided),
    ("expired, its lapse written",         (at(SEP), settle()),                      CreditGrantCannotBeVoided),
    ("expired, its lapse still due",       (at(SEP),),                               CreditGrantCannotBeVoided),
]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "refusal"), [case[1:] for case in VOID_REFUSED], ids=[case[0] for case in VOID_REFUSED]
)
def test_a_void_is_refused_first_for_a_void_grant_then_for_an_empty_one(
    steps: tuple[Step | Clock, ...],
    refusal: type[CreditGrantAlreadyVoided] | type[CreditGrantCannotBeVoided],
) -> None:
    given(issue("A", 10, ends=SEP), *steps).when(void("A")).then_refused(refusal, grant="A")


def test_a_consumed_grant_that_is_refunded_may_be_voided() -> None:
    given(issue("A", 10), consume(10, "d"), refund("d", 3)).when(void("A")).then(fact(Voided, "A", -3))


def test_a_lapse_is_dated_at_the_end_however_late_it_is_written_and_written_once() -> None:
    scenario = given(issue("A", 10, ends=SEP), consume(4), at(OCT)).when(settle())
    scenario.then(fact(Expired, "A", -6, cause=Cause.LAPSED, effective_at=SEP, use_at=None)).holding()
    assert scenario.events[0].transaction.recorded_at == OCT
    scenario.when(settle()).then()


def test_nothing_lapses_before_its_end_nor_what_is_empty() -> None:
    given(issue("A", 10, ends=SEP), issue("B", 3, ends=JULY), consume(3), at(SEP - MICROSECOND)).when(settle()).then()


def test_lapses_come_soonest_first_and_equal_ends_by_id() -> None:
    given(
        issue("A", 1, ends=OCT, priority=1),
        issue("C", 1, ends=SEP, priority=2),
        issue("B", 1, ends=SEP, priority=3),
        issue("D", 1, ends=JULY, priority=4),
        issue("E", 1),
        at(OCT),
    ).when(settle()).then(*(fact(Expired, lot, -1) for lot in "DBCA")).holding(E=1)


def test_what_is_due_is_dropped_with_a_command_that_is_refused_and_written_by_the_next() -> None:
    scenario = given(issue("A", 10, ends=SEP), issue("B", 1), at(SEP)).when(consume(2))
    scenario.then_refused(InsufficientCredits, available=units(1), requested=units(2), shortfall=units(1))
    scenario.when(consume(1)).then(fact(Expired, "A", -10), fact(Debited, "B", -1)).holding()


def test_what_is_due_is_a_transaction_of_its_own() -> None:
    scenario = given(issue("A", 10, ends=SEP), issue("B", 1), at(SEP)).when(consume(1, "d"))
    lapse, debit = scenario.events
    assert lapse.transaction.transaction_id != debit.transaction.transaction_id == "d"


def test_an_unpaid_grant_lapses_like_any_other() -> None:
    given(issue("A", 10, ends=SEP, unpaid=True), at(SEP)).when(settle()).then(fact(Expired, "A", -10))


def test_a_grant_comes_in_whole_with_its_terms() -> None:
    scenario = given().when(issue("A", 10, begins=SEP, ends=OCT, priority=7))
    scenario.then(fact(Granted, "A", 10, effective_at=SEP, cause=Cause.ISSUED, originator_version=1, terms_version=1))
    event = scenario.events[0]
    assert isinstance(event, Granted)
    assert event.terms == Terms(effective_at=SEP, expires_at=OCT, created_at=START, priority=Decimal(7))
