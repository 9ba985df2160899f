"""Changing execution credits: the allotment at once, the renewal cycle from the next renewal on, both or neither.

Tests that move the clock move it forward only: each begins in a year that none has used.
"""

from datetime import datetime
from typing import Any

import pytest

from ledger.store.database import Database
from tests.service.executions import (
    LIST,
    RENEWING,
    UPDATE,
    Company,
    delete,
    done,
    last_of_january,
    movements,
    refund,
    refusal,
    renewals,
    shown,
    update,
    used,
)
from tests.service.serving import Service
from tests.service.test_graphql_clock import MICROSECOND, move, read, wire
from tests.service.test_graphql_schedules import step


def last_movement(schema: Database, company: Company) -> tuple[str, str, float, int]:
    """Type, cause, amount, and what its lot holds afterwards."""
    row = [row for row in movements(schema, company.id) if row["amount"] is not None][-1]
    return row["type"], row["cause"], row["credits"], row["lot_balance"] // 10**9


@pytest.mark.parametrize("rollup_type", ["MONTHLY", "ADDON"])
def test_raised_credits_are_there_at_once(service: Service, schema: Database, rollup_type: str) -> None:
    company = Company(service)
    credit = company.create(rollup_type, 10)
    company.debit(4)
    changed = update(service, credit, credits=15)
    assert (changed["credits"], changed["usedCredits"]) == (15, 4)
    assert shown(service, credit) == changed
    assert last_movement(schema, company) == ("ledger.granted", "RESIZED", 5, 11)
    assert company.has(11)


@pytest.mark.parametrize("rollup_type", ["MONTHLY", "ADDON"])
def test_lowered_credits_are_gone_at_once_down_to_what_is_used(
    service: Service, schema: Database, rollup_type: str
) -> None:
    company = Company(service)
    credit = company.create(rollup_type, 10)
    company.debit(4)
    assert update(service, credit, credits=7)["credits"] == 7
    assert last_movement(schema, company) == ("ledger.voided", "RESIZED", -3, 3)
    assert company.has(3)
    to_what_is_used = update(service, credit, credits=4)
    assert (to_what_is_used["credits"], to_what_is_used["usedCredits"]) == (4, 4)
    assert last_movement(schema, company) == ("ledger.voided", "RESIZED", -3, 0)
    assert company.refused_debit(1).startswith("Insufficient credits: ")
    assert update(service, credit, credits=5)["credits"] == 5
    assert company.has(1)


@pytest.mark.parametrize("rollup_type", ["MONTHLY", "ADDON"])
def test_credits_below_what_is_used_are_refused_and_nothing_changes(
    service: Service, schema: Database, rollup_type: str
) -> None:
    company = Company(service)
    credit = company.create(rollup_type, 10)
    company.debit(4)
    before, log = shown(service, credit), movements(schema, company.id)
    for amount in (3, 1):
        says = refusal(service, UPDATE, {"id": credit, "credits": amount})
        assert says == f"credits cannot be lowered to {amount}: 4 are used"
    for amount in (0, -1):
        assert refusal(service, UPDATE, {"id": credit, "credits": amount}).startswith("credits must ")
    assert (shown(service, credit), movements(schema, company.id)) == (before, log)


def test_what_was_given_back_is_not_used_any_more(service: Service) -> None:
    company = Company(service)
    credit = company.create(credits=10)
    debit = company.debit(8)
    refund(service, debit, 5)
    assert refusal(service, UPDATE, {"id": credit, "credits": 2}) == "credits cannot be lowered to 2: 3 are used"
    assert update(service, credit, credits=3)["usedCredits"] == 3
    refund(service, debit, 3)
    assert (used(service, credit), company.has(3)) == ([0], True)


def test_the_new_allotment_is_granted_at_every_renewal_from_then_on(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create(credits=10)
    company.debit(6)
    update(service, credit, credits=25)
    update(service, credit, credits=7)
    for month in (1, 2):
        move(service, step(start, month))
        assert (shown(service, credit)["credits"], used(service, credit), company.has(7)) == (7, [0], True)


@pytest.mark.parametrize(
    "given", [{}, {"rollupType": None}, {"credits": None, "rollupType": "MONTHLY"}, {"credits": 10}], ids=str
)
def test_what_is_absent_or_as_it_is_stays(service: Service, given: dict[str, Any]) -> None:
    company = Company(service)
    credit = company.create(credits=10)
    company.debit(4)
    before = shown(service, credit)
    assert update(service, credit, **{"credits": 10} | given) == before
    assert (shown(service, credit), company.has(6)) == (before, True)


def test_an_update_of_the_label_or_the_type_is_not_to_be_had(service: Service) -> None:
    credit = Company(service).create()
    for field, value in (("companyLabel", "x"), ("creditType", "DAST"), ("companyId", "x"), ("periodAnchor", "x")):
        told = service.refusal(UPDATE, input={"id": credit, "credits": 1, field: value})
        assert told["code"] == "InvalidArgumentError"


TURNS = [
    # from          to            asked after  then renewed after so many months from the anchor
    ("MONTHLY",    "QUARTERLY",   0,  [1, 4, 7, 10]),
    ("MONTHLY",    "SEMIANNUAL",  1,  [1, 2, 8, 14]),
    ("MONTHLY",    "YEARLY",      2,  [1, 2, 3, 15, 27]),
    ("QUARTERLY",  "MONTHLY",     0,  [3, 4, 5, 6]),
    ("QUARTERLY",  "MONTHLY",     4,  [3, 6, 7, 8]),
    ("QUARTERLY",  "YEARLY",      1,  [3, 15, 27]),
    ("SEMIANNUAL", "QUARTERLY",   5,  [6, 9, 12]),
    ("YEARLY",     "MONTHLY",     11, [12, 13, 14]),
    ("YEARLY",     "SEMIANNUAL",  0,  [12, 18, 24]),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "asked", "renewed"), TURNS, ids=str)
def test_another_cycle_begins_at_the_next_renewal_with_a_whole_period(
    service: Service, schema: Database, before: str, after: str, asked: int, renewed: list[int]
) -> None:
    """Anchored on the 31st, from which months are counted; somebody looks at each renewal and a month before it."""
    start, company = last_of_january(service), Company(service)
    credit = company.create(before, 10)
    turned_at = next(month for month in renewed if month > asked)
    fresh = True
    for month in sorted({0, asked, *renewed, *(month - 1 for month in renewed)}):
        move(service, step(start, month))
        fresh = fresh or month in renewed
        assert shown(service, credit)["rollupType"] == (after if month >= turned_at else before)
        assert used(service, credit) == [0 if fresh else 3]
        if fresh:
            company.debit(3)
            fresh = False
        if month == asked:
            coming = update(service, credit, rollupType=after)
            assert (coming["rollupType"], coming["credits"], coming["usedCredits"]) == (before, 10, 3)
    assert renewals(schema, company.id) == [step(start, month) for month in renewed]


def test_a_turn_is_seen_at_its_microsecond(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create()
    update(service, credit, rollupType="QUARTERLY")
    for instant, rollup_type in [
        (step(start, 1) - MICROSECOND, "MONTHLY"),
        (step(start, 1), "QUARTERLY"),
        (step(start, 4) - MICROSECOND, "QUARTERLY"),
        (step(start, 4), "QUARTERLY"),
    ]:
        move(service, instant)
        assert shown(service, credit)["rollupType"] == rollup_type
        assert read(service, LIST, company=company.id)["executionCredits"]["collection"] == [
            {"id": credit, "rollupType": rollup_type}
        ]


def test_asking_for_the_present_cycle_takes_a_coming_change_back(service: Service, schema: Database) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create("QUARTERLY")
    update(service, credit, rollupType="MONTHLY")
    update(service, credit, rollupType="QUARTERLY")
    move(service, step(start, 7))
    company.debit(1)
    assert shown(service, credit)["rollupType"] == "QUARTERLY"
    assert renewals(schema, company.id) == [step(start, 3), step(start, 6)]


def test_the_last_cycle_that_was_asked_for_counts_and_others_changes_leave_it(
    service: Service, schema: Database
) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create("MONTHLY", 10)
    for rollup_type in ("YEARLY", "QUARTERLY"):
        update(service, credit, rollupType=rollup_type)
    update(service, credit, credits=12)
    move(service, step(start, 5))
    company.debit(1)
    found = shown(service, credit)
    assert (found["rollupType"], found["credits"]) == ("QUARTERLY", 12)
    assert renewals(schema, company.id) == [step(start, 1), step(start, 4)]


def test_credits_change_at_once_and_the_cycle_later_when_both_are_asked_for(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create("MONTHLY", 10)
    company.debit(4)
    changed = update(service, credit, credits=20, rollupType="YEARLY")
    assert (changed["credits"], changed["rollupType"], changed["usedCredits"]) == (20, "MONTHLY", 4)
    assert company.has(16)
    move(service, step(start, 1))
    found = shown(service, credit)
    assert (found["credits"], found["rollupType"], found["usedCredits"]) == (20, "YEARLY", 0)
    assert company.has(20)


@pytest.mark.parametrize("rollup_type", RENEWING)
def test_a_renewing_credit_never_becomes_an_addon_nor_an_addon_a_renewing_one(
    service: Service, schema: Database, rollup_type: str
) -> None:
    company = Company(service)
    renewing, addon = company.create(rollup_type), company.create("ADDON")
    log = movements(schema, company.id)
    for given in ({}, {"credits": 20}):
        says = refusal(service, UPDATE, {"id": renewing, "rollupType": "ADDON"} | given)
        assert says == f"rollupType cannot be changed from {rollup_type} to ADDON"
        says = refusal(service, UPDATE, {"id": addon, "rollupType": rollup_type} | given)
        assert says == f"rollupType cannot be changed from ADDON to {rollup_type}"
    assert movements(schema, company.id) == log
    assert update(service, addon, rollupType="ADDON")["rollupType"] == "ADDON"


def test_of_two_changes_neither_happens_when_one_is_refused(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create("MONTHLY", 10)
    company.debit(4)
    for given in ({"credits": 3, "rollupType": "YEARLY"}, {"credits": 20, "rollupType": "ADDON"}):
        refusal(service, UPDATE, {"id": credit} | given)
    assert (shown(service, credit)["credits"], company.has(6)) == (10, True)
    move(service, step(start, 1))
    found = shown(service, credit)
    assert (found["rollupType"], found["credits"]) == ("MONTHLY", 10)


def test_at_the_instant_of_renewal_an_update_is_about_the_new_period(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create(credits=10)
    company.debit(8)
    wanted: dict[str, Any] = {"credits": 5, "rollupType": "QUARTERLY"}
    move(service, step(start, 1) - MICROSECOND)
    assert refusal(service, UPDATE, {"id": credit} | wanted) == "credits cannot be lowered to 5: 8 are used"
    move(service, step(start, 1))
    changed = update(service, credit, **wanted)
    assert (changed["credits"], changed["usedCredits"], changed["rollupType"]) == (5, 0, "MONTHLY")
    assert company.has(5)
    move(service, step(start, 2))
    assert shown(service, credit)["rollupType"] == "QUARTERLY"


def test_an_update_tells_when_it_happened(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create()
    later = start.replace(minute=5)
    move(service, later)
    changed = update(service, credit, credits=11)
    assert (changed["createdAt"], changed["updatedAt"]) == (wire(start), wire(later))


def test_an_update_of_the_turned_credit_keeps_its_new_cycle(service: Service, schema: Database) -> None:
    """Decided in the very moment in which nobody had yet asked about the turn."""
    start, company = last_of_january(service), Company(service)
    credit = company.create("MONTHLY", 10)
    update(service, credit, rollupType="QUARTERLY")
    later: datetime = step(start, 5)
    move(service, later)
    changed = update(service, credit, credits=12)
    assert (changed["rollupType"], changed["credits"]) == ("QUARTERLY", 12)
    move(service, step(start, 7))
    assert company.has(12)
    company.debit(1)
    assert renewals(schema, company.id) == [step(start, month) for month in (1, 4, 7)]


def test_a_credit_that_is_deleted_or_was_never_there_cannot_be_changed(service: Service) -> None:
    company = Company(service)
    credit = company.create()
    delete(service, credit)
    before = shown(service, credit)
    for given in ({"credits": 20}, {"rollupType": "YEARLY"}, {"rollupType": "ADDON"}):
        assert refusal(service, UPDATE, {"id": credit} | given) == f"execution credit {credit} is deleted"
        for name in ("00000000-0000-4000-8000-000000000000", "nobody's", "17"):
            assert refusal(service, UPDATE, {"id": name} | given) == f"no execution credit {name}"
    assert refusal(service, UPDATE, {"id": 17, "credits": 20}) == "no execution credit 17"
    assert shown(service, credit) == before


def test_a_credit_is_named_by_its_id_in_any_case(service: Service) -> None:
    credit = Company(service).create()
    assert done(service, UPDATE, {"id": credit.upper(), "credits": 20})["executionCredit"]["id"] == credit
