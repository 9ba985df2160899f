"""Deleting execution credits: what was used stays on record, nothing is left to use, and nothing renews any more.

Tests that move the clock move it forward only: each begins in a year that none has used.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.store.database import Database
from tests.service.executions import (
    DEBIT,
    DELETE,
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
    update,
    used,
)
from tests.service.serving import Service
from tests.service.test_graphql_clock import MICROSECOND, move, now, wire
from tests.service.test_graphql_schedules import step

NOTHING = "Insufficient credits: no available recurrent balance and no ADDON pool found for AI_PENTEST"


@pytest.mark.parametrize("rollup_type", ["MONTHLY", "YEARLY", "ADDON"])
def test_a_deleted_credit_keeps_its_record_and_takes_part_in_no_debit(
    service: Service, schema: Database, rollup_type: str
) -> None:
    company = Company(service)
    credit = company.create(rollup_type, 10)
    company.debit(4)
    before = shown(service, credit)
    payload = done(service, DELETE, {"id": credit, "clientMutationId": "m-1"})
    assert payload == {"clientMutationId": "m-1", "errors": None, "deletedId": credit}
    assert shown(service, credit) == before | {"deletedAt": wire(now(service))}
    assert (before["usedCredits"], len(before["transactions"])) == (4, 1)
    assert company.listed() == []
    assert company.refused_debit(1) == NOTHING
    row = [row for row in movements(schema, company.id) if row["amount"] is not None][-1]
    assert (row["type"], row["cause"], row["credits"], row["lot_balance"]) == ("ledger.voided", "DELETED", -6, 0)


def test_a_credit_that_is_used_up_is_deleted_too(service: Service, schema: Database) -> None:
    company = Company(service)
    credit = company.create(credits=10)
    company.debit(10)
    delete(service, credit)
    assert (used(service, credit), shown(service, credit)["deletedAt"]) == ([10], wire(now(service)))
    assert [row["type"] for row in movements(schema, company.id)].count("ledger.voided") == 0


def test_a_credit_is_deleted_once(service: Service, schema: Database) -> None:
    company = Company(service)
    credit = company.create()
    delete(service, credit)
    log = movements(schema, company.id)
    for given in ({}, {"idempotencyKey": "new"}):
        assert refusal(service, DELETE, {"id": credit} | given) == f"execution credit {credit} is deleted"
    assert movements(schema, company.id) == log


@pytest.mark.parametrize("name", ["00000000-0000-4000-8000-000000000000", "nobody's", 17])
def test_a_credit_that_was_never_there_cannot_be_deleted(service: Service, name: str | int) -> None:
    assert refusal(service, DELETE, {"id": name}) == f"no execution credit {name}"


def test_a_grant_of_credits_is_no_execution_credit(service: Service, customer: str) -> None:
    fields = {"customerId": customer, "currencyId": "AI_PENTEST", "displayName": "g", "grantType": "PAID", "amount": 5}
    created = service.data(
        "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }", input=fields
    )
    grant = created["createCreditGrant"]["id"]
    assert refusal(service, DELETE, {"id": grant}) == f"no execution credit {grant}"


def test_the_other_credits_of_the_company_go_on(service: Service) -> None:
    company = Company(service)
    monthly, addon = company.create("MONTHLY", 10), company.create("ADDON", 5)
    other = company.create("MONTHLY", 7, creditType="DAST")
    company.debit(3)
    delete(service, monthly)
    assert (company.has(5), company.has(7, "DAST"), company.listed()) == (True, True, [addon, other])
    company.debit(2)
    assert used(service, monthly, addon) == [3, 2]


def test_a_deleted_credit_renews_no_more_nor_turns(service: Service, schema: Database) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create(credits=10)
    company.debit(1)
    move(service, step(start, 1))
    company.debit(4)
    update(service, credit, rollupType="QUARTERLY")
    delete(service, credit)
    before = shown(service, credit)
    move(service, step(start, 8))
    assert company.refused_debit(1) == NOTHING
    assert shown(service, credit) == before
    assert (before["usedCredits"], before["rollupType"]) == (4, "MONTHLY")
    assert renewals(schema, company.id) == [step(start, 1)]


@pytest.mark.parametrize("at_renewal", [False, True])
def test_at_the_instant_of_renewal_it_is_the_new_period_that_is_deleted(
    service: Service, schema: Database, at_renewal: bool
) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create(credits=10)
    company.debit(4)
    move(service, step(start, 1) if at_renewal else step(start, 1) - MICROSECOND)
    delete(service, credit)
    assert used(service, credit) == [0 if at_renewal else 4]
    assert renewals(schema, company.id) == ([step(start, 1)] if at_renewal else [])
    void = [row for row in movements(schema, company.id) if row["cause"] == "DELETED"]
    assert [row["credits"] for row in void] == [-10 if at_renewal else -6]


def test_of_twenty_who_delete_at_once_one_succeeds(service: Service) -> None:
    company = Company(service)
    credit = company.create()
    payloads = at_once(service, DELETE, [{"id": credit}] * 20)
    told = sorted(message_of(payload) for payload in payloads if payload["errors"] is not None)
    assert [payload["deletedId"] for payload in payloads if payload["errors"] is None] == [credit]
    assert told == [f"execution credit {credit} is deleted"] * 19


def test_debits_while_a_credit_is_deleted_are_taken_whole_or_not_at_all(service: Service, schema: Database) -> None:
    company = Company(service)
    credit = company.create(credits=1000)
    with ThreadPoolExecutor(1) as beside:
        debits = beside.submit(at_once, service, DEBIT, [company.use(7) for _ in range(20)])
        delete(service, credit)
        payloads = debits.result()
    taken = [payload for payload in payloads if payload["errors"] is None]
    assert {message_of(payload) for payload in payloads if payload["errors"] is not None} <= {NOTHING}
    assert used(service, credit) == [7 * len(taken)]
    assert movements(schema, company.id)[-1]["type"] == "ledger.execution-credit-defined"
    assert {row["lot_balance"] for row in movements(schema, company.id) if row["cause"] == "DELETED"} == {0}
