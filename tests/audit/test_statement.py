"""The statement of a holder: it begins with a balance, tells every movement that led to another, and ends with that."""

import secrets
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import groupby
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ledger.store.database import Database, Role
from tests.audit.asking import Auditor, Rows, auditing
from tests.history import HOLDERS, Play, histories

MICROSECOND, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
ERASE = "DELETE FROM documents WHERE id IN (SELECT document_id FROM movements WHERE holder = %(customer)s)"
TOLD = ("line", "event", "cause", "amount", "balance", "reason")


@pytest.fixture(scope="module")
def auditor(schema: Database) -> Iterator[Auditor]:
    with auditing(schema) as auditor:
        yield auditor


@pytest.fixture
def customer() -> str:
    """A customer whom no other test knows."""
    return f"customer-{secrets.token_hex(6)}"


def told(rows: Rows, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def test_a_month_of_a_customer_line_by_line(auditor: Auditor, customer: str) -> None:
    """A grant, a use and half of it back, a use told late, a lapse, an update; the month before and the next one."""
    books, start = auditor.books, auditor.hands.now
    given: dict[str, Any] = {"holder": customer, "currency": "credits", "grant_type": "PAID"}
    books.issue_grant(**given, amount=20, display_name="Welcome", expires_at=start + 20 * DAY)
    auditor.hands.set(start + 5 * DAY)
    march = books.issue_grant(**given, amount=50, display_name="March", effective_at=start + 6 * DAY).stream_id
    used = books.consume(holder=customer, currency="credits", amount=12)
    auditor.hands.set(start + 7 * DAY)
    books.refund(transaction_id=used.transaction_id, amount=6, reason="half a job")
    books.update_grant(grant=march, comment="agreed with the customer")
    auditor.hands.set(start + 21 * DAY)
    late = books.consume(holder=customer, currency="credits", amount=8, use_at=start + 6 * DAY + HOUR)
    books.void_grant(grant=march, reason="contract ended")

    rows = auditor.rows("report/statement", customer=customer, **{"from": start + DAY, "to": start + 21 * DAY})
    assert told(rows, *TOLD) == [
        ("opening", None, None, None, "20", None),
        ("movement", "ledger.debited", "CONSUMED", "-12", "8", None),
        ("movement", "ledger.granted", "ISSUED", "50", "58", None),
        ("movement", "ledger.debited", "CONSUMED", "-8", "50", None),
        ("movement", "ledger.refunded", "REFUNDED", "6", "56", "half a job"),
        ("movement", "ledger.grant-updated", "UPDATED", "0", "56", None),
        ("movement", "ledger.expired", "LAPSED", "-14", "42", None),
        ("closing", None, None, None, "42", None),
    ]
    assert told(rows, "displayName", "comment")[2] == ("March", None)
    assert told(rows, "displayName", "comment")[5] == ("March", "agreed with the customer")
    assert told(rows, "position", "transaction", "actor")[3] == (late.position, late.transaction_id, "SYSTEM:ledger")
    grant = auditor.row("audit/lots", customer=customer, grant=march)["grant"]
    assert [row["grant"] == grant for row in rows] == [False, False, True, True, False, True, False, False]

    before = auditor.rows("report/statement", customer=customer, to=start + DAY)
    assert told(before, "line", "balance") == [("opening", "0"), ("movement", "20"), ("closing", "20")]
    after = auditor.rows("report/statement", customer=customer, **{"from": start + 21 * DAY})
    assert told(after, "amount", "balance", "reason") == [
        (None, "42", None), ("-42", "0", "contract ended"), (None, "0", None),
    ]  # fmt: skip


def test_what_happens_at_an_edge_is_of_the_period_that_begins_there(auditor: Auditor, customer: str) -> None:
    edge = auditor.hands.now + DAY
    auditor.hands.set(edge)
    auditor.books.issue_grant(holder=customer, currency="credits", amount=1, display_name="g", grant_type="PAID")
    assert auditor.rows("report/statement", customer=customer, to=edge) == []
    for period in ({"from": edge}, {"to": edge + MICROSECOND}, {"effectiveAsOf": edge}):
        assert told(auditor.rows("report/statement", customer=customer, **period), "balance") == [
            ("0",),
            ("1",),
            ("1",),
        ]


def test_a_text_that_was_erased_is_gone_from_the_statement_and_every_figure_stays(
    auditor: Auditor, customer: str
) -> None:
    books = auditor.books
    books.issue_grant(holder=customer, currency="credits", amount=1, display_name="Jane Doe", grant_type="PAID")
    rows = auditor.rows("report/statement", customer=customer)
    with auditor.schema.connect(Role.OWNER) as connection:
        connection.execute(ERASE, {"customer": customer})
    assert rows[1]["displayName"] == "Jane Doe"
    assert auditor.rows("report/statement", customer=customer) == [rows[0], rows[1] | {"displayName": None}, rows[2]]


@settings(max_examples=2, phases=[Phase.generate])
@given(acts=histories, seed=st.integers())
def test_every_statement_adds_up_and_goes_on_where_the_one_before_ended(
    auditor: Auditor, acts: Sequence[Any], seed: int
) -> None:
    """The balance that one ends with is the one booked as of the same two clocks."""
    began, chance = auditor.hands.now, Random(seed)
    Play(auditor.books, auditor.hands).all(acts)
    known, now = auditor.events()[-1]["position"], auditor.hands.now
    for holder in ({name: holder} for name in ("customer", "company") for holder in HOLDERS):
        cuts = sorted(now - chance.random() * (now - began + DAY) for _ in range(3))
        closing: dict[str, Decimal] = {}
        for start, end in zip([None, *cuts], [*cuts, now + DAY], strict=True):
            rows = auditor.rows("report/statement", **holder, **{"from": start, "to": end, "recordedAsOf": known})
            for currency, lines in groupby(rows, lambda row: row["currency"]):
                closing[currency] = closing_of(list(lines), closing.get(currency, Decimal(0)))
            clocks = {"effectiveAsOf": end - MICROSECOND, "recordedAsOf": known}
            booked = auditor.rows("audit/balances", **holder, **clocks)
            assert {row["currency"]: Decimal(row["booked"]) for row in booked} == closing


def closing_of(lines: Rows, opening: Decimal) -> Decimal:
    """The closing balance of one pool's statement, each line of which follows from the one before it."""
    first, *moved, last = lines
    assert (first["line"], Decimal(first["balance"]), last["line"]) == ("opening", opening, "closing")
    balance = opening
    for line in moved:
        balance += Decimal(line["amount"])
        assert Decimal(line["balance"]) == balance
    order = [(line["countsAt"], line["position"]) for line in moved]
    assert order == sorted(order)
    assert Decimal(last["balance"]) == balance
    return balance
