"""Execution credits as time passes and nobody writes it: every read is right at the instant, job or no job.

The service of these tests runs no job; only what it is asked to do comes into the log. They move the clock, forward
only: each begins in a later year than the one before it ended.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger
from ledger.application.ledger import accepted
from ledger.domain.values import Kind
from ledger.store.clock import settable_clock
from ledger.store.database import Database
from projections.runner import Runner
from tests.conftest import START, Hands
from tests.service.serving import Service, serving
from tests.service.test_execution_credit_reads import (
    DEBIT,
    DELETE,
    LIST,
    ONE,
    PAGE,
    amounts,
    create,
    debit,
    head,
    read,
    refund,
    update,
    used,
)
from tests.service.test_graphql_clock import MICROSECOND, wire


@pytest.fixture(scope="module")
def hands(schema: Database) -> Hands:
    return Hands(schema)


@pytest.fixture(scope="module")
def asleep(schema: Database, hands: Hands) -> Iterator[Service]:
    """A service that runs no job; its read models are followed."""
    with Runner(schema), only_serving(schema) as service:
        yield service


def only_serving(database: Database) -> Any:
    return serving("--no-worker", database_url=database.dsn, schema=database.schema, test_clock="1")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


CHANGES = ("debit", "refund", "credits", "rollupType", "delete", "delete of an empty one")


def test_what_is_done_after_a_long_sleep_is_the_last_change_and_not_the_renewal_before_it(
    asleep: Service, hands: Hands
) -> None:
    """The renewals that nobody had written come into the log right before it, dated back."""
    credits_of = {change: create(asleep, change) for change in CHANGES}
    debits = {change: debit(asleep, change, 4)["transactionId"] for change in CHANGES}
    hands.set(utc("2026-06-15T00:00"))
    for change, credit in credits_of.items():
        told = carried_out(asleep, change, credit, debits[change])
        assert told in (None, wire(hands.now)), change
        assert read(asleep, credit)["updatedAt"] == wire(hands.now), change


def carried_out(service: Service, change: str, credit: str, debited: str) -> Any:
    """When the credit changed last, as the change's own payload tells it, if it does."""
    match change:
        case "debit":
            return debit(service, change, 10, "later")["transactions"][0]["executionCredit"]["updatedAt"]
        case "refund":
            return refund(service, debited)["transactions"][0]["executionCredit"]["updatedAt"]
        case "credits":
            return update(service, credit, credits=20)["updatedAt"]
        case "rollupType":
            return update(service, credit, rollupType="YEARLY")["updatedAt"]
    if change == "delete of an empty one":
        debit(service, change, 10, "all")
    assert service.data(DELETE, id=credit)["deleteExecutionCredit"]["errors"] is None
    return None


def test_another_cycle_shows_from_the_renewal_on_and_filters_find_it_by_that(asleep: Service, hands: Hands) -> None:
    hands.set(utc("2027-01-31T12:00"))
    credit = create(asleep, "turning")
    update(asleep, credit, rollupType="QUARTERLY")
    before = head(asleep)
    turn = utc("2027-02-28T12:00")
    for instant, rollup_type in [
        (hands.now, "MONTHLY"),
        (turn - MICROSECOND, "MONTHLY"),
        (turn, "QUARTERLY"),
        (turn + MICROSECOND, "QUARTERLY"),
        (utc("2027-12-31T00:00"), "QUARTERLY"),
    ]:
        hands.set(instant)
        assert read(asleep, credit)["rollupType"] == rollup_type
        for wanted in ("MONTHLY", "QUARTERLY", "YEARLY", "ADDON"):
            page = asleep.data(LIST, company="turning", rollup=wanted)["executionCredits"]
            expected = [credit] if wanted == rollup_type else []
            assert [found["id"] for found in page["collection"]] == expected, (wanted, instant)
            assert page["metadata"]["totalCount"] == len(expected)
    assert head(asleep) == before


def test_a_renewal_is_the_last_change_of_a_credit_of_which_nobody_hears(asleep: Service, hands: Hands) -> None:
    hands.set(utc("2028-01-31T12:00"))
    credit = create(asleep, "quiet")
    for instant, renewed_at in [
        (utc("2028-02-29T11:59:59.999999"), utc("2028-01-31T12:00")),
        (utc("2028-02-29T12:00"), utc("2028-02-29T12:00")),
        (utc("2028-03-31T11:59:59.999999"), utc("2028-02-29T12:00")),
        (utc("2028-03-31T12:00"), utc("2028-03-31T12:00")),
        (utc("2028-12-25T00:00"), utc("2028-11-30T12:00")),
    ]:
        hands.set(instant)
        assert read(asleep, credit)["updatedAt"] == wire(renewed_at)


RENEWALS = {
    "MONTHLY": utc("2030-02-28T12:00"),
    "QUARTERLY": utc("2030-04-30T12:00"),
    "SEMIANNUAL": utc("2030-07-31T12:00"),
    "YEARLY": utc("2031-01-31T12:00"),
}
"""When each cycle that is anchored at noon on 31 January 2030 renews for the first time."""


def test_a_credit_renews_at_the_microsecond(asleep: Service, hands: Hands) -> None:
    hands.set(utc("2030-01-31T12:00"))
    made = {rollup: create(asleep, rollup, rollup) for rollup in (*RENEWALS, "ADDON")}
    for company in made:
        debit(asleep, company, 4)
    before = head(asleep)
    for turn in RENEWALS.values():
        for instant in (turn - MICROSECOND, turn, turn + MICROSECOND):
            hands.set(instant)
            for rollup, credit in made.items():
                renewed = rollup in RENEWALS and RENEWALS[rollup] <= instant
                found = read(asleep, credit)
                assert (found["usedCredits"], found["credits"]) == (0 if renewed else 4, 10), (rollup, instant)
                assert len(found["transactions"]) == 1
    hands.set(utc("2050-01-31T12:00"))
    assert {rollup: used(asleep, credit) for rollup, credit in made.items()} == {
        **dict.fromkeys(RENEWALS, 0),
        "ADDON": 4,
    }
    answer = asleep.graphql(ONE, id=made["MONTHLY"])
    assert (answer.headers["X-Ledger-Position"], head(asleep)) == (before, before)
    assert "X-Ledger-Stale" not in answer.headers


def test_a_request_shows_ten_thousand_transactions_and_not_one_more(asleep: Service, schema: Database) -> None:
    many = 10_000
    credit = create(asleep, "busy", credits=2 * many)
    with CreditLedger(schema, clock=settable_clock()) as ledger:
        books = BlockingLedger(ledger)
        use(books, "busy", many)
        assert len(amounts(asleep, credit)) == many
        pages = " ".join(f"p{n}: transactions(page: {n}, limit: 1000) {{ id }}" for n in range(1, 12))
        document = f"query ($id: ID!) {{ executionCredit(id: $id) {{ {pages} }} }}"
        found = asleep.data(document, id=credit)["executionCredit"]
        assert len({row["id"] for page in found.values() for row in page}) == many
        often = " ".join(f"shown{n}: credits" for n in range(11))
        fields = f"... on ExecutionCreditTransaction {{ {often} }}"
        refusal = asleep.refusal(
            f"query ($id: ID!) {{ executionCredit(id: $id) {{ transactions {{ {fields} }} }} }}", id=credit
        )
        assert refusal["reason"].startswith("must have at most 100000 fields in one request")
        beyond = " ".join(f"p{n}: transactions(page: {n}) {{ id }}" for n in range(401, 502))
        refusal = asleep.refusal(f"query ($id: ID!) {{ executionCredit(id: $id) {{ {beyond} }} }}", id=credit)
        assert refusal["reason"] == "must be fewer, or on earlier pages, in one request"
        use(books, "busy", 1)
    for asked in (PAGE, document):
        refusal = asleep.refusal(asked, {"X-Ledger-At-Least": head(asleep)}, id=credit)
        assert (refusal["code"], refusal["field"]) == ("InvalidArgumentError", "transactions")
        assert str(many) in refusal["reason"]
    assert len(amounts(asleep, credit, page=11, limit=1000)) == 1


def use(books: BlockingLedger, company: str, times: int) -> None:
    """So many debits of one credit each."""
    debits = [
        ConsumeCredits(kind=Kind.EXECUTION_CREDIT, holder=company, currency="DAST", amount=1) for _ in range(times)
    ]
    for outcome in books.consume_many(debits):
        accepted(outcome)


def test_what_nobody_follows_is_answered_as_it_was_and_says_so(database: Database) -> None:
    """A credit and its transactions are of one position. What is written is answered all the same, as it left them."""
    Hands(database)
    with only_serving(database) as service:
        with Runner(database):
            credit = create(service, "company")
            debit(service, "company", 4)
            before = service.graphql(ONE, {"X-Ledger-At-Least": head(service)}, id=credit)
            assert "X-Ledger-Stale" not in before.headers
        given = {"companyId": "company", "creditType": "DAST", "credits": 3, "idempotencyKey": "later"}
        answered = service.data(DEBIT, input=given)["debitExecutionCredits"]
        written = answered["position"]
        assert written == head(service)
        left = {"id": credit, "usedCredits": 7, "updatedAt": wire(START)}
        assert answered["transactions"] == [{"executionCredit": left}]
        stale = service.graphql(ONE, id=credit)
        assert stale.json() == before.json()
        assert stale.headers["X-Ledger-Stale"] == "true"
        assert stale.headers["X-Ledger-Position"] == before.headers["X-Ledger-Position"] != written
        page = service.data(LIST)["executionCredits"]
        assert page["collection"] == [before.json()["data"]["executionCredit"]]
        with Runner(database):
            fresh = service.data(ONE, {"X-Ledger-At-Least": written}, id=credit)["executionCredit"]
        assert (fresh["usedCredits"], len(fresh["transactions"])) == (7, 2)


def test_a_mutations_answer_waits_for_no_read_model(database: Database) -> None:
    """Of a ledger that nobody has ever followed, also to who asks for the position that he was just told."""
    Hands(database)
    with only_serving(database) as service:
        credit = create(service, "company")
        debited = debit(service, "company", 4)
        assert debited["transactions"][0]["executionCredit"]["usedCredits"] == 4
        back = refund(service, debited["transactionId"], 1)
        assert back["transactions"][0]["executionCredit"]["usedCredits"] == 3
        assert update(service, credit, credits=20) == {"usedCredits": 3, "updatedAt": wire(START)}
        given = {"companyId": "company", "creditType": "DAST", "credits": 4, "idempotencyKey": "debit"}
        again = service.data(DEBIT, {"X-Ledger-At-Least": head(service)}, input=given)["debitExecutionCredits"]
        assert again == debited
