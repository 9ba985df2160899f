"""What expires soon: what is left, by when it ends; to the microsecond, by the calendar."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.domain.instants import FOREVER
from ledger.store.database import Database
from tests.audit.asking import Auditor, auditing

MICROSECOND, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
BUCKETS = ("within3Months", "within12Months", "later", "never")


@pytest.fixture(scope="module")
def auditor(schema: Database) -> Iterator[Auditor]:
    with auditing(schema) as auditor:
        yield auditor


@pytest.fixture
def customer() -> str:
    """A customer whom no other test knows."""
    return f"customer-{secrets.token_hex(6)}"


def buckets(auditor: Auditor, customer: str, **clocks: Any) -> dict[str, str]:
    """What there is in buckets that have something."""
    rows = auditor.rows("report/expiring", customer=customer, **clocks)
    return {name: row[name] for row in rows for name in BUCKETS if row[name] != "0"}


def test_each_lot_is_in_the_bucket_of_its_end_and_moves_to_the_next_at_the_microsecond(
    auditor: Auditor, customer: str
) -> None:
    """From the 30th of November three months lead to the last of February."""
    auditor.hands.set(datetime(2026, 11, 30, tzinfo=UTC))
    end_of_february, next_november = datetime(2027, 2, 28, tzinfo=UTC), datetime(2027, 11, 30, tzinfo=UTC)
    ends = [
        (1, auditor.hands.now + MICROSECOND), (2, end_of_february - MICROSECOND), (4, end_of_february),
        (8, next_november - MICROSECOND), (16, next_november), (32, FOREVER), (64, None),
    ]  # fmt: skip
    for amount, end in ends:
        auditor.books.issue_grant(
            holder=customer, currency="credits", amount=amount, display_name="g", grant_type="PAID", expires_at=end
        )
    told = [
        {"within3Months": "3", "within12Months": "12", "later": "48", "never": "64"},
        {"within3Months": "6", "within12Months": "24", "later": "32", "never": "64"},
    ]
    position = auditor.events()[-1]["position"]
    for number, expected in enumerate(told):
        at = auditor.hands.now + number * MICROSECOND
        assert buckets(auditor, customer, effectiveAsOf=at, recordedAsOf=position) == expected
        auditor.hands.set(at)
        assert buckets(auditor, customer) == expected
    total = auditor.row("report/expiring", customer=customer)
    assert (total["total"], total["ofItAwaitingPayment"]) == ("126", "0")
    at_the_end = {"effectiveAsOf": datetime(9999, 11, 30, tzinfo=UTC), "recordedAsOf": position}
    assert buckets(auditor, customer, **at_the_end) == {"within3Months": "32", "never": "64"}


def test_only_what_has_begun_and_has_not_ended_counts_by_the_terms_of_the_instant(
    auditor: Auditor, customer: str
) -> None:
    books, start = auditor.books, auditor.hands.now
    given: dict[str, Any] = {"holder": customer, "currency": "credits", "display_name": "g", "grant_type": "PAID"}
    grant = books.issue_grant(**given, amount=10, expires_at=start + 400 * DAY)
    books.issue_grant(**given, amount=20, effective_at=start + 9 * DAY)
    books.issue_grant(**given, amount=40, cost=1, payment_method="INVOICE")
    auditor.hands.set(start + DAY)
    books.update_grant(grant=grant.stream_id, expires_at=start + 2 * DAY)
    books.consume(holder=customer, currency="credits", amount=3)
    auditor.hands.set(start + 10 * DAY)
    known = auditor.events()[-1]["position"]
    assert [
        buckets(auditor, customer, effectiveAsOf=start + hours * HOUR, recordedAsOf=known)
        for hours in (0, 24, 48, 9 * 24)
    ] == [
        {"later": "10", "never": "40"},
        {"within3Months": "7", "never": "40"},
        {"never": "40"},
        {"never": "60"},
    ]
    waiting = auditor.row("report/expiring", customer=customer)
    assert (waiting["never"], waiting["total"], waiting["ofItAwaitingPayment"]) == ("60", "60", "40")


def test_the_period_of_an_execution_credit_ends_with_its_cycle(auditor: Auditor, customer: str) -> None:
    for credit_type, rollup in (("DAST", "MONTHLY"), ("AI_PENTEST", "YEARLY"), ("DAST", "ADDON")):
        auditor.books.open_execution_credit(company=customer, credit_type=credit_type, credits=5, rollup_type=rollup)
    rows = auditor.rows("report/expiring", company=customer)
    assert [(row["currency"], *(row[name] for name in BUCKETS)) for row in rows] == [
        ("AI_PENTEST", "0", "0", "5", "0"),
        ("DAST", "5", "0", "0", "5"),
    ]


def test_the_groups_hold_the_same_credits(auditor: Auditor, customer: str) -> None:
    given: dict[str, Any] = {"currency": f"of {customer}", "display_name": "g"}
    for holder in (customer, f"{customer} too"):
        for amount, grant_type in ((1, "PAID"), (2, "PROMOTIONAL")):
            auditor.books.issue_grant(**given, holder=holder, amount=amount, grant_type=grant_type)
    told = {
        by: [(row.get("holder") or row.get("grantType"), row["total"])
             for row in auditor.rows("report/expiring", currency=given["currency"], by=by)]
        for by in ("customer", "currency", "grant-type")
    }  # fmt: skip
    assert told == {
        "customer": [(customer, "3"), (f"{customer} too", "3")],
        "currency": [(None, "6")],
        "grant-type": [("PAID", "2"), ("PROMOTIONAL", "4")],
    }
