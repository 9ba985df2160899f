"""Deferred revenue as an accountant reads it: months of customers that pay, use, give back and let lapse."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.instants import Instant
from ledger.store.clock import settable_clock
from ledger.store.database import Database
from tests.conftest import START, Hands
from tests.service.serving import Service, command, serving

PATH = "/v1/report/deferred-revenue"
FEBRUARY = {"from": "2026-02-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"}
MARCH = {"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}
FLOWS = ("opening", "cost", "carriedIn", "recognised", "refunds", "breakage", "voided", "carriedOut", "closing")


def day(number: int, month: int = 2) -> Instant:
    return datetime(2026, month, number, 12, tzinfo=UTC)


def live(books: BlockingLedger, hands: Hands) -> None:
    """Two months of seven customers, each of them about one thing."""

    def sell(holder: str, amount: int, cost: str, **given: Any) -> str:
        named = {"currency": "credits", "display_name": "pack", "grant_type": "PAID"} | given
        return books.issue_grant(holder=holder, amount=amount, cost=cost, **named).stream_id

    def use(holder: str, amount: str, **given: Any) -> str:
        return books.consume(holder=holder, currency="credits", amount=amount, **given).transaction_id

    books.create_grant_schedule(
        holder="carries-on", currency="credits", display_name="plan", amount=30, cost="27", billing_period="MONTH",
        cadence="BEGINNING_OF_BILLING_PERIOD", anchor_at=START, rollover_max=10, rollover_periods=1,
    )  # fmt: skip
    thirds = sell("thirds", 3, "100.00", payment_method="INVOICE", expires_at=day(15, 3))
    sell("never-pays", 50, "70", payment_method="INVOICE", expires_at=day(20))
    ahead = sell("pays-ahead", 10, "50", payment_method="INVOICE", effective_at=day(10, 4))
    late = sell("pays-late", 9, "90", payment_method="CHARGE", awaits_payment=False, cost_currency="EUR")
    void = sell("voids", 50, "45.00")
    sell("promoted", 20, "0", grant_type="PROMOTIONAL", expires_at=day(1, 3))
    hands.set(day(1))
    books.mark_invoice_paid(grant=thirds)
    books.mark_invoice_paid(grant=ahead)
    hands.set(day(5))
    first, second = use("thirds", "1"), use("thirds", "1")
    for holder, amount in (("pays-late", "2"), ("voids", "10"), ("carries-on", "7"), ("promoted", "5")):
        use(holder, amount)
    hands.set(day(10))
    books.refund(transaction_id=second)
    hands.set(day(2, 3))
    books.settle_due()
    books.void_grant(grant=void)
    books.record_grant_payment(grant=late, collection="NOT_REQUIRED")
    hands.set(day(20, 3))
    books.settle_due()
    books.refund(transaction_id=first)


@pytest.fixture(scope="module")
def service(schema: Database) -> Iterator[Service]:
    """A service whose ledger has lived through these two months."""
    hands = Hands(schema)
    with CreditLedger(schema, clock=settable_clock()) as ledger:
        live(BlockingLedger(ledger), hands)
    with serving(database_url=schema.dsn, schema=schema.schema, test_clock="1") as running:
        yield running


@pytest.fixture(scope="module")
def position(service: Service) -> str:
    """Where the two months end in the log."""
    return str(service.http.get(PATH).json()["asOf"]["recordedAsOf"])


def told(service: Service, **asked: str) -> Any:
    answer = service.http.get(PATH, params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def figures(row: dict[str, str]) -> dict[str, str]:
    """What is not zero; the difference always is."""
    assert row["difference"] == "0"
    return {name: row[name] for name in FLOWS if row[name] != "0"}


@pytest.mark.parametrize(
    ("customer", "february", "march"),
    [
        (
            "thirds",  # the refund in March is of a grant that had lapsed
            [("PAID", {"cost": "100", "recognised": "33.333333333", "refunds": "33.333333334",
                       "closing": "66.666666667"})],
            [("PAID", {"opening": "66.666666667", "recognised": "-33.333333333", "refunds": "33.333333333",
                       "breakage": "100"})],
        ),
        ("never-pays", [], []),
        ("pays-ahead", [("PAID", {"cost": "50", "closing": "50"})], [("PAID", {"opening": "50", "closing": "50"})]),
        ("pays-late", [], [("PAID", {"cost": "90", "recognised": "20", "closing": "70"})]),
        (
            "voids",
            [("PAID", {"opening": "45", "recognised": "9", "closing": "36"})],
            [("PAID", {"opening": "36", "voided": "36"})],
        ),
        ("promoted", [], []),
        (
            "carries-on",
            [
                ("SUBSCRIPTION", {"opening": "27", "recognised": "6.3", "breakage": "11.7", "carriedOut": "9"}),
                ("ROLLOVER", {"carriedIn": "9", "closing": "9"}),
                ("SUBSCRIPTION", {"cost": "27", "closing": "27"}),
            ],
            [
                ("ROLLOVER", {"opening": "9", "closing": "9"}),
                ("SUBSCRIPTION", {"opening": "27", "closing": "27"}),
            ],
        ),
    ],
)  # fmt: skip
def test_the_months_of_a_customer(
    service: Service, position: str, customer: str, february: list[Any], march: list[Any]
) -> None:
    for month, rows in ((FEBRUARY, february), (MARCH, march)):
        report = told(service, **month, recordedAsOf=position, customer=customer)
        assert [(row["grantType"], figures(row)) for row in report["rows"]] == rows


def test_the_months_of_all_add_up_by_the_money_they_are_in(service: Service, position: str) -> None:
    """Dollars and euros are never added, and what carries on leaves one grant and enters another."""
    february = told(service, **FEBRUARY, recordedAsOf=position, by="currency")
    march = told(service, **MARCH, recordedAsOf=position, by="currency")
    (dollars,) = february["rows"]
    assert (dollars["currency"], dollars["costCurrency"]) == ("credits", "USD")
    assert figures(dollars) == {
        "opening": "72", "cost": "177", "carriedIn": "9", "recognised": "48.633333333", "refunds": "33.333333334",
        "breakage": "11.7", "carriedOut": "9", "closing": "188.666666667",
    }  # fmt: skip
    euros, later = march["rows"]
    assert (euros["costCurrency"], later["costCurrency"]) == ("EUR", "USD")
    assert later["opening"] == dollars["closing"]
    assert [total["closing"] for total in march["controlTotals"]] == ["70", later["closing"]]


@pytest.mark.parametrize("by", ["grant", "customer", "currency"])
def test_the_command_tells_what_http_tells(service: Service, schema: Database, position: str, by: str) -> None:
    asked = FEBRUARY | {"recorded_as_of": position, "by": by}
    options = [part for name, text in asked.items() for part in (f"--{name.replace('_', '-')}", text)]
    done = command(
        "report", "deferred-revenue", *options, "--json", database_url=schema.dsn, schema=schema.schema, test_clock="1"
    )
    assert done.returncode == 0, done.stderr
    asked_alike = {name if name != "recorded_as_of" else "recordedAsOf": text for name, text in asked.items()}
    assert json.loads(done.stdout) == told(service, **asked_alike)


def test_a_use_that_is_dated_back_changes_a_month_for_those_alone_who_know_of_it(
    service: Service, schema: Database, position: str
) -> None:
    """It counts from when its grant began, on 28 February."""
    carries_on = FEBRUARY | {"customer": "carries-on"}
    before = told(service, **carries_on, recordedAsOf=position)
    with CreditLedger(schema, clock=settable_clock()) as ledger:
        used = BlockingLedger(ledger).consume(holder="carries-on", currency="credits", amount=1, use_at=day(20))
    after = told(service, **carries_on, recordedAsOf=str(used.position))
    assert figures(after["rows"][1]) == {"carriedIn": "9", "recognised": "0.9", "closing": "8.1"}
    assert after["rows"][::2] == before["rows"][::2]
    assert told(service, **carries_on, recordedAsOf=position) == before


def test_a_balance_that_the_log_has_wrong_shows_as_a_difference(
    service: Service, schema: Database, position: str
) -> None:
    """The last event of a grant says 6 credits are left of it, where 7 are."""
    asked = {"recordedAsOf": position, "customer": "pays-late"}
    changed = """
        UPDATE events SET lot_balance = lot_balance + %s
        WHERE position = (SELECT max(position) FROM events WHERE holder = 'pays-late')
    """
    with psycopg.connect(schema.conninfo(None, session_replication_role="replica"), autocommit=True) as connection:
        connection.execute(changed, (-1,))
        (row,) = told(service, **asked)["rows"]
        connection.execute(changed, (1,))
    assert (row["recognised"], row["closing"], row["difference"]) == ("20", "60", "-10")
    assert figures(told(service, **asked)["rows"][0])["closing"] == "70"
