"""Debits of execution credits: which credit pays first, all or nothing, what a refusal says, and many at once.

Tests that move the clock move it forward only: each begins in a year that none has used.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ledger.store.database import Database
from tests.service.executions import (
    CREDIT_TYPES,
    DEBIT,
    REFUND,
    RENEWING,
    Company,
    at_once,
    delete,
    done,
    giving_back,
    last_of_january,
    message_of,
    movements,
    parts,
    refund,
    shown,
    used,
)
from tests.service.serving import Service
from tests.service.test_graphql_clock import MICROSECOND, move, now, read, wire
from tests.service.test_graphql_schedules import step

GRANT = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
CONSUME = "mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId replayed } }"
BALANCE = """
query ($customer: String!) {
  creditBalanceSummary(input: {customerId: $customer}) { balances { currencyId currentBalanceExact } }
}
"""


@pytest.mark.parametrize("rollup_type", RENEWING)
@pytest.mark.parametrize("addon_first", [False, True])
def test_renewing_credit_pays_before_the_addon_whichever_is_older(
    service: Service, rollup_type: str, addon_first: bool
) -> None:
    company = Company(service)
    kinds = ["ADDON", rollup_type] if addon_first else [rollup_type, "ADDON"]
    made = {kind: company.create(kind, 10) for kind in kinds}
    renewing, addon = made[rollup_type], made["ADDON"]
    assert parts(company.debit(4)) == [(renewing, 4)]
    assert parts(company.debit(8)) == [(renewing, 6), (addon, 2)]
    assert parts(company.debit(8)) == [(addon, 8)]
    assert used(service, renewing, addon) == [10, 10]


def test_a_debit_of_all_there_is_draws_both_credits_to_their_last(service: Service) -> None:
    company = Company(service)
    renewing, addon = company.create("MONTHLY", 10), company.create("ADDON", 5)
    assert parts(company.debit(15)) == [(renewing, 10), (addon, 5)]


def test_the_parts_of_a_debit_are_transactions_that_share_its_id(service: Service) -> None:
    company = Company(service)
    renewing, addon = company.create("MONTHLY", 10), company.create("ADDON", 5)
    payload = company.debit(12, projectId="p-1", clientMutationId="m-1")
    common = {
        "transactionId": payload["transactionId"], "transactionType": "DEBIT", "projectId": "p-1",
        "createdAt": wire(now(service)), "updatedAt": wire(now(service)),
    }  # fmt: skip
    first, second = payload["transactions"]
    assert first == common | {"id": first["id"], "executionCreditId": renewing, "credits": 10}
    assert second == common | {"id": second["id"], "executionCreditId": addon, "credits": 2}
    assert first["id"] != second["id"]
    assert payload["clientMutationId"] == "m-1"
    assert shown(service, renewing)["transactions"] == [first]
    assert shown(service, addon)["transactions"] == [second]


def test_the_position_of_a_debit_is_one_to_wait_for(service: Service) -> None:
    company = Company(service)
    company.create("MONTHLY", 10)
    company.create("ADDON", 5)
    answer = service.graphql(DEBIT, input=company.use(12))
    assert answer.json()["data"]["answer"]["position"] == answer.headers["X-Ledger-Position"]


STATES = ("absent", "living", "used up", "deleted")


def in_state(company: Company, rollup_type: str, state: str, credit_type: str) -> int:
    """Bring one credit there; what it leaves available. A deleted one had something left."""
    if state == "absent":
        return 0
    amount = 10 if rollup_type == "YEARLY" else 5
    credit = company.create(rollup_type, amount, creditType=credit_type)
    if state == "used up":
        company.debit(amount, creditType=credit_type)
    if state == "deleted":
        delete(company.service, credit)
    return amount if state == "living" else 0


@pytest.mark.parametrize("credit_type", CREDIT_TYPES)
@pytest.mark.parametrize("addon", STATES)
@pytest.mark.parametrize("renewing", STATES)
def test_a_debit_of_one_too_many_takes_nothing_and_says_what_there_is(
    service: Service, schema: Database, renewing: str, addon: str, credit_type: str
) -> None:
    """Only where nothing renewing is left and no ADDON exists, living or used up, it says that."""
    company = Company(service)
    of_renewing = in_state(company, "YEARLY", renewing, credit_type)
    available = of_renewing + in_state(company, "ADDON", addon, credit_type)
    if of_renewing == 0 and addon in ("absent", "deleted"):
        expected = f"no available recurrent balance and no ADDON pool found for {credit_type}"
    else:
        expected = f"{available + 1} requested, {available} available for {credit_type}"
    log = movements(schema, company.id)
    says = company.refused_debit(available + 1, creditType=credit_type)
    assert says == f"Insufficient credits: {expected}"
    assert movements(schema, company.id) == log
    if available > 0:
        company.debit(available, creditType=credit_type)


def test_a_type_is_not_paid_for_by_the_other(service: Service) -> None:
    company = Company(service)
    company.create("MONTHLY", 10, creditType="DAST")
    company.create("ADDON", 10, creditType="DAST")
    assert company.refused_debit(1) == (
        "Insufficient credits: no available recurrent balance and no ADDON pool found for AI_PENTEST"
    )
    assert company.has(20, "DAST")


@pytest.mark.parametrize("credits", [0, -1, -(2**31)])
def test_a_debit_of_nothing_is_refused(service: Service, schema: Database, credits: int) -> None:
    company = Company(service)
    company.create()
    log = movements(schema, company.id)
    assert company.refused_debit(credits).startswith("credits must ")
    assert movements(schema, company.id) == log


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({},                                  None),
        ({"projectId": None},                 None),
        ({"projectId": "p-1"},                "p-1"),
        ({"projectId": 4711},                 "4711"),
        ({"projectId": "4711"},               "4711"),
        ({"projectId": " \u00e9 \U0001f600"}, " \u00e9 \U0001f600"),
        ({"projectId": "x" * 200},            "x" * 200),
    ],
    ids=lambda value: ascii(value)[:24],
)  # fmt: skip
def test_the_project_is_told_on_every_part_and_on_what_is_given_back(
    service: Service, given: dict[str, Any], told: str | None
) -> None:
    company = Company(service)
    both = [company.create("MONTHLY", 10), company.create("ADDON", 5)]
    debit = company.debit(12, **given)
    back = refund(service, debit, 5)
    rows = [row for credit in both for row in shown(service, credit)["transactions"]]
    assert [row["projectId"] for row in debit["transactions"] + back["transactions"] + rows] == [told] * 8


@pytest.mark.parametrize(
    ("groups", "kept"),
    [(["b", "a", "b"], ["a", "b"]), ([7, "7", "\u00e9"], ["7", "\u00e9"]), ([], None), (None, None)],
    ids=ascii,
)
def test_account_groups_are_in_the_log_on_every_part_and_on_what_is_given_back(
    service: Service, schema: Database, groups: list[str | int] | None, kept: list[str] | None
) -> None:
    company = Company(service)
    company.create("MONTHLY", 10)
    company.create("ADDON", 5)
    debit = company.debit(12, accountGroupIds=groups)
    refund(service, debit, 5)
    moved = [row for row in movements(schema, company.id) if row["debit_id"] is not None]
    assert [(row["type"], row["credits"]) for row in moved] == [
        ("ledger.debited", -10), ("ledger.debited", -2), ("ledger.refunded", 2), ("ledger.refunded", 3),
    ]  # fmt: skip
    assert [row["account_groups"] for row in moved] == [kept] * 4
    assert {str(row["debit_id"]) for row in moved} == {debit["transactionId"]}


def test_at_the_instant_of_renewal_a_debit_draws_on_the_new_period(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    renewing, addon = company.create("MONTHLY", 10), company.create("ADDON", 5)
    company.debit(8)
    move(service, step(start, 1) - MICROSECOND)
    assert parts(company.debit(3)) == [(renewing, 2), (addon, 1)]
    move(service, step(start, 1))
    assert parts(company.debit(12)) == [(renewing, 10), (addon, 2)]
    assert used(service, renewing, addon) == [10, 3]


def test_what_was_left_of_a_period_is_gone_with_it_and_an_addon_never_ends(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    company.create("MONTHLY", 10)
    addon = company.create("ADDON", 5)
    company.debit(11)
    for month in (1, 2, 13):
        move(service, step(start, month))
        assert (company.has(14), used(service, addon)) == (True, [1])


@pytest.mark.parametrize("each", [1, 2])
def test_forty_clients_never_overdraw_and_what_they_took_sums_up(service: Service, schema: Database, each: int) -> None:
    company = Company(service)
    renewing, addon = company.create("MONTHLY", 33), company.create("ADDON", 22)
    payloads = [
        payload for _ in range(2) for payload in at_once(service, DEBIT, [company.use(each) for _ in range(40)])
    ]
    taken = [payload for payload in payloads if payload["errors"] is None]
    assert len(taken) == 55 // each
    assert len({payload["transactionId"] for payload in taken}) == len(taken)
    left = 55 % each
    told = {message_of(payload) for payload in payloads if payload["errors"] is not None}
    assert told == {f"Insufficient credits: {each} requested, {left} available for AI_PENTEST"}
    drawn = [part for payload in taken for part in parts(payload)]
    sums = [sum(amount for credit, amount in drawn if credit == wanted) for wanted in (renewing, addon)]
    assert used(service, renewing, addon) == sums == [33, 22 - left]
    rows = [row for row in movements(schema, company.id) if row["type"] == "ledger.debited"]
    assert -sum(row["credits"] for row in rows) == 55 - left
    assert min(row["lot_balance"] for row in rows) >= 0


def test_debits_and_what_is_given_back_at_once_sum_up(service: Service) -> None:
    company = Company(service)
    both = [company.create("MONTHLY", 40), company.create("ADDON", 40)]
    first = [company.debit(2) for _ in range(40)]
    with ThreadPoolExecutor(1) as beside:
        backs = beside.submit(at_once, service, REFUND, [giving_back(debit) for debit in first])
        payloads = at_once(service, DEBIT, [company.use(1) for _ in range(40)])
        assert [payload["errors"] for payload in backs.result()] == [None] * 40
    taken = sum(payload["errors"] is None for payload in payloads)
    assert sum(used(service, *both)) == taken
    assert company.has(80 - taken)


def test_a_company_and_a_customer_of_the_same_name_never_mix(service: Service) -> None:
    """Not even where the customer's currency is called as the credit type, and under the same key."""
    company = Company(service)
    customer = {"customerId": company.id, "currencyId": "AI_PENTEST"}
    renewing = company.create("MONTHLY", 10)
    use = customer | {"amount": 3, "idempotencyKey": "key"}
    assert service.refusal(CONSUME, input=use)["code"] == "InsufficientCredits"
    service.data(GRANT, input=customer | {"displayName": "g", "grantType": "PAID", "amount": 100})
    assert company.has(10)
    debit = done(service, DEBIT, company.use(3, idempotencyKey="key"))
    consumed = service.data(CONSUME, input=use)["consumeCredits"]
    assert consumed["replayed"] is False
    assert consumed["transactionId"] != debit["transactionId"]
    assert used(service, renewing) == [3]
    assert read(service, BALANCE, customer=company.id)["creditBalanceSummary"]["balances"] == [
        {"currencyId": "AI_PENTEST", "currentBalanceExact": "97"}
    ]
