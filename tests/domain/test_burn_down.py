"""Which lots pay for a use: the one order, from when to when, all or nothing."""

from datetime import timedelta

import pytest

from ledger.domain.events import Debited, Expired
from ledger.domain.instants import Instant
from ledger.domain.refusals import InsufficientCredits
from ledger.domain.values import Cause, GrantType
from tests.domain.scenario import MICROSECOND, START, Step, at, consume, day, fact, given, issue, units

PROMOTIONAL, ROLLOVER = GrantType.PROMOTIONAL, GrantType.ROLLOVER
SUBSCRIPTION, PAID = GrantType.SUBSCRIPTION, GrantType.PAID
AUG, SEP, OCT = day("2026-08-15"), day("2026-09-01"), day("2026-10-01")
EARLIER = START - timedelta(days=1)


def test_the_contracts_worked_case() -> None:
    given(
        issue("A", 50,  priority=1, ends=SEP, grant_type=PAID),
        issue("B", 20,  priority=1, ends=SEP, grant_type=PROMOTIONAL),
        issue("C", 100, priority=2, ends=AUG, grant_type=PROMOTIONAL),
    ).when(
        consume(60),
    ).then(
        fact(Debited, "B", -20),
        fact(Debited, "A", -40),
    ).holding(A=10, C=100)  # fmt: skip


ORDER = [
    # Z pays before A, although every later key of the order says otherwise
    ("the lower priority",
        issue("Z", 1, priority=1,        ends=None, grant_type=PAID,         begins=START,   created=START),
        issue("A", 1, priority=2,        ends=AUG,  grant_type=PROMOTIONAL,  begins=EARLIER, created=EARLIER)),
    ("the lower priority by a fraction",
        issue("Z", 1, priority="1.0001", ends=None, grant_type=PAID,         begins=START,   created=START),
        issue("A", 1, priority="1.0002", ends=AUG,  grant_type=PROMOTIONAL,  begins=EARLIER, created=EARLIER)),
    ("the priority as a number, not as text",
        issue("Z", 1, priority=9,        ends=None, grant_type=PAID,         begins=START,   created=START),
        issue("A", 1, priority=10,       ends=AUG,  grant_type=PROMOTIONAL,  begins=EARLIER, created=EARLIER)),
    ("the sooner end",
        issue("Z", 1,                    ends=AUG,  grant_type=PAID,         begins=START,   created=START),
        issue("A", 1,                    ends=SEP,  grant_type=PROMOTIONAL,  begins=EARLIER, created=EARLIER)),
    ("the sooner end by a microsecond",
        issue("Z", 1,      ends=AUG - MICROSECOND,  grant_type=PAID,         begins=START,   created=START),
        issue("A", 1,                    ends=AUG,  grant_type=PROMOTIONAL,  begins=EARLIER, created=EARLIER)),
    ("what ends before what never ends",
        issue("Z", 1,                    ends=OCT,  grant_type=PAID,         begins=START,   created=START),
        issue("A", 1,                    ends=None, grant_type=PROMOTIONAL,  begins=EARLIER, created=EARLIER)),
    ("promotional before rollover",
        issue("Z", 1,                    ends=AUG,  grant_type=PROMOTIONAL,  begins=START,   created=START),
        issue("A", 1,                    ends=AUG,  grant_type=ROLLOVER,     begins=EARLIER, created=EARLIER)),
    ("rollover before subscription",
        issue("Z", 1,                    ends=AUG,  grant_type=ROLLOVER,     begins=START,   created=START),
        issue("A", 1,                    ends=AUG,  grant_type=SUBSCRIPTION, begins=EARLIER, created=EARLIER)),
    ("subscription before paid",
        issue("Z", 1,                    ends=AUG,  grant_type=SUBSCRIPTION, begins=START,   created=START),
        issue("A", 1,                    ends=AUG,  grant_type=PAID,         begins=EARLIER, created=EARLIER)),
    ("the earlier beginning",
        issue("Z", 1,                    ends=AUG,  grant_type=PAID,         begins=EARLIER, created=START),
        issue("A", 1,                    ends=AUG,  grant_type=PAID,         begins=START,   created=EARLIER)),
    ("the earlier creation",
        issue("Z", 1,                    ends=AUG,  grant_type=PAID,         begins=EARLIER, created=EARLIER),
        issue("A", 1,                    ends=AUG,  grant_type=PAID,         begins=EARLIER, created=START)),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), [case[1:] for case in ORDER], ids=[case[0] for case in ORDER])
@pytest.mark.parametrize("turned", [False, True], ids=["issued in order", "issued the other way round"])
def test_what_pays_first(first: Step, second: Step, turned: bool) -> None:
    issued = (second, first) if turned else (first, second)
    given(*issued).when(consume(2)).then(fact(Debited, "Z", -1), fact(Debited, "A", -1))


@pytest.mark.parametrize("names", ["ABC", "CBA", "BCA"])
def test_among_lots_alike_in_everything_the_smaller_id_pays_first(names: str) -> None:
    given(*(issue(name, 1, ends=SEP) for name in names)).when(consume(3)).then(*(fact(Debited, n, -1) for n in "ABC"))


USABLE = [
    # begins                 ends                    unpaid  usable
    (START,                  None,                   False,  True),
    (START,                  START + MICROSECOND,    False,  True),
    (START - MICROSECOND,    None,                   False,  True),
    (START + MICROSECOND,    None,                   False,  False),
    (START + MICROSECOND,    SEP,                    False,  False),
    (EARLIER,                START,                  False,  False),
    (EARLIER,                START - MICROSECOND,    False,  False),
    (START,                  None,                   True,   False),
    (START,                  SEP,                    True,   False),
]  # fmt: skip


@pytest.mark.parametrize(("begins", "ends", "unpaid", "usable"), USABLE)
def test_a_lot_pays_from_its_beginning_until_just_before_its_end_and_only_once_paid_for(
    begins: Instant, ends: Instant | None, unpaid: bool, usable: bool
) -> None:
    issued = issue("A", 1, begins=begins, ends=ends, unpaid=unpaid)
    scenario = given(at(EARLIER), issued, at(START)).when(consume(1))
    if usable:
        scenario.then(fact(Debited, "A", -1))
    else:
        scenario.then_refused(InsufficientCredits, available=0, requested=units(1), shortfall=units(1))


@pytest.mark.parametrize(
    ("instant",           "usable", "ended"),
    [
        (SEP - MICROSECOND,  False, False),
        (SEP,                True,  False),
        (OCT - MICROSECOND,  True,  False),
        (OCT,                False, True),
        (OCT + MICROSECOND,  False, True),
    ],
)  # fmt: skip
def test_a_lot_itself_knows_when_it_may_be_used_and_when_it_has_ended(
    instant: Instant, usable: bool, ended: bool
) -> None:
    """Whether or not its lapse has been written."""
    (lot,) = given(issue("A", 1, begins=SEP, ends=OCT)).book.pool.lots
    assert (lot.usable_at(instant), lot.ended_at(instant)) == (usable, ended)


def test_a_lot_that_cannot_pay_is_passed_over_and_the_next_one_pays() -> None:
    given(
        issue("unpaid", 5, priority=1, unpaid=True),
        issue("future", 5, priority=2, begins=SEP),
        issue("usable", 5, priority=3),
    ).when(consume(5)).then(fact(Debited, "usable", -5)).holding(unpaid=5, future=5)


def test_a_debit_is_all_or_nothing_and_its_refusal_says_what_is_missing() -> None:
    given(
        issue("A", "1.5"),
        issue("B", 2, unpaid=True),
        issue("C", "0.000000001"),
    ).when(consume(4)).then_refused(
        InsufficientCredits,
        available=units("1.500000001"),
        requested=units(4),
        shortfall=units("2.499999999"),
    ).holding(A="1.5", B=2, C="0.000000001")


def test_a_debit_may_take_the_last_billionth_and_no_more() -> None:
    scenario = given(issue("A", "9999999999999999999.999999999")).when(consume("9999999999999999999.999999999"))
    scenario.then(fact(Debited, "A", "-9999999999999999999.999999999")).holding()
    scenario.when(consume("0.000000001")).then_refused(InsufficientCredits, available=0, requested=1, shortfall=1)


def test_a_use_dated_back_is_paid_by_the_lots_usable_when_it_is_recorded_and_counts_from_their_beginning() -> None:
    """When it was used, when the movement counts and when it was recorded are three instants."""
    june, july = day("2026-06-01"), day("2026-07-01")
    given(
        at(june), issue("ended", 5, ends=AUG), issue("open", 5),
        at(july), issue("new", 5, priority=99),
        at(AUG),
    ).when(
        consume(6, use_at=june + MICROSECOND, groups=("g1", "g2")),
    ).then(
        fact(Expired, "ended", -5, effective_at=AUG),
        fact(Debited, "open", -5, use_at=june + MICROSECOND, effective_at=june + MICROSECOND),
        fact(Debited, "new", -1, use_at=june + MICROSECOND, effective_at=july,
             account_groups=("g1", "g2"), cause=Cause.CONSUMED, debit_id="use"),
    )  # fmt: skip


def test_the_draws_of_one_debit_tell_the_state_after_each() -> None:
    scenario = given(issue("A", 3), issue("B", 4)).when(consume(5))
    assert [event.after for event in scenario.events if isinstance(event, Debited)] == [
        (units(3), units(3), 0, units(4)),
        (units(4), units(2), units(2), units(2)),
    ]
