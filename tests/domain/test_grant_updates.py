"""A grant becomes another: its terms and texts, its place in the burn-down, and what may not change any more."""

from decimal import Decimal
from typing import Any, TypeAlias

import pytest

from ledger.domain.events import Debited, Expired, GrantUpdated, Refunded
from ledger.domain.instants import Instant, instant_text
from ledger.domain.refusals import (
    CannotUpdateExpireAtForExpiredCreditGrant,
    CreditGrantAlreadyVoided,
    ExpireAtMustBeLaterThanEffectiveAt,
    InsufficientCredits,
    InvalidArgument,
    Refusal,
)
from ledger.domain.values import Cause
from tests.domain.grant_steps import update
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
    texts_of,
    units,
    void,
)

Row: TypeAlias = tuple[type[Refusal], dict[str, Any]]
JULY, SEP, OCT, NOV = day("2026-07-01"), day("2026-09-01"), day("2026-10-01"), day("2026-11-01")


def test_an_update_tells_the_whole_grant_and_moves_no_credit() -> None:
    scenario = given(issue("A", 10, begins=SEP, ends=OCT, cost=5), issue("B", 1)).when(
        update("A", begins=JULY, ends=NOV, priority=7)
    )
    scenario.then(
        fact(GrantUpdated, "A", cause=Cause.UPDATED, effective_at=START, originator_version=2, terms_version=2,
             after=(units(10), 0, units(10), units(11))),
    )  # fmt: skip
    event = scenario.events[0]
    assert isinstance(event, GrantUpdated)
    assert event.terms.model_dump() == {
        "effective_at": JULY, "expires_at": NOV, "created_at": START, "priority": Decimal(7),
        "awaiting_payment": False,
    }  # fmt: skip
    issued = scenario.book.log[0].grant  # type: ignore[union-attr]  # it is a grant's
    assert issued is not None
    assert event.grant == issued.model_copy(update={"texts": texts_of("A")})


def test_what_is_not_named_stays_and_what_is_said_twice_stays_too() -> None:
    scenario = given(issue("A", 10, begins=SEP, ends=OCT, priority=3, unpaid=True)).when(
        update("A", texts=texts_of("other")), update("A", priority=3), update("A", begins=SEP, ends=OCT)
    )
    terms = scenario.book.log[0].terms  # type: ignore[union-attr]  # it is a grant's
    for event in scenario.events:
        assert isinstance(event, GrantUpdated)
        assert (event.terms, event.grant.texts) == (terms, texts_of("other"))


def test_the_terms_in_force_are_named_by_whatever_follows() -> None:
    given(issue("A", 10), update("A", priority=3), update("A", priority=4)).when(consume(1), refund()).then(
        fact(Debited, "A", -1, terms_version=3), fact(Refunded, "A", 1, terms_version=3)
    )


ORDERS = [
    # what is updated                      who pays first then
    ("nothing",                            settle(),                       "AB"),
    ("a lower priority",                   update("B", priority=49),       "BA"),
    ("a priority just lower",              update("B", priority="49.999999999"), "BA"),
    ("a higher priority",                  update("A", priority=51),       "BA"),
    ("a sooner end",                       update("B", ends=JULY),         "BA"),
    ("an end a microsecond sooner",        update("B", ends=SEP - MICROSECOND), "BA"),
    ("a later end",                        update("A", ends=NOV),          "BA"),
    ("no end",                             update("A", endless=True),      "BA"),
    ("a later end, still the sooner",      update("A", ends=OCT - MICROSECOND), "AB"),
    ("another name",                       update("B", texts=texts_of("first")), "AB"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "order"), [case[1:] for case in ORDERS], ids=[case[0] for case in ORDERS])
def test_an_update_moves_a_grant_in_the_burn_down_order(change: Step, order: str) -> None:
    scenario = given(issue("A", 2, ends=SEP), issue("B", 2, ends=OCT), change)
    scenario.holding(**dict.fromkeys(order, 2))
    scenario.when(consume(3)).then(fact(Debited, order[0], -2), fact(Debited, order[1], -1))


def test_what_was_drawn_under_the_old_order_is_given_back_as_it_was_drawn() -> None:
    given(issue("A", 2), issue("B", 2), consume(3, "d"), update("A", priority=99)).when(refund("d", 2)).then(
        fact(Refunded, "B", 1), fact(Refunded, "A", 1)
    ).holding(B=2, A=1)


def test_a_later_end_is_when_it_lapses() -> None:
    scenario = given(issue("A", 10, ends=SEP), update("A", ends=OCT), at(SEP)).when(consume(1))
    scenario.then(fact(Debited, "A", -1))
    scenario.when(at(OCT), settle()).then(fact(Expired, "A", -9, effective_at=OCT, terms_version=2))


def test_a_sooner_end_is_when_it_lapses() -> None:
    given(issue("A", 10, ends=OCT), update("A", ends=SEP), at(OCT)).when(settle()).then(
        fact(Expired, "A", -10, effective_at=SEP)
    )


def test_a_grant_whose_end_is_taken_away_never_lapses() -> None:
    given(issue("A", 10, ends=SEP), update("A", endless=True), at(NOV)).when(settle()).then().holding(A=10)


def test_a_grant_that_never_ended_may_be_given_an_end() -> None:
    given(issue("A", 10), update("A", ends=SEP), at(SEP)).when(settle()).then(fact(Expired, "A", -10))


def test_a_beginning_may_move_before_it_has_come() -> None:
    scenario = given(issue("A", 10, begins=SEP)).when(consume(1))
    scenario.then_refused(InsufficientCredits, available=0, requested=units(1), shortfall=units(1))
    scenario.when(update("A", begins=START), consume(1)).then(
        fact(GrantUpdated, "A"), fact(Debited, "A", -1, effective_at=START)
    )
    scenario = given(issue("A", 10, begins=SEP), update("A", begins=OCT), at(OCT - MICROSECOND)).when(consume(1))
    scenario.then_refused(InsufficientCredits, available=0, requested=units(1), shortfall=units(1))


def test_a_consumed_grant_is_updated_and_what_comes_back_has_the_new_terms() -> None:
    scenario = given(issue("A", 10, ends=SEP), issue("B", 10), consume(10, "d")).when(update("A", endless=True))
    scenario.then(fact(GrantUpdated, "A", after=(units(10), units(10), 0, units(10)))).holding(B=10)
    scenario.when(update("A", priority=51), refund("d", 4), at(NOV), settle()).then(
        fact(GrantUpdated, "A"), fact(Refunded, "A", 4, terms_version=4)
    ).holding(B=10, A=4)


def test_a_grant_that_has_ended_may_still_be_called_and_ranked_otherwise() -> None:
    given(issue("A", 10, ends=SEP), at(SEP)).when(
        update("A", texts=texts_of("other")), update("A", priority=1)
    ).then(
        fact(Expired, "A", -10), fact(GrantUpdated, "A", after=(units(10), 0, 0, 0)), fact(GrantUpdated, "A")
    ).holding()  # fmt: skip


VOID: Row = (CreditGrantAlreadyVoided, {"grant": "A"})
EXPIRED: Row = (CannotUpdateExpireAtForExpiredCreditGrant, {"grant": "A"})
BEGUN: Row = (InvalidArgument, {"field": "effectiveAt", "reason": "cannot change once the grant has begun"})


def order(ends: Instant, begins: Instant) -> Row:
    return ExpireAtMustBeLaterThanEffectiveAt, {"expire_at": instant_text(ends), "effective_at": instant_text(begins)}


PAST: Row = (InvalidArgument, {"field": "expireAt", "reason": "must be later than now"})
VOIDED = (issue("A", 10, begins=SEP, ends=OCT), void("A"))
ENDED = (issue("A", 10, ends=SEP), at(SEP))
CONSUMED = (issue("A", 10, ends=SEP), consume(10), at(SEP))
OPEN = (issue("A", 10, ends=OCT), at(SEP))
FUTURE = (issue("A", 10, begins=SEP, ends=OCT),)
REFUSED = [
    # why, what comes before, the update, its refusal: each row would be refused for what the rows below it are, too
    ("void already",                    VOIDED, update("A", begins=OCT, ends=SEP),    VOID),
    ("void already, its texts alone",   VOIDED, update("A", texts=texts_of("other")), VOID),
    ("void already and ended since",    (*VOIDED, at(OCT)), update("A", ends=JULY),   VOID),
    ("ended, lapse still due",          ENDED,  update("A", begins=OCT, ends=SEP),    EXPIRED),
    ("ended, lapse written",            (*ENDED, settle()), update("A", ends=OCT),    EXPIRED),
    ("ended, its end taken away",       ENDED,  update("A", endless=True),            EXPIRED),
    ("ended and consumed",              CONSUMED, update("A", ends=OCT),          EXPIRED),
    ("begun",                           OPEN,   update("A", begins=NOV, ends=SEP),    BEGUN),
    ("begun at this very instant",      (issue("A", 10),), update("A", begins=JULY),  BEGUN),
    ("begun and ended",                 ENDED,  update("A", begins=OCT),              BEGUN),
    ("an end at the beginning",         FUTURE, update("A", ends=SEP),                order(SEP, SEP)),
    ("an end before the beginning",     FUTURE, update("A", ends=START),              order(START, SEP)),
    ("a beginning at the end",          FUTURE, update("A", begins=OCT),              order(OCT, OCT)),
    ("both, the wrong way round",       FUTURE, update("A", begins=OCT, ends=SEP),    order(SEP, OCT)),
    ("an end that is past",             OPEN,   update("A", ends=JULY),               PAST),
    ("an end at this very instant",     OPEN,   update("A", ends=SEP),                PAST),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "step", "refusal"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_an_update_is_refused_in_this_order(before: tuple[Step | Clock, ...], step: Step, refusal: Row) -> None:
    given(*before).when(step).then_refused(refusal[0], **refusal[1])


@pytest.mark.parametrize(
    ("begins",              "ends"),
    [
        (SEP,                  SEP + MICROSECOND),
        (OCT - MICROSECOND,    None),
        (START - MICROSECOND,  None),
        (START,                START + MICROSECOND),
    ],
)  # fmt: skip
def test_terms_that_just_fit_are_accepted(begins: Instant, ends: Instant | None) -> None:
    given(*FUTURE).when(update("A", begins=begins, ends=ends)).then(fact(GrantUpdated, "A"))
