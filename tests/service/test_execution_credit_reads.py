"""What is read of an execution credit: the same through every question and payload, with all its transactions."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.service.serving import Service
from tests.service.test_graphql_clock import move, now, wire

CREDIT = """
fragment Whole on ExecutionCredit {
  id companyId company { id label } creditType rollupType credits usedCredits createdAt updatedAt deletedAt
  transactions {
    id transactionId executionCreditId transactionType credits projectId createdAt updatedAt
    executionCredit { id usedCredits }
  }
}
"""
ONE = CREDIT + "query ($id: ID!) { executionCredit(id: $id) { ...Whole } }"
LIST = (
    CREDIT
    + """
query ($company: ID, $rollup: ExecutionCreditRollupTypeEnum) {
  executionCredits(companyId: $company, rollupType: $rollup) {
    collection { ...Whole } metadata { totalCount }
  }
}
"""
)
CREATE = """
mutation ($input: CreateExecutionCreditInput!) {
  createExecutionCredit(input: $input) { errors executionCredit { id } }
}
"""
UPDATE = """
mutation ($input: UpdateExecutionCreditInput!) {
  updateExecutionCredit(input: $input) { errors executionCredit { usedCredits updatedAt } }
}
"""
DELETE = "mutation ($id: ID!) { deleteExecutionCredit(input: {id: $id}) { errors deletedId } }"
MOVED = "errors position transactionId transactions { executionCredit { id usedCredits updatedAt } }"
DEBIT = f"mutation ($input: DebitExecutionCreditsInput!) {{ debitExecutionCredits(input: $input) {{ {MOVED} }} }}"
REFUND = f"mutation ($input: RefundExecutionCreditsInput!) {{ refundExecutionCredits(input: $input) {{ {MOVED} }} }}"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def head(service: Service) -> str:
    found: str = service.http.get("/readyz").json()["head"]
    return found


def create(service: Service, company: str, rollup_type: str = "MONTHLY", **more: Any) -> str:
    """The id of a new credit of 10."""
    given = {"companyId": company, "creditType": "DAST", "rollupType": rollup_type, "credits": 10} | more
    payload = service.data(CREATE, input=given)["createExecutionCredit"]
    assert payload["errors"] is None
    made: str = payload["executionCredit"]["id"]
    return made


def debit(service: Service, company: str, credits: int, key: str = "debit", **more: Any) -> Any:
    given = {"companyId": company, "creditType": "DAST", "credits": credits, "idempotencyKey": key} | more
    payload = service.data(DEBIT, input=given)["debitExecutionCredits"]
    assert payload["errors"] is None
    return payload


def refund(service: Service, transaction: str, credits: int | None = None, key: str = "refund") -> Any:
    given = {"transactionId": transaction, "credits": credits, "idempotencyKey": key}
    payload = service.data(REFUND, input=given)["refundExecutionCredits"]
    assert payload["errors"] is None
    return payload


def update(service: Service, credit: str, **changes: Any) -> Any:
    payload = service.data(UPDATE, input={"id": credit} | changes)["updateExecutionCredit"]
    assert payload["errors"] is None
    return payload["executionCredit"]


def read(service: Service, credit: str) -> Any:
    """The credit by its id; while it lives its company's list shows it the same."""
    found = service.data(ONE, id=credit)["executionCredit"]
    if found["deletedAt"] is None:
        page = service.data(LIST, company=found["companyId"])["executionCredits"]
        assert found in page["collection"]
    return found


def used(service: Service, credit: str) -> int:
    found: int = read(service, credit)["usedCredits"]
    return found


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def test_used_credits_are_the_debits_less_the_refunds_of_this_period(service: Service, customer: str) -> None:
    """Every question and every payload tells the same. A refund of an earlier period's debit moves nothing now."""
    move(service, utc("2027-01-31T12:00"))
    credit = create(service, customer)
    first = debit(service, customer, 7, "first")
    assert first["transactions"] == [{"executionCredit": told(service, credit, 7)}]
    second = debit(service, customer, 3, "second")
    assert second["transactions"] == [{"executionCredit": told(service, credit, 10)}]
    back = refund(service, first["transactionId"], 2, "third")
    assert back["transactions"] == [{"executionCredit": told(service, credit, 8)}]
    assert update(service, credit, credits=30)["usedCredits"] == used(service, credit) == 8
    move(service, utc("2027-02-28T12:00"))
    assert used(service, credit) == 0
    back = refund(service, first["transactionId"], 5, "fourth")
    assert back["transactions"] == [{"executionCredit": told(service, credit, 0)}]
    third = debit(service, customer, 30, "fifth")
    assert third["transactions"] == [{"executionCredit": told(service, credit, 30)}]
    refund(service, second["transactionId"], None, "sixth")
    assert used(service, credit) == 30
    refund(service, third["transactionId"], None, "seventh")
    assert used(service, credit) == 0


def told(service: Service, credit: str, used_credits: int) -> dict[str, Any]:
    """What a payload has to tell of a credit that has moved now."""
    assert used(service, credit) == used_credits
    return {"id": credit, "usedCredits": used_credits, "updatedAt": wire(now(service))}


def test_an_addon_counts_what_was_ever_used_of_it(service: Service, customer: str) -> None:
    credit = create(service, customer, "ADDON")
    first = debit(service, customer, 4, "first")["transactionId"]
    move(service, now(service) + timedelta(days=800))
    debit(service, customer, 3, "second")
    assert used(service, credit) == 7
    refund(service, first)
    assert used(service, credit) == 3


def test_a_deleted_credit_is_still_read_by_its_id(service: Service, customer: str) -> None:
    """As it ended: no renewal comes any more, and a refund into it does not bring it back."""
    credit = create(service, customer, companyLabel="Acme")
    debited = debit(service, customer, 4, projectId="p-1")["transactionId"]
    before = read(service, credit)
    move(service, now(service) + timedelta(days=1))
    deleted_at = wire(now(service))
    service.data(DELETE, id=credit)
    ended = before | {"deletedAt": deleted_at, "updatedAt": deleted_at}
    assert read(service, credit) == ended
    move(service, now(service) + timedelta(days=100))
    assert read(service, credit) == ended
    refund(service, debited)
    found = read(service, credit)
    assert [each["transactionType"] for each in found["transactions"]] == ["REFUND", "DEBIT"]
    assert (found["deletedAt"], found["usedCredits"]) == (deleted_at, 0)
    assert service.data(LIST, company=customer)["executionCredits"]["collection"] == []


@pytest.mark.parametrize(
    "credit", [UNKNOWN, "7", 7, "cg-abc", "ec 1", "' OR 1=1 --", "%", "x" * 200, 2**53 + 1], ids=str
)
def test_an_id_that_nobody_has_is_answered_with_null(service: Service, credit: str | int) -> None:
    answer = service.graphql(ONE, id=credit)
    assert (answer.status_code, answer.json()) == (200, {"data": {"executionCredit": None}})


def test_the_id_of_a_grant_is_no_execution_credits(service: Service, customer: str) -> None:
    issue = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
    given = {"customerId": customer, "currencyId": "DAST", "displayName": "g", "grantType": "PAID", "amount": 1}
    grant = service.data(issue, input=given)["createCreditGrant"]["id"]
    assert service.data(ONE, id=grant) == {"executionCredit": None}


@pytest.mark.parametrize(
    "credit", ["", "x" * 201, "a\0b", None, True, 1.5, ["x"], {}], ids=lambda value: ascii(value)[:12]
)
def test_what_is_no_id_is_refused(service: Service, credit: Any) -> None:
    assert service.refusal(ONE, id=credit)["code"] == "InvalidArgumentError"


def test_a_credit_is_found_by_its_id_in_capitals_too(service: Service, customer: str) -> None:
    credit = create(service, customer)
    assert service.data(ONE, id=credit.upper())["executionCredit"]["id"] == credit


def test_ids_that_are_sent_as_numbers_come_back_as_strings(service: Service, customer: str) -> None:
    number = 2**53 + 1  # a float has no room for it
    credit = create(service, number)  # type: ignore[arg-type]  # that is the point
    debited = debit(service, str(number), 1, projectId=7)["transactionId"]
    found = read(service, credit)
    assert (found["companyId"], found["company"]) == (str(number), {"id": str(number), "label": str(number)})
    assert [each["projectId"] for each in found["transactions"]] == ["7"]
    again = {"companyId": number, "creditType": "DAST", "credits": 1, "idempotencyKey": "debit", "projectId": "7"}
    replayed = service.data(DEBIT, input=again)["debitExecutionCredits"]
    assert replayed["transactionId"] == debited, "a number and its digits are one id"


def test_transactions_are_all_debits_and_refunds_newest_first(service: Service, customer: str) -> None:
    """Also those of earlier periods. The parts of one debit, in two credits, share their transaction's id."""
    renewing, addon = create(service, customer), create(service, customer, "ADDON")
    instants = [now(service)]
    both = debit(service, customer, 12, "both", projectId="p-1")["transactionId"]
    move(service, instants[0] + timedelta(seconds=1))
    instants.append(now(service))
    back = refund(service, both, 5)["transactionId"]
    move(service, instants[0] + timedelta(days=40))
    instants.append(now(service))
    later = debit(service, customer, 1, "later")["transactionId"]
    debits = ("DEBIT", both, "p-1", 0)
    expected: dict[str, list[Any]] = {
        renewing: [("DEBIT", later, None, 2, 1), ("REFUND", back, "p-1", 1, 3), (*debits, 10)],
        addon: [("REFUND", back, "p-1", 1, 2), (*debits, 2)],
    }
    for credit, rows in expected.items():
        found = read(service, credit)
        assert found["transactions"] == [
            {
                "id": each["id"], "transactionId": transaction, "executionCreditId": credit, "transactionType": kind,
                "credits": amount, "projectId": project, "createdAt": wire(instants[instant]),
                "updatedAt": wire(instants[instant]),
                "executionCredit": {"id": credit, "usedCredits": found["usedCredits"]},
            }
            for each, (kind, transaction, project, instant, amount) in zip(found["transactions"], rows, strict=True)
        ]  # fmt: skip
    ids = [each["id"] for credit in expected for each in read(service, credit)["transactions"]]
    assert len(set(ids)) == len(ids)


PAGE = """
query ($id: ID!, $page: Int, $limit: Int) {
  executionCredit(id: $id) { transactions(page: $page, limit: $limit) { id credits } }
}
"""


def amounts(service: Service, credit: str, **asked: Any) -> list[int]:
    rows = service.data(PAGE, {"X-Ledger-At-Least": head(service)}, id=credit, **asked)["executionCredit"][
        "transactions"
    ]
    return [row["credits"] for row in rows]


def test_transactions_come_by_pages_to_who_asks_for_them(service: Service, customer: str) -> None:
    credit = create(service, customer, credits=1000)
    for number in range(1, 31):
        debit(service, customer, number, f"use {number}")
    newest_first = list(range(30, 0, -1))
    assert amounts(service, credit) == amounts(service, credit, limit=1000) == newest_first
    assert amounts(service, credit, page=1) == newest_first[:25]
    assert amounts(service, credit, page=2) == newest_first[25:]
    assert [amounts(service, credit, page=page, limit=13) for page in (1, 2, 3, 4)] == [
        newest_first[:13], newest_first[13:26], newest_first[26:], [],
    ]  # fmt: skip
    assert amounts(service, credit, page=2**31 - 1, limit=1000) == []


@pytest.mark.parametrize(
    ("asked", "field"),
    [({"limit": 0}, "limit"), ({"limit": 1001}, "limit"), ({"limit": -1}, "limit"), ({"page": 0}, "page")],
)
def test_a_page_of_transactions_out_of_bounds_is_refused(
    service: Service, customer: str, asked: dict[str, Any], field: str
) -> None:
    refusal = service.refusal(PAGE, id=create(service, customer), **asked)
    assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", field)


def test_an_answer_tells_the_position_it_is_right_at(service: Service, customer: str) -> None:
    """A client reads what it wrote itself, and may name a position to wait for."""
    credit = create(service, customer)
    for number in range(1, 6):
        answer = service.graphql(
            DEBIT,
            input={"companyId": customer, "creditType": "DAST", "credits": 1, "idempotencyKey": f"use {number}"},
        )
        position = answer.headers["X-Ledger-Position"]
        assert answer.json()["data"]["debitExecutionCredits"]["position"] == position == head(service)
        for document, asked in ((ONE, {"id": credit}), (LIST, {"company": customer})):
            seen = service.graphql(document, {"X-Ledger-At-Least": position}, **asked)
            (data,) = seen.json()["data"].values()
            (found,) = data.get("collection", [data])
            assert (found["usedCredits"], len(found["transactions"])) == (number, number)
            assert (seen.headers["X-Ledger-Position"], seen.headers.get("X-Ledger-Stale")) == (position, None)
