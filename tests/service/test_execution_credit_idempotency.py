"""Idempotency keys of execution credits: the same request is answered the same for ever, another one is told apart.

Tests that move the clock move it forward only: each begins in a year that none has used.
"""

from typing import Any

import pytest

from ledger.store.database import Database
from tests.conftest import START, Hands
from tests.service.executions import (
    CREATE,
    CREDIT,
    DELETE,
    TRANSACTION,
    UPDATE,
    Company,
    at_once,
    delete,
    done,
    giving_back,
    last_of_january,
    movements,
    mutation,
    refund,
    refusal,
    shown,
    update,
    used,
)
from tests.service.serving import Service, serving
from tests.service.test_api_keys import named
from tests.service.test_graphql_clock import move, wire
from tests.service.test_graphql_schedules import step

GRANT = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
CONSUME = "mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId replayed } }"
MOVED = f"transactionId position transactions {{ {TRANSACTION} executionCredit {{ {CREDIT} }} }}"
DEBIT = mutation("debitExecutionCredits", MOVED)
REFUND = mutation("refundExecutionCredits", MOVED)
KEY: dict[str, Any] = {"idempotencyKey": "key"}

Told = tuple[str, dict[str, Any], str]
"""A document, its input, and the text of the answer."""


def told(service: Service, document: str, given: dict[str, Any]) -> Told:
    """Send a mutation for the first time; it is to succeed."""
    answer = service.graphql(document, input=given)
    assert answer.json()["data"]["answer"]["errors"] is None, answer.json()
    return document, given, answer.text


def five_mutations(company: Company) -> list[Told]:
    """One of each, under keys: a credit is created, changed, debited, given back to and deleted."""
    service = company.service
    creation = company.creation("MONTHLY", 10, companyLabel="Acme", clientMutationId="m-1", **KEY)
    sent = [told(service, CREATE, creation)]
    credit = done(service, CREATE, creation)["executionCredit"]["id"]
    company.debit(2)
    sent.append(told(service, UPDATE, {"id": credit, "credits": 20, "rollupType": "QUARTERLY"} | KEY))
    use = company.use(5, projectId="p-1", accountGroupIds=["a"], **KEY)
    sent.append(told(service, DEBIT, use))
    sent.append(told(service, REFUND, giving_back(done(service, DEBIT, use), 3, **KEY)))
    sent.append(told(service, DELETE, {"id": credit} | KEY))
    return sent


def test_every_mutation_sent_again_is_answered_as_the_first_and_happens_once(
    service: Service, schema: Database
) -> None:
    """To the letter, whatever has become of the credit since."""
    company = Company(service)
    sent = five_mutations(company)
    assert [row["type"] for row in movements(schema, company.id)] == [
        "ledger.execution-credit-defined", "ledger.granted",
        "ledger.debited",
        "ledger.granted", "ledger.execution-credit-defined",
        "ledger.debited",
        "ledger.refunded",
        "ledger.voided", "ledger.execution-credit-defined",
    ]  # fmt: skip
    log = movements(schema, company.id)
    for document, given, first in sent:
        assert service.graphql(document, input=given).text == first
    assert movements(schema, company.id) == log


def test_the_first_answers_tell_what_was_done_and_not_what_has_become_of_it(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    creation = company.creation("MONTHLY", 10, **KEY)
    created = done(service, CREATE, creation)["executionCredit"]
    company.debit(4)
    changed = update(service, created["id"], credits=20, rollupType="QUARTERLY", **KEY)
    company.debit(3)
    move(service, step(start, 2))
    company.debit(1)
    assert done(service, CREATE, creation)["executionCredit"] == created
    again = update(service, created["id"], credits=20, rollupType="QUARTERLY", **KEY)
    assert again == changed
    assert (again["credits"], again["usedCredits"], again["rollupType"]) == (20, 4, "MONTHLY")
    assert (again["updatedAt"], len(again["transactions"])) == (wire(start), 1)
    now = shown(service, created["id"])
    assert (now["usedCredits"], now["rollupType"], len(now["transactions"])) == (1, "QUARTERLY", 3)


def test_the_parts_of_a_debit_and_a_refund_tell_each_credit_as_they_left_it_for_ever(service: Service) -> None:
    """In the next period, with another allotment and deleted, it is the same to who asks again."""
    start, company = last_of_january(service), Company(service)
    renewing, addon = company.create("MONTHLY", 10), company.create("ADDON", 5)
    use = company.use(12, **KEY)
    debit = done(service, DEBIT, use)
    back = giving_back(debit, 5, **KEY)
    refunded = done(service, REFUND, back)
    as_debited = [(renewing, 10, 10, 1, None, wire(start)), (addon, 5, 2, 1, None, wire(start))]
    as_refunded = [(addon, 5, 0, 2, None, wire(start)), (renewing, 10, 7, 2, None, wire(start))]
    assert (credits_left(debit), credits_left(refunded)) == (as_debited, as_refunded)
    update(service, renewing, credits=20, rollupType="YEARLY")
    move(service, step(start, 1))
    company.debit(1)
    delete(service, renewing)
    delete(service, addon)
    assert (done(service, DEBIT, use), done(service, REFUND, back)) == (debit, refunded)


def credits_left(payload: dict[str, Any]) -> list[tuple[str, int, int, int, str | None, str]]:
    """The credit of each part: its id, allotment, use, number of transactions, deletion and last change."""
    found = [part["executionCredit"] for part in payload["transactions"]]
    return [
        (
            credit["id"], credit["credits"], credit["usedCredits"], len(credit["transactions"]), credit["deletedAt"],
            credit["updatedAt"],
        )
        for credit in found
    ]  # fmt: skip


def test_answers_stay_the_same_after_renewals_and_a_restart(database: Database, hands: Hands) -> None:
    """Of a credit that lives on, and of one that is deleted; nothing is written by asking again."""
    with serving(database_url=database.dsn, schema=database.schema, test_clock="1") as service:
        sent = five_mutations(Company(service, "gone"))
        company = Company(service, "alive")
        company.create("MONTHLY", 10)
        company.create("ADDON", 10)
        use = company.use(15, **KEY)
        sent.append(told(service, DEBIT, use))
        sent.append(told(service, REFUND, giving_back(done(service, DEBIT, use), 7, **KEY)))
    hands.set(step(START, 5))
    with serving(database_url=database.dsn, schema=database.schema, test_clock="1") as service:
        for document, given, first in sent:
            assert service.graphql(document, input=given).text == first
        Company(service, "alive").debit(1)
        log = [movements(database, name) for name in ("gone", "alive")]
        for document, given, first in sent:
            assert service.graphql(document, input=given).text == first
        assert [movements(database, name) for name in ("gone", "alive")] == log
    assert [row["cause"] for row in log[0]].count("RENEWED") == 0
    assert [row["cause"] for row in log[1]].count("RENEWED") == 5


def reused(differing: list[str]) -> str:
    return f"idempotency key 'key' was used with another body; these fields differ: {', '.join(differing)}"


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ({"credits": 11},                                   ["credits"]),
        ({"creditType": "DAST"},                            ["creditType"]),
        ({"rollupType": "YEARLY"},                          ["rollupType"]),
        ({"rollupType": "ADDON"},                           ["rollupType"]),
        ({"companyLabel": "Acme"},                          ["companyLabel"]),
        ({"companyLabel": None},                            ["companyLabel"]),
        ({"periodAnchor": "2026-01-15T00:00:00.000001Z"},   ["periodAnchor"]),
        ({"periodAnchor": None},                            ["periodAnchor"]),
        ({"credits": 11, "rollupType": "YEARLY"},           ["credits", "rollupType"]),
    ],
    ids=str,
)  # fmt: skip
def test_another_creation_under_the_same_key_is_a_conflict_that_names_its_fields(
    service: Service, other: dict[str, Any], differing: list[str]
) -> None:
    company = Company(service)
    given = company.creation(companyLabel="acme", periodAnchor="2026-01-15T00:00:00Z", **KEY)
    credit = done(service, CREATE, given)["executionCredit"]["id"]
    assert refusal(service, CREATE, given | other) == reused(differing)
    assert company.listed() == [credit]


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ({"credits": 6},                          ["credits"]),
        ({"creditType": "DAST"},                  ["creditType"]),
        ({"projectId": "p-2"},                    ["projectId"]),
        ({"projectId": None},                     ["projectId"]),
        ({"accountGroupIds": ["a"]},              ["accountGroupIds"]),
        ({"accountGroupIds": None},               ["accountGroupIds"]),
        ({"credits": 10**6, "projectId": "p-2"},  ["credits", "projectId"]),
    ],
    ids=str,
)  # fmt: skip
def test_another_debit_under_the_same_key_is_a_conflict_that_names_its_fields(
    service: Service, other: dict[str, Any], differing: list[str]
) -> None:
    company = Company(service)
    credit = company.create()
    given = company.use(5, projectId="p-1", accountGroupIds=["a", "b"], **KEY)
    done(service, DEBIT, given)
    says = refusal(service, DEBIT, given | other)
    assert sorted(says.rpartition(": ")[2].split(", ")) == differing
    assert (says.rpartition(": ")[0], used(service, credit)) == (reused([]).rpartition(": ")[0], [5])


def test_another_update_or_refund_under_the_same_key_is_a_conflict_that_names_its_fields(service: Service) -> None:
    company = Company(service)
    credit = company.create()
    first, second = company.debit(5), company.debit(2)
    change = {"id": credit, "credits": 20} | KEY
    back = giving_back(first, 3, **KEY)
    done(service, UPDATE, change)
    done(service, REFUND, back)
    for document, given, differing in [
        (UPDATE, change | {"credits": 21}, ["credits"]),
        (UPDATE, change | {"rollupType": "YEARLY"}, ["rollupType"]),
        (UPDATE, change | {"credits": None, "rollupType": "YEARLY"}, ["credits", "rollupType"]),
        (REFUND, back | {"credits": 2}, ["credits"]),
        (REFUND, back | {"credits": None}, ["credits"]),
        (REFUND, back | {"transactionId": second["transactionId"]}, ["transactionId"]),
    ]:
        assert refusal(service, document, given) == reused(differing)
    found = shown(service, credit)
    assert (found["credits"], found["usedCredits"]) == (20, 4)


def test_another_spelling_is_the_same_request(service: Service, schema: Database) -> None:
    number = int(Company(service).id.removeprefix("company-"), 16)
    company = Company(service, str(number))
    creation = company.creation(periodAnchor="2026-01-15T00:00:00Z", **KEY)
    created = done(service, CREATE, creation)
    same: list[dict[str, Any]] = [
        {"companyId": number}, {"periodAnchor": "2026-01-15T01:00:00.000+01:00"}, {"companyLabel": None},
        {"companyLabel": ""}, {"companyLabel": company.id},
    ]  # fmt: skip
    for spelling in same:
        assert done(service, CREATE, creation | spelling) == created
    use = company.use(5, projectId="17", accountGroupIds=["2", "1"], **KEY)
    debit = done(service, DEBIT, use)
    same = [{"companyId": number}, {"projectId": 17}, {"accountGroupIds": [1, 2, "1"]}]
    for spelling in same:
        assert done(service, DEBIT, use | spelling) == debit
    back = giving_back(debit, 2, **KEY)
    refunded = done(service, REFUND, back)
    assert done(service, REFUND, back | {"transactionId": debit["transactionId"].upper()}) == refunded
    log = movements(schema, company.id)
    credit = created["executionCredit"]["id"]
    change = {"id": credit, "credits": 20} | KEY
    changed = done(service, UPDATE, change)
    assert done(service, UPDATE, change | {"rollupType": None, "id": credit.upper()}) == changed
    assert len(movements(schema, company.id)) == len(log) + 2


def test_the_mark_of_a_client_is_not_compared_and_each_gets_his_own_back(service: Service) -> None:
    company = Company(service)
    credit = company.create()
    use = company.use(5, **KEY)
    requests = [(CREATE, Company(service).creation(**KEY)), (UPDATE, {"id": credit, "credits": 20} | KEY), (DEBIT, use)]
    requests += [(REFUND, giving_back(done(service, DEBIT, use), 1, **KEY)), (DELETE, {"id": credit} | KEY)]
    for document, given in requests:
        first = done(service, document, given | {"clientMutationId": "first"})
        again = done(service, document, given | {"clientMutationId": "again"})
        assert (first.pop("clientMutationId"), again.pop("clientMutationId")) == ("first", "again")
        assert again == first
        assert done(service, document, given)["clientMutationId"] is None


def test_a_key_is_free_for_another_company(service: Service) -> None:
    for company in (Company(service), Company(service)):
        credit = done(service, CREATE, company.creation(**KEY))["executionCredit"]["id"]
        debit = done(service, DEBIT, company.use(5, **KEY))
        done(service, REFUND, giving_back(debit, 2, **KEY))
        assert used(service, credit) == [3]


def test_a_key_is_free_for_another_operation(service: Service) -> None:
    company = Company(service)
    credit = done(service, CREATE, company.creation(**KEY))["executionCredit"]["id"]
    debit = done(service, DEBIT, company.use(5, **KEY))
    done(service, REFUND, giving_back(debit, 2, **KEY))
    assert update(service, credit, credits=20, **KEY)["usedCredits"] == 3
    assert done(service, DELETE, {"id": credit} | KEY)["deletedId"] == credit


def test_a_key_of_an_update_or_a_deletion_is_free_for_another_credit(service: Service) -> None:
    company = Company(service)
    for credit in (company.create(), company.create("ADDON")):
        assert update(service, credit, credits=20, **KEY)["id"] == credit
        assert done(service, DELETE, {"id": credit} | KEY)["deletedId"] == credit


def test_a_key_of_a_creation_is_the_companys_for_all_its_credits(service: Service) -> None:
    company = Company(service)
    done(service, CREATE, company.creation(**KEY))
    says = refusal(service, CREATE, company.creation("ADDON", creditType="DAST", **KEY))
    assert says in (reused(["creditType", "rollupType"]), reused(["rollupType", "creditType"]))


def test_a_key_is_free_for_a_customer_of_the_same_name(service: Service) -> None:
    company = Company(service)
    company.create()
    customer = {"customerId": company.id, "currencyId": "AI_PENTEST"}
    service.data(GRANT, input=customer | KEY | {"displayName": "g", "grantType": "PAID", "amount": 10})
    use = customer | KEY | {"amount": 5}
    assert service.data(CONSUME, input=use)["consumeCredits"]["replayed"] is False
    debit = done(service, DEBIT, company.use(5, **KEY))
    again = service.data(CONSUME, input=use)["consumeCredits"]
    assert (again["replayed"], again["transactionId"] != debit["transactionId"]) == (True, True)


def test_a_refusal_keeps_no_key(service: Service) -> None:
    company = Company(service)
    refusal(service, CREATE, company.creation(credits=0, **KEY))
    refusal(service, CREATE, company.creation(periodAnchor="2999-01-01T00:00:00Z", **KEY))
    refusal(service, DEBIT, company.use(5, **KEY))
    credit = done(service, CREATE, company.creation(**KEY))["executionCredit"]["id"]
    refusal(service, DEBIT, company.use(11, **KEY))
    debit = done(service, DEBIT, company.use(5, **KEY))
    refusal(service, REFUND, giving_back(debit, 6, **KEY))
    refusal(service, REFUND, giving_back({"transactionId": "unknown"}, **KEY))
    refund(service, debit, 1, **KEY)
    refusal(service, UPDATE, {"id": credit, "credits": 3} | KEY)
    refusal(service, UPDATE, {"id": credit, "rollupType": "ADDON"} | KEY)
    assert update(service, credit, credits=4, **KEY)["usedCredits"] == 4
    refusal(service, DELETE, {"id": "unknown"} | KEY)
    done(service, DELETE, {"id": credit} | KEY)


def test_what_was_once_refused_may_succeed_later_under_its_key(service: Service) -> None:
    start, company = last_of_january(service), Company(service)
    credit = company.create(credits=10)
    company.debit(8)
    use = company.use(5, **KEY)
    refusal(service, DEBIT, use)
    move(service, step(start, 1))
    first = done(service, DEBIT, use)
    assert (done(service, DEBIT, use), used(service, credit)) == (first, [5])


def test_a_deleted_credits_requests_are_still_answered_and_a_new_key_is_refused(service: Service) -> None:
    company = Company(service)
    credit = company.create()
    change = {"id": credit, "credits": 20} | KEY
    first = done(service, UPDATE, change)
    delete(service, credit)
    assert done(service, UPDATE, change) == first
    assert refusal(service, UPDATE, change | {"idempotencyKey": "new"}) == f"execution credit {credit} is deleted"
    assert refusal(service, UPDATE, change | {"credits": 21}) == reused(["credits"])


@pytest.mark.parametrize("document", [CREATE, DEBIT, REFUND, UPDATE, DELETE], ids=named)
def test_of_twenty_who_send_the_same_request_at_once_all_get_the_one_answer(
    service: Service, schema: Database, document: str
) -> None:
    company = Company(service)
    given = company.creation(**KEY)
    if document != CREATE:
        credit = company.create(credits=10)
        given = {
            DEBIT: company.use(6, **KEY), REFUND: giving_back(company.debit(3), **KEY),
            UPDATE: {"id": credit, "credits": 20} | KEY, DELETE: {"id": credit} | KEY,
        }[document]  # fmt: skip
    before = len(movements(schema, company.id))
    first, *others = at_once(service, document, [given] * 20)
    assert first["errors"] is None
    assert others == [first] * 19
    assert len(movements(schema, company.id)) - before == (1 if document in (DEBIT, REFUND) else 2)


def test_without_a_key_the_same_request_happens_again(service: Service, schema: Database) -> None:
    company = Company(service)
    credit = company.create()
    for amount in (20, 30, 20):
        update(service, credit, credits=amount)
    assert [row["cause"] for row in movements(schema, company.id)].count("RESIZED") == 3


def test_keys_are_told_apart_to_the_character(service: Service) -> None:
    company = Company(service)
    credit = company.create(credits=100)
    keys = ["key", "Key", "key ", " key", "k\u00e9y", "ke\u0301y", "x" * 255, "x" * 254]
    first = [done(service, DEBIT, company.use(1, idempotencyKey=key)) for key in keys]
    assert [done(service, DEBIT, company.use(1, idempotencyKey=key)) for key in keys] == first
    assert used(service, credit) == [len(keys)]
