"""Refunds of execution credits: what comes back to which credit, what is refused, and what a period that is over sees.

Tests that move the clock move it forward only: each begins in a year that none has used.
"""

from typing import Any

import pytest

from ledger.store.database import Database, Role
from tests.service.executions import (
    DEBIT,
    REFUND,
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
    refusal,
    shown,
    update,
    used,
)
from tests.service.serving import Service
from tests.service.test_graphql_clock import MICROSECOND, move, now, wire
from tests.service.test_graphql_schedules import step

GRANT = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
CONSUME = "mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId } }"
REFUND_OF_GRANTS = "mutation ($input: RefundCreditsInput!) { refundCredits(input: $input) { transactionId } }"


def moved(schema: Database, payload: dict[str, Any]) -> list[tuple[str, float, float]]:
    """What one transaction moved: type and amount of each movement, and what its lot held then."""
    with schema.connect(Role.READER) as connection:
        rows = connection.execute(
            "SELECT type, amount::float AS credits, lot_balance::float AS balance FROM movements "
            "WHERE transaction_id = %s ORDER BY position",
            [payload["transactionId"]],
        ).fetchall()
    return [(row["type"], row["credits"], row["balance"]) for row in rows]


def test_what_was_drawn_last_comes_back_first(service: Service) -> None:
    company = Company(service)
    renewing, addon = company.create("MONTHLY", 10), company.create("ADDON", 5)
    debit = company.debit(13)
    assert parts(debit) == [(renewing, 10), (addon, 3)]
    assert parts(refund(service, debit, 1)) == [(addon, 1)]
    assert (used(service, renewing, addon), company.has(3)) == ([10, 2], True)
    assert parts(refund(service, debit, 5)) == [(addon, 2), (renewing, 3)]
    assert (used(service, renewing, addon), company.has(8)) == ([7, 0], True)
    assert parts(refund(service, debit)) == [(renewing, 7)]
    assert (used(service, renewing, addon), company.has(15)) == ([0, 0], True)


def test_a_refund_is_transactions_that_share_its_id(service: Service) -> None:
    company = Company(service)
    renewing, addon = company.create("MONTHLY", 10), company.create("ADDON", 5)
    debit = company.debit(12, projectId="p-1")
    payload = refund(service, debit, clientMutationId="m-1")
    common = {
        "transactionId": payload["transactionId"], "transactionType": "REFUND", "projectId": "p-1",
        "createdAt": wire(now(service)), "updatedAt": wire(now(service)),
    }  # fmt: skip
    first, second = payload["transactions"]
    assert first == common | {"id": first["id"], "executionCreditId": addon, "credits": 2}
    assert second == common | {"id": second["id"], "executionCreditId": renewing, "credits": 10}
    assert (payload["clientMutationId"], payload["transactionId"] != debit["transactionId"]) == ("m-1", True)
    assert shown(service, addon)["transactions"] == [first, debit["transactions"][1]]
    assert shown(service, renewing)["transactions"] == [second, debit["transactions"][0]]


def test_what_came_back_is_used_again_renewing_credit_first(service: Service) -> None:
    company = Company(service)
    renewing, addon = company.create("MONTHLY", 10), company.create("ADDON", 5)
    refund(service, company.debit(14), 6)
    assert parts(company.debit(4)) == [(renewing, 2), (addon, 2)]


def test_never_more_comes_back_than_was_debited(service: Service, schema: Database) -> None:
    company = Company(service)
    credit = company.create(credits=10)
    debit = company.debit(6)
    company.debit(2)
    refund(service, debit, 2)
    for amount in (5, 2**31 - 1):
        says = f"{amount} credits to refund, 4 left to refund"
        assert refusal(service, REFUND, giving_back(debit, amount)) == says
    refund(service, debit, 4)
    log = movements(schema, company.id)
    assert refusal(service, REFUND, giving_back(debit, 1)) == "1 credit to refund, 0 left to refund"
    assert refusal(service, REFUND, giving_back(debit)) == "nothing is left to refund"
    assert (used(service, credit), movements(schema, company.id)) == ([2], log)


@pytest.mark.parametrize("amount", [0, -1])
def test_a_refund_of_nothing_is_refused(service: Service, amount: int) -> None:
    company = Company(service)
    company.create()
    debit = company.debit(6)
    assert refusal(service, REFUND, giving_back(debit, amount)).startswith("credits must ")
    assert company.has(4)


def test_only_a_debit_of_execution_credits_is_refunded_here(service: Service, customer: str) -> None:
    """A refund of theirs, a credit, a debit of a grant, or what never was: all are no such debit."""
    company = Company(service)
    credit = company.create()
    back = refund(service, company.debit(6), 1)
    holder = {"customerId": customer, "currencyId": "AI_PENTEST"}
    service.data(GRANT, input=holder | {"displayName": "g", "grantType": "PAID", "amount": 5})
    use = holder | {"amount": 1, "idempotencyKey": "use"}
    consumed = service.data(CONSUME, input=use)["consumeCredits"]["transactionId"]
    for name in (back["transactionId"], back["transactions"][0]["id"], credit, consumed, "nobody's", "0" * 200):
        says = refusal(service, REFUND, {"transactionId": name, "idempotencyKey": "key"})
        assert says == f"no debit {name}"
    assert refusal(service, REFUND, {"transactionId": 17, "idempotencyKey": "key"}) == "no debit 17"


def test_a_debit_of_execution_credits_is_not_refunded_as_one_of_grants(service: Service) -> None:
    company = Company(service)
    credit = company.create()
    debit = company.debit(6)
    wanted = {"transactionId": debit["transactionId"], "idempotencyKey": "key"}
    told = service.refusal(REFUND_OF_GRANTS, input=wanted)
    assert told == {"code": "TransactionNotFound", "transaction": debit["transactionId"]}
    assert used(service, credit) == [6]


def test_a_debit_is_named_by_its_id_in_any_case(service: Service) -> None:
    company = Company(service)
    credit = company.create()
    debit = company.debit(6)
    assert parts(refund(service, {"transactionId": debit["transactionId"].upper()})) == [(credit, 6)]


def test_a_refund_in_its_period_is_there_to_use_and_one_after_it_is_not(service: Service, schema: Database) -> None:
    """To the microsecond of the renewal, at which what comes back is restored and at once ended."""
    start, company = last_of_january(service), Company(service)
    credit = company.create(credits=10)
    debit = company.debit(10)
    move(service, step(start, 1) - MICROSECOND)
    in_time = refund(service, debit, 4)
    assert moved(schema, in_time) == [("ledger.refunded", 4, 4)]
    assert (used(service, credit), company.has(4)) == ([6], True)
    move(service, step(start, 1))
    late = refund(service, debit, 5)
    assert parts(late) == [(credit, 5)]
    assert moved(schema, late) == [("ledger.refunded", 5, 5), ("ledger.expired", -5, 0)]
    assert (used(service, credit), company.has(10)) == ([0], True)
    assert refusal(service, REFUND, giving_back(debit, 2)) == "2 credits to refund, 1 left to refund"


def test_a_refund_into_an_earlier_period_leaves_what_is_used_now(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create(credits=10)
    debits = []
    for month in range(3):
        move(service, step(start, month))
        debits.append(company.debit(8 - month))
    for debit, amount in ((debits[0], 3), (debits[1], None), (debits[0], None)):
        refund(service, debit, amount)
        assert (used(service, credit), company.has(4)) == ([6], True)
    refund(service, debits[2])
    assert (used(service, credit), company.has(10)) == ([0], True)
    told = [(row["transactionType"], row["credits"]) for row in shown(service, credit)["transactions"]]
    assert told == [
        ("REFUND", 6), ("REFUND", 5), ("REFUND", 7), ("REFUND", 3), ("DEBIT", 6), ("DEBIT", 7), ("DEBIT", 8),
    ]  # fmt: skip


def test_of_a_split_debit_the_addons_part_is_there_to_use_in_every_period(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    renewing, addon = company.create("MONTHLY", 10), company.create("ADDON", 5)
    debit = company.debit(13)
    move(service, step(start, 5))
    assert parts(refund(service, debit, 5)) == [(addon, 3), (renewing, 2)]
    assert (used(service, renewing, addon), company.has(15)) == ([0, 0], True)


@pytest.mark.parametrize("rollup_type", ["MONTHLY", "ADDON"])
def test_a_refund_into_a_deleted_credit_lowers_what_was_used_and_leaves_nothing_to_use(
    service: Service, schema: Database, rollup_type: str
) -> None:
    company = Company(service)
    credit = company.create(rollup_type, 10)
    debit = company.debit(8)
    delete(service, credit)
    deleted = shown(service, credit)
    back = refund(service, debit, 5)
    assert moved(schema, back) == [("ledger.refunded", 5, 5), ("ledger.voided", -5, 0)]
    found = shown(service, credit)
    assert (found["usedCredits"], found["credits"], found["deletedAt"]) == (3, 10, deleted["deletedAt"])
    assert found["transactions"] == back["transactions"] + deleted["transactions"]
    assert company.refused_debit(1).startswith("Insufficient credits: no available recurrent balance")
    refund(service, debit)
    assert used(service, credit) == [0]
    assert refusal(service, REFUND, giving_back(debit)) == "nothing is left to refund"


def test_a_refund_into_an_earlier_period_of_a_deleted_credit_leaves_its_last(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create(credits=10)
    first = company.debit(9)
    move(service, step(start, 1))
    second = company.debit(4)
    delete(service, credit)
    another = company.create(credits=7)
    refund(service, first)
    assert (used(service, credit, another), company.has(7)) == ([4, 0], True)
    move(service, step(start, 2))
    refund(service, second, 3)
    assert (used(service, credit, another), company.has(7)) == ([1, 0], True)


def test_after_the_allotment_was_lowered_all_that_was_debited_comes_back(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create(credits=10)
    debit = company.debit(8)
    update(service, credit, credits=8)
    refund(service, debit)
    assert (used(service, credit), company.has(8)) == ([0], True)
    move(service, step(start, 1))
    assert company.has(8)


def test_a_refund_after_the_cycle_turned_is_one_into_an_earlier_period(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create("MONTHLY", 10)
    debit = company.debit(8)
    update(service, credit, rollupType="QUARTERLY")
    move(service, step(start, 1))
    later = company.debit(3)
    refund(service, debit)
    assert used(service, credit) == [3]
    move(service, step(start, 3))
    refund(service, later, 1)
    assert (used(service, credit), company.has(8)) == ([2], True)


def test_of_forty_who_give_back_the_same_debit_at_once_no_more_than_it_comes_back(
    service: Service, schema: Database
) -> None:
    company = Company(service)
    both = [company.create("MONTHLY", 30), company.create("ADDON", 20)]
    debit = done(service, DEBIT, company.use(50))
    payloads = at_once(service, REFUND, [giving_back(debit, 2) for _ in range(40)])
    told = [message_of(payload) for payload in payloads if payload["errors"] is not None]
    assert told == ["2 credits to refund, 0 left to refund"] * 15
    assert used(service, *both) == [0, 0]
    assert sum(row["credits"] for row in movements(schema, company.id) if row["type"] == "ledger.refunded") == 50
