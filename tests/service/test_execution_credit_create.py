"""Creating execution credits: what is asked for, what is not told, when periods end, and how many there may be.

Tests that move the clock move it forward only: each begins in a year that none has used.
"""

from datetime import datetime, timedelta
from typing import Any

import pytest

from ledger.store.database import Database
from tests.conftest import START, Hands
from tests.service.executions import (
    CREATE,
    CREDIT_TYPES,
    DEBIT,
    RENEWING,
    Company,
    at_once,
    delete,
    done,
    last_of_january,
    message_of,
    movements,
    refusal,
    renewals,
    shown,
    used,
)
from tests.service.serving import Service, serving
from tests.service.test_graphql_clock import MICROSECOND, move, now, wire
from tests.service.test_graphql_schedules import step

MONTHS = dict(zip(RENEWING, (1, 3, 6, 12), strict=True))


@pytest.mark.parametrize("rollup_type", [*RENEWING, "ADDON"])
@pytest.mark.parametrize("credit_type", CREDIT_TYPES)
def test_a_credit_is_what_was_asked_for_and_nothing_of_it_is_used(
    service: Service, credit_type: str, rollup_type: str
) -> None:
    company = Company(service)
    given = company.creation(rollup_type, 12, creditType=credit_type, companyLabel="Acme Ltd", clientMutationId="m-1")
    payload = done(service, CREATE, given)
    created = payload["executionCredit"]
    assert payload["clientMutationId"] == "m-1"
    assert created == {
        "id": created["id"],
        "company": {"id": company.id, "label": "Acme Ltd"}, "companyId": company.id,
        "creditType": credit_type, "rollupType": rollup_type,
        "credits": 12, "usedCredits": 0, "transactions": [],
        "createdAt": wire(now(service)), "updatedAt": wire(now(service)), "deletedAt": None,
    }  # fmt: skip
    assert shown(service, created["id"]) == created
    assert company.has(12, credit_type)


@pytest.mark.parametrize("label", [{}, {"companyLabel": None}, {"companyLabel": ""}], ids=str)
def test_a_company_without_a_label_is_called_by_its_id(service: Service, label: dict[str, Any]) -> None:
    company = Company(service)
    credit = company.create(**label)
    assert shown(service, credit)["company"] == {"id": company.id, "label": company.id}


def test_a_label_is_of_the_credit_it_was_told_with(service: Service) -> None:
    company = Company(service)
    first = company.create(companyLabel="Acme")
    second = company.create("ADDON", companyLabel="Acme \u00e9 \U0001f600")
    third = company.create(creditType="DAST")
    labels = [shown(service, credit)["company"]["label"] for credit in (first, second, third)]
    assert labels == ["Acme", "Acme \u00e9 \U0001f600", company.id]


def test_a_company_is_named_by_a_number_or_a_text(service: Service) -> None:
    created = done(service, CREATE, Company(service).creation(companyId=4711))["executionCredit"]
    assert (created["companyId"], created["company"]) == ("4711", {"id": "4711", "label": "4711"})
    says = refusal(service, CREATE, Company(service).creation(companyId="4711"))
    assert says == "company 4711 already has a live renewing credit for AI_PENTEST"


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("rollup_type", RENEWING)
def test_the_first_period_begins_at_creation_unless_an_anchor_is_told(
    service: Service, rollup_type: str, anchored: bool
) -> None:
    """An anchor in the past: the first lot, a whole allotment, lasts from creation to the end of the period."""
    created = last_of_january(service)
    anchor = created - timedelta(days=16) if anchored else created
    given = {"periodAnchor": wire(anchor)} if anchored else {}
    company = Company(service)
    credit = company.create(rollup_type, 10, **given)
    assert company.has(10)
    company.debit(7)
    for number in (1, 2):
        ends = step(anchor, number * MONTHS[rollup_type])
        move(service, ends - MICROSECOND)
        assert (used(service, credit), company.has(3)) == ([7], True)
        move(service, ends)
        assert (used(service, credit), company.has(10)) == ([0], True)
        company.debit(7)


def test_the_first_period_is_in_the_log_as_granted_at_creation(service: Service, schema: Database) -> None:
    created = last_of_january(service)
    company = Company(service)
    company.create(periodAnchor=wire(created - timedelta(days=16)))
    (granted,) = (row for row in movements(schema, company.id) if row["amount"] is not None)
    assert (granted["cause"], granted["credits"], granted["effective_at"]) == ("ISSUED", 10, created)
    assert (granted["lot_effective_at"], granted["lot_expires_at"]) == (created, step(created, 1).replace(day=15))


def test_an_anchor_at_this_instant_is_no_future_and_a_microsecond_later_is(service: Service) -> None:
    company, present = Company(service), now(service)
    for rollup_type in (*RENEWING, "ADDON"):
        given = company.creation(rollup_type, periodAnchor=wire(present + MICROSECOND))
        assert refusal(service, CREATE, given) == "periodAnchor must not be in the future"
    assert company.listed() == []
    company.create(periodAnchor=wire(present))


BOUNDARIES = [
    # anchor                       rollup type    the renewals after 31 January 2026, noon
    ("2026-01-31T12:00:00Z",       "MONTHLY",     "2026-02-28T12:00 2026-03-31T12:00 2026-04-30T12:00"),
    ("2025-12-31T12:00:00Z",       "MONTHLY",     "2026-02-28T12:00 2026-03-31T12:00 2026-04-30T12:00"),
    ("2026-01-31T11:59:59.999999Z", "MONTHLY",    "2026-02-28T11:59:59.999999 2026-03-31T11:59:59.999999"),
    ("2025-12-31T12:00:00.000001Z", "MONTHLY",    "2026-01-31T12:00:00.000001 2026-02-28T12:00:00.000001"),
    ("2026-01-30T00:00:00Z",       "MONTHLY",     "2026-02-28T00:00 2026-03-30T00:00 2026-04-30T00:00"),
    ("2026-01-29T00:00:00Z",       "MONTHLY",     "2026-02-28T00:00 2026-03-29T00:00 2026-04-29T00:00"),
    ("2024-02-29T00:00:00Z",       "MONTHLY",     "2026-02-28T00:00 2026-03-29T00:00 2026-04-29T00:00"),
    ("2024-02-29T00:00:00Z",       "YEARLY",      "2026-02-28T00:00 2027-02-28T00:00 2028-02-29T00:00"),
    ("2025-11-30T06:00:00Z",       "QUARTERLY",   "2026-02-28T06:00 2026-05-30T06:00 2026-08-30T06:00"),
    ("2025-08-31T00:00:00Z",       "SEMIANNUAL",  "2026-02-28T00:00 2026-08-31T00:00 2027-02-28T00:00"),
    ("2020-01-01T00:00:00+02:00",  "MONTHLY",     "2026-01-31T22:00 2026-02-28T22:00 2026-03-31T22:00"),
    ("2025-12-31T23:30:00-02:00",  "QUARTERLY",   "2026-04-01T01:30 2026-07-01T01:30 2026-10-01T01:30"),
    ("0001-01-01T00:00:00Z",       "YEARLY",      "2027-01-01T00:00 2028-01-01T00:00 2029-01-01T00:00"),
    ("2024-02-29T00:00:00Z",       "ADDON",       ""),
]  # fmt: skip


def test_periods_step_by_calendar_months_from_the_anchor_and_never_drift(database: Database, hands: Hands) -> None:
    """All created at noon of 31 January 2026, then nobody asks for four years."""
    with serving("--no-worker", database_url=database.dsn, schema=database.schema, test_clock="1") as service:
        companies = [Company(service) for _ in BOUNDARIES]
        for company, (anchor, rollup_type, _) in zip(companies, BOUNDARIES, strict=True):
            company.create(rollup_type, periodAnchor=anchor)
        hands.set(START.replace(year=2030))
        for company, (anchor, rollup_type, told) in zip(companies, BOUNDARIES, strict=True):
            company.debit(1)
            expected = [datetime.fromisoformat(f"{instant}+00:00") for instant in told.split()]
            found = renewals(database, company.id)
            assert found[: len(expected)] == expected, (anchor, rollup_type)
            assert found[-1:] <= [hands.now], (anchor, rollup_type)
            periods = 48 // MONTHS.get(rollup_type, 99)
            assert len(found) in (periods, periods + 1), (anchor, rollup_type)


def test_a_company_has_at_most_one_renewing_credit_and_one_addon_of_a_type(service: Service) -> None:
    company = Company(service)
    ours = [
        company.create(rollup_type, creditType=credit_type)
        for credit_type in CREDIT_TYPES
        for rollup_type in ("QUARTERLY", "ADDON")
    ]
    for credit_type in CREDIT_TYPES:
        for rollup_type in RENEWING:
            says = refusal(service, CREATE, company.creation(rollup_type, creditType=credit_type))
            assert says == f"company {company.id} already has a live renewing credit for {credit_type}"
        says = refusal(service, CREATE, company.creation("ADDON", creditType=credit_type))
        assert says == f"company {company.id} already has a live ADDON for {credit_type}"
    assert company.listed() == ours
    Company(service).create("QUARTERLY")


def test_a_refused_creation_writes_nothing(service: Service, schema: Database) -> None:
    company = Company(service)
    company.create()
    before = movements(schema, company.id)
    for given in ({}, {"credits": 0}, {"credits": -1}, {"periodAnchor": "2999-01-01T00:00:00Z"}):
        refusal(service, CREATE, company.creation(**given))
    assert movements(schema, company.id) == before


@pytest.mark.parametrize("rollup_type", ["MONTHLY", "ADDON"])
def test_of_twenty_who_create_at_once_one_succeeds(service: Service, schema: Database, rollup_type: str) -> None:
    company = Company(service)
    payloads = at_once(service, CREATE, [company.creation(rollup_type, 10 + number) for number in range(20)])
    (created,) = (payload["executionCredit"] for payload in payloads if payload["errors"] is None)
    told = {message_of(payload) for payload in payloads if payload["errors"] is not None}
    sort = "ADDON" if rollup_type == "ADDON" else "renewing credit"
    assert told == {f"company {company.id} already has a live {sort} for AI_PENTEST"}
    assert company.listed() == [created["id"]]
    assert [row["credits"] for row in movements(schema, company.id)] == [None, created["credits"]]


@pytest.mark.parametrize("rollup_type", ["MONTHLY", "ADDON"])
def test_after_a_deletion_another_credit_may_be_created(service: Service, rollup_type: str) -> None:
    company = Company(service)
    first = company.create(rollup_type, 10)
    company.debit(4)
    delete(service, first)
    second = company.create(rollup_type, 5)
    assert (used(service, first, second), company.has(5), company.listed()) == ([4, 0], True, [second])
    refusal(service, CREATE, company.creation(rollup_type))


def test_a_credit_may_be_as_large_as_an_int_and_be_used_to_its_last(service: Service) -> None:
    company = Company(service)
    credit = company.create(credits=2**31 - 1)
    done(service, DEBIT, company.use(2**31 - 1))
    found = shown(service, credit)
    assert (found["credits"], found["usedCredits"]) == (2**31 - 1, 2**31 - 1)
    assert [part["credits"] for part in found["transactions"]] == [2**31 - 1]
