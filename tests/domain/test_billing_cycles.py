"""Billing cycles: whole periods from the anchor, without drift, gap or overlap, also where the rollup type changes."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.billing_cycle import BillingCycle
from ledger.domain.events import ExecutionCreditDefined
from ledger.domain.execution_credit import cycle_of
from ledger.domain.instants import Instant
from ledger.domain.values import RollupType
from tests.domain.scenario import (
    EXECUTIONS,
    MICROSECOND,
    START,
    Book,
    Scenario,
    at,
    bounds,
    day,
    open_credit,
    settle,
    turn,
)

MONTHLY, QUARTERLY, SEMIANNUAL = RollupType.MONTHLY, RollupType.QUARTERLY, RollupType.SEMIANNUAL
YEARLY, ADDON = RollupType.YEARLY, RollupType.ADDON
MONTHS = {MONTHLY: 1, QUARTERLY: 3, SEMIANNUAL: 6, YEARLY: 12}


@pytest.mark.parametrize(
    ("rollup",      "instant",                    "starts",      "ends"),
    [
        (MONTHLY,    "2026-01-31",                 "2026-01-31", "2026-02-28"),
        (MONTHLY,    "2026-02-28",                 "2026-02-28", "2026-03-31"),
        (MONTHLY,    "2026-12-31",                 "2026-12-31", "2027-01-31"),
        (QUARTERLY,  "2026-01-31",                 "2026-01-31", "2026-04-30"),
        (QUARTERLY,  "2026-04-30",                 "2026-04-30", "2026-07-31"),
        (SEMIANNUAL, "2026-07-30",                 "2026-01-31", "2026-07-31"),
        (SEMIANNUAL, "2026-07-31",                 "2026-07-31", "2027-01-31"),
        (YEARLY,     "2026-01-31",                 "2026-01-31", "2027-01-31"),
        (YEARLY,     "2027-01-30T23:59:59.999999", "2026-01-31", "2027-01-31"),
    ],
)  # fmt: skip
def test_a_period_ends_where_the_next_one_begins(rollup: RollupType, instant: str, starts: str, ends: str) -> None:
    cycle = BillingCycle(START, rollup)
    assert (cycle.period_start(day(instant)), cycle.period_end(day(instant))) == (day(starts), day(ends))


def test_an_addon_has_one_period_without_an_end() -> None:
    assert BillingCycle(START, ADDON).period_end(START) is None


@pytest.mark.parametrize(
    ("rollup", "anchor", "ends"),
    [
        (MONTHLY, "9999-11-30", "9999-12-30"),
        (MONTHLY, "9999-12-01", None),
        (QUARTERLY, "9999-09-30", "9999-12-30"),
        (QUARTERLY, "9999-10-01", None),
        (YEARLY, "9998-12-31", "9999-12-31"),
        (YEARLY, "9999-01-01", None),
    ],
)
def test_a_period_that_would_end_beyond_the_calendar_has_no_end(rollup: RollupType, anchor: str, ends: object) -> None:
    cycle = BillingCycle(day(anchor), rollup)
    assert cycle.period_end(day(anchor)) == (None if ends is None else day(str(ends)))


class Stretch(NamedTuple):
    """So many renewals are slept through after another rollup type was, or was not, asked for."""

    asked: RollupType | None
    renewals: int


def on_the_day(anchor: Instant, month: int) -> Instant:
    """So many months after the anchor, by the calendar on the wall."""
    year, number = anchor.year + (anchor.month - 1 + month) // 12, (anchor.month - 1 + month) % 12 + 1
    return anchor.replace(year=year, month=number, day=min(anchor.day, monthrange(year, number)[1]))


def periods(anchor: Instant, created: Instant, first: RollupType, stretches: list[Stretch]) -> list[Instant]:
    """Where a credit's periods should begin and end, one after the other; its first begins with the credit."""
    rollup_type, month = first, 0
    while on_the_day(anchor, month) <= created:
        month += MONTHS[rollup_type]
    found = [created, on_the_day(anchor, month)]
    for stretch in stretches:
        rollup_type = stretch.asked or rollup_type
        for _ in range(stretch.renewals):
            month += MONTHS[rollup_type]
            found.append(on_the_day(anchor, month))
    return found


DAYS = [*range(1, 29), *[29, 30, 31] * 9]
anchors = st.builds(
    lambda year, month, date, time: datetime(year, month, min(date, monthrange(year, month)[1]), tzinfo=UTC) + time,
    st.integers(2023, 2028),
    st.integers(1, 12) | st.just(2),
    st.sampled_from(DAYS),
    st.sampled_from([timedelta(0), timedelta(days=1) - MICROSECOND, timedelta(hours=13, microseconds=1)]),
)
rollups = st.sampled_from(list(MONTHS))
stretches = st.lists(st.builds(Stretch, st.none() | rollups, st.integers(1, 9)), min_size=1, max_size=12)


@given(anchors, st.integers(0, 800), rollups, stretches)
def test_ten_years_of_periods_are_those_on_the_calendar_whatever_it_is_asked_to_turn_to(
    anchor: Instant, late: int, first: RollupType, asked: list[Stretch]
) -> None:
    created = anchor + timedelta(days=late)
    edges = periods(anchor, created, first, asked)
    book = Book(EXECUTIONS)
    book.now = created
    scenario = Scenario(book).when(open_credit("C", first, 100, anchor=anchor))
    place, kept, turns, definition = 1, first, 0, book.credit("C").definition
    for stretch in asked:
        if stretch.asked is not None:
            scenario.when(turn("C", stretch.asked))
            turns += stretch.asked is not kept
            kept = stretch.asked
        place += stretch.renewals
        scenario.when(at(edges[place - 1]), settle())
        definition = book.credit("C").definition
        assert (definition.rollup_type, definition.next_rollup_type) == (kept, None)
        cycle, begins, ends = cycle_of(definition), edges[place - 1], edges[place]
        for instant in (begins, begins + (ends - begins) / 2, ends - MICROSECOND):
            assert (cycle.period_start(instant), cycle.period_end(instant)) == (begins, ends)
        assert cycle.period_start(ends) == ends
    assert bounds(book.log) == list(pairwise(edges))
    asked_for = sum(stretch.asked is not None for stretch in asked)
    definitions = [event for event in book.log if isinstance(event, ExecutionCreditDefined)]
    assert len(definitions) == 1 + asked_for + turns
    assert definition.anchor_at == anchor
