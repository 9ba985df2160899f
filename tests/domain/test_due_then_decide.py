"""What one decision writes first holds for what it writes next; an event that does not fit its pool stops the fold."""

import pytest

from ledger.domain.events import Movement
from ledger.domain.lots import LawBroken
from ledger.domain.values import LotId, RollupType
from tests.domain.scenario import EXECUTIONS, at, changed, consume, day, given, issue, open_credit, settle

FEB, MARCH = day("2026-02-28"), day("2026-03-31")
MONTHLY = RollupType.MONTHLY


def test_a_debit_at_a_renewal_names_the_terms_in_force() -> None:
    scenario = given(open_credit("C", MONTHLY, 100), at(FEB), pool=EXECUTIONS).when(consume(1))
    assert [event.terms_version for event in scenario.events[1:] if isinstance(event, Movement)] == [4, 4]


def test_lapses_of_periods_slept_through_name_their_terms() -> None:
    scenario = given(open_credit("C", MONTHLY, 100), at(MARCH), pool=EXECUTIONS).when(settle())
    assert [event.terms_version for event in scenario.events if isinstance(event, Movement)] == [2, 4, 4, 6]


def test_an_event_about_a_lot_its_stream_does_not_have_breaks_the_law() -> None:
    scenario = given(issue("A", 10)).when(consume(1))
    with pytest.raises(LawBroken):
        scenario.book.pool.evolve(changed(scenario.events[0], lot=LotId("other")))


def test_an_event_that_skips_a_version_breaks_the_law() -> None:
    scenario = given(issue("A", 10), consume(1))
    again = given(issue("A", 10))
    with pytest.raises(LawBroken):
        again.book.pool.evolve(changed(scenario.book.log[1], originator_version=7))


def test_an_event_of_another_pool_breaks_the_law() -> None:
    scenario = given(issue("A", 10), consume(1))
    again = given(issue("A", 10))
    with pytest.raises(LawBroken):
        again.book.pool.evolve(changed(scenario.book.log[1], pool=EXECUTIONS))
