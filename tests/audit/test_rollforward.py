"""The roll-forward: over random histories, at any cut of time and of the log, against sums made event by event."""

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from psycopg import sql

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.credits import credits_decimal
from ledger.domain.instants import instant_text
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from tests.conftest import Hands
from tests.feed.lived import acts_of
from tests.history import Play
from tests.service.serving import Service, command, serving

PATH = "/v1/report/rollforward"
TICK = timedelta(microseconds=1)
FLOWS = {
    "granted": +1, "refunded": +1, "rolledOverIn": +1, "debited": -1, "voided": -1, "expired": -1, "rolledOverOut": -1,
}  # fmt: skip
COLUMNS = {"ledger.granted": "granted", "ledger.debited": "debited", "ledger.refunded": "refunded"}
COLUMNS |= {"ledger.voided": "voided", "ledger.expired": "expired"}
ALL_THAT_MOVED = "SELECT * FROM movements WHERE lot IS NOT NULL ORDER BY position"


class Moved(NamedTuple):
    """A movement, and when it counts."""

    group: tuple[str, ...]
    position: int
    counts_at: datetime
    column: str
    amount: Decimal


class Lived(NamedTuple):
    service: Service
    database: Database
    books: BlockingLedger
    hands: Hands
    settings: dict[str, str]

    def events(self) -> list[dict[str, Any]]:
        with self.database.connect(Role.READER) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return list(connection.execute(ALL_THAT_MOVED))

    def report(self, **asked: Any) -> dict[str, Any]:
        answer = self.service.http.get(PATH, params=asked)
        assert answer.status_code == 200, answer.text
        report: dict[str, Any] = answer.json()
        return report


@pytest.fixture(scope="module")
def lived(schema: Database) -> Iterator[Lived]:
    """Random histories, and grants whose beginning was moved before it came, one earlier and one later."""
    settings = {"database_url": schema.dsn, "schema": schema.schema, "test_clock": "1"}
    hands = Hands(schema)
    with CreditLedger(schema, clock=settable_clock()) as ledger:
        books = BlockingLedger(ledger)
        for number, moved in enumerate((5, 30)):
            grant = books.issue_grant(
                holder=f"mover-{number}", currency="credits", amount=10, display_name="later", grant_type="PAID",
                effective_at=hands.now + timedelta(days=20), cost=3,
            )  # fmt: skip
            books.update_grant(grant=grant.stream_id, effective_at=hands.now + timedelta(days=moved))
        Play(books, hands).all(acts_of(3))
        books.settle_due()
        with serving(cwd=None, **settings) as service:
            yield Lived(service, schema, books, hands, settings)


def moved(events: list[dict[str, Any]], position: int, by: str) -> Iterator[Moved]:
    """What the log had at a position; a grant comes in at the beginning it was told last."""
    begins = {event["lot"]: event["lot_effective_at"] for event in events
              if event["position"] <= position and event["lot_effective_at"] is not None}  # fmt: skip
    for event in events:
        if event["amount"] is None or event["position"] > position:
            continue
        group = {
            "customer": (event["kind"], event["holder"], event["currency"]),
            "currency": (event["kind"], event["currency"]),
            "grant-type": (event["kind"], event["currency"], event["grant_type"]),
        }[by]
        column = COLUMNS[event["type"]]
        if event["cause"] == "ROLLED_OVER":
            column = {"granted": "rolledOverIn", "expired": "rolledOverOut"}[column]
        opens = event["version"] == 1 and event["type"] == "ledger.granted"
        counts_at = begins[event["lot"]] if opens else event["effective_at"]
        yield Moved(group, event["position"], counts_at, column, credits_decimal(event["amount"]))


def expected(
    movements: list[Moved], start: datetime | None, end: datetime
) -> dict[tuple[str, ...], dict[str, Decimal]]:
    """[start, end), row by row."""
    rows: defaultdict[tuple[str, ...], defaultdict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for each in movements:
        if start is not None and each.counts_at < start:
            rows[each.group]["opening"] += each.amount
        elif each.counts_at < end:
            rows[each.group][each.column] += abs(each.amount)
        if each.counts_at < end:
            rows[each.group]["closing"] += each.amount
    return {group: dict(row) for group, row in rows.items() if any(row.values())}


def cuts(events: list[dict[str, Any]], drawn: random.Random) -> list[datetime]:
    """Some instants: those of events, beside them, and others."""
    instants = {event["effective_at"] for event in events} | {event["recorded_at"] for event in events}
    chosen = drawn.sample(sorted(instants), 12)
    return sorted(
        {*chosen, *(instant + TICK for instant in chosen[::3]), *(instant - TICK for instant in chosen[1::3])}
    )


def group_of(row: dict[str, Any], by: str) -> tuple[str, ...]:
    names = {"customer": ("kind", "holder", "currency"), "currency": ("kind", "currency")}
    return tuple(row[name] for name in names.get(by, ("kind", "currency", "grantType")))


@pytest.mark.parametrize("by", ["customer", "currency", "grant-type"])
def test_every_row_is_what_the_events_add_up_to_at_any_cut(lived: Lived, by: str) -> None:
    events, drawn = lived.events(), random.Random(by)
    last = events[-1]["transaction_last"]
    instants = cuts(events, drawn)
    for _ in range(14):
        start, end = sorted(drawn.sample(instants, 2))
        asked_at = drawn.choice([last, drawn.randrange(1, last)])
        given = {"from": instant_text(start), "to": instant_text(end), "recordedAsOf": str(asked_at), "by": by}
        if drawn.random() < 0.2:
            del given["from"]
        report = lived.report(**given)
        position = int(report["asOf"]["recordedAsOf"])
        wanted = expected(list(moved(events, position, by)), start if "from" in given else None, end)
        found = {group_of(row, by): row for row in report["rows"]}
        assert found.keys() == wanted.keys()
        for group, row in found.items():
            assert {name: Decimal(row[name]) for name in ("opening", *FLOWS, "closing")} == {
                name: wanted[group].get(name, Decimal(0)) for name in ("opening", *FLOWS, "closing")
            }
            assert row["difference"] == "0"
            assert Decimal(row["closing"]) - Decimal(row["awaitingPayment"]) - Decimal(row["ended"]) == Decimal(
                row["available"]
            )


def test_the_log_as_of_a_position_or_an_instant_ends_where_a_transaction_does(lived: Lived) -> None:
    with lived.database.connect(Role.READER) as connection:
        every = list(connection.execute("SELECT position, transaction_last, recorded_at FROM movements"))
    ends = {event["position"]: event["transaction_last"] for event in every}
    inside = [position for position, end in ends.items() if position < end]
    for position in random.Random(1).sample(inside, 10):
        assert lived.report(recordedAsOf=str(position), customer="acme")["asOf"]["recordedAsOf"] == str(ends[position])
    recorded = [event["recorded_at"].astimezone(UTC) for event in every]
    for instant in random.Random(2).sample(recorded, 8):
        for asked_at in (instant - TICK, instant, instant + TICK):
            as_of = lived.report(recordedAsOf=instant_text(asked_at), customer="acme")["asOf"]
            assert int(as_of["recordedAsOf"]) == sum(at <= asked_at for at in recorded)
            assert as_of["effectiveAsOf"] == instant_text(asked_at)


def test_the_closing_of_a_period_is_the_opening_of_the_next(lived: Lived) -> None:
    events = lived.events()
    position = str(events[-1]["transaction_last"])
    instants = cuts(events, random.Random(0))
    before: dict[tuple[str, ...], str] = {}
    for start, end in pairwise(instants):
        report = lived.report(**{"from": instant_text(start), "to": instant_text(end), "recordedAsOf": position})
        rows = {group_of(row, "customer"): row for row in report["rows"]}
        if before:
            assert {group: row["opening"] for group, row in rows.items() if row["opening"] != "0"} == {
                group: closing for group, closing in before.items() if closing != "0"
            }
        before = {group: row["closing"] for group, row in rows.items()}


def test_the_present_closes_in_what_is_booked(lived: Lived) -> None:
    """Summed by the read model of balances, which knows nothing of the report."""
    report = lived.report()
    booked: defaultdict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    with lived.database.connect(Role.READER) as connection:
        (build,) = connection.execute("SELECT version FROM projections WHERE name = 'balances'")
        table = sql.Identifier(f"balances_{build['version']}")
        for row in connection.execute(sql.SQL("SELECT kind, holder, currency, balance FROM {}").format(table)):
            booked[row["kind"], row["holder"], row["currency"]] += credits_decimal(row["balance"])
    for each in moved(lived.events(), int(report["asOf"]["recordedAsOf"]), "customer"):
        if each.counts_at > lived.hands.now:
            booked[each.group] -= each.amount
    closing = {group_of(row, "customer"): Decimal(row["closing"]) for row in report["rows"]}
    assert {group: amount for group, amount in closing.items() if amount} == {
        group: amount for group, amount in booked.items() if amount
    }


def test_the_command_line_and_http_have_the_same_figures(lived: Lived) -> None:
    asked = {"from": "2026-02-01T00:00:00Z", "to": "2026-03-01T00:00:00Z", "recordedAsOf": "150", "by": "grant-type"}
    done = command(
        "report", "rollforward", "--from", asked["from"], "--to", asked["to"], "--recorded-as-of", "150", "--by",
        "grant-type", "--json", cwd=None, **lived.settings,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == lived.report(**asked)


def test_one_holder_is_the_row_that_all_holders_have(lived: Lived) -> None:
    """His events are found by a read model, those of all by reading the log."""
    asked = {"from": "2026-02-10T00:00:00Z", "recordedAsOf": str(lived.events()[-1]["position"])}
    for row in lived.report(**asked)["rows"]:
        whose = "customer" if row["kind"] == "CREDIT_GRANT" else "company"
        assert lived.report(**asked, **{whose: row["holder"], "currency": row["currency"]})["rows"] == [row]


def test_a_grant_that_waits_for_its_payment_is_booked_and_not_available(lived: Lived) -> None:
    begun = lived.hands.now
    lived.books.issue_grant(
        holder="waits", currency="credits", amount="7.000000001", display_name="g", grant_type="PAID", cost=3,
        payment_method="INVOICE", expires_at=begun + timedelta(days=1),
    )  # fmt: skip
    (row,) = lived.report(customer="waits")["rows"]
    assert (row["closing"], row["awaitingPayment"], row["available"]) == ("7.000000001", "7.000000001", "0")
    ends = instant_text(begun.astimezone(UTC) + timedelta(days=1))
    (row,) = lived.report(customer="waits", effectiveAsOf=ends, recordedAsOf=instant_text(begun))["rows"]
    assert (row["closing"], row["ended"], row["available"]) == ("7.000000001", "7.000000001", "0"), "not recorded yet"
