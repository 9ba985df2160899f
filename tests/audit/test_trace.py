"""Trace: from any figure down to its events; the leaves add up to it, and it is the one that the report tells."""

import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from psycopg.rows import DictRow

from ledger.application import Receipt
from ledger.domain.grant_details import readable_grant_id
from ledger.domain.instants import instant_text
from ledger.store.database import Database, Role
from projections.reports import balances, deferred_revenue, expiring, rollforward
from projections.reports.report import camel
from service.api_keys import create_key
from service.audit.trace_cell import TRACED
from tests.audit.asking import Auditor, auditing
from tests.history import HOLDERS, Play, histories
from tests.service.serving import client_of, command

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BY = {
    "report/rollforward": ("customer", "currency", "grant-type"),
    "report/expiring": ("customer", "currency", "grant-type"),
    "report/deferred-revenue": ("grant", "customer", "currency"),
}
ROW = {
    "rollforward": ("kind", "currency", "grantType"),
    "expiring": ("kind", "currency", "grantType"),
    "deferred-revenue": ("currency", "grantType", "grant", "costCurrency"),
    "statement": ("currency", "resource"),
    "balances": ("currency", "resource"),
    "lots": ("currency", "lot"),
}
"""What tells a row of a report, besides its holder."""
Tree = dict[str, Any]


@pytest.fixture(scope="module")
def auditor(schema: Database) -> Iterator[Auditor]:
    with auditing(schema) as auditor:
        yield auditor


@pytest.fixture
def customer() -> str:
    """A customer whom no other test knows."""
    return f"customer-{secrets.token_hex(6)}"


@pytest.fixture
def days(auditor: Auditor) -> "Days":
    return Days(auditor)


class Days:
    """The days from the one on which a test begins; the clock goes on to each that is asked for."""

    def __init__(self, auditor: Auditor) -> None:
        self.hands = auditor.hands
        self.first = auditor.hands.now + DAY

    def __call__(self, number: int) -> datetime:
        return self.first + number * DAY

    def go_to(self, number: int) -> None:
        self.hands.set(self(number))


def leaves(tree: Tree) -> list[Any]:
    """All events of a tree, in its order."""
    return [*tree.get("events", []), *(leaf for below in tree.get("children", []) for leaf in leaves(below))]


def shares(tree: Tree) -> list[tuple[str, str]]:
    """What each event is, by its cause, and what it adds."""
    return [(leaf["cause"], leaf["amount"]) for leaf in leaves(tree)]


def add_up(tree: Tree) -> int:
    """Every branch is the sum of what is below it; returns how many events there are."""
    below = [*tree.get("children", []), *tree.get("events", []), *([tree["more"]] if "more" in tree else [])]
    assert Decimal(tree["amount"]) == sum(Decimal(each["amount"]) for each in below), tree
    rest = tree["more"]["count"] if tree.get("more", {}).get("name") == "events" else 0
    return len(tree.get("events", [])) + rest + sum(add_up(each) for each in tree.get("children", []))


def printed(auditor: Auditor, *arguments: str) -> list[str]:
    """The lines of a trace that the command line prints, without that of the clocks."""
    schema = auditor.schema
    done = command("audit", "trace", *arguments, database_url=schema.dsn, schema=schema.schema, test_clock="1")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[1:]


def give(auditor: Auditor, customer: str, amount: int, currency: str = "credits", **given: Any) -> Receipt:
    return auditor.books.issue_grant(
        holder=customer, currency=currency, amount=amount, display_name="pack", grant_type="PAID", **given
    )


def spend(auditor: Auditor, days: Days, customer: str) -> None:
    """A promotion and a purchase; a use with a refund, one that is dated back, a lapse, a void."""
    books = auditor.books
    days.go_to(0)
    books.issue_grant(
        holder=customer, currency="credits", amount=20, display_name="welcome", grant_type="PROMOTIONAL",
        expires_at=days(19), comment="for a start",
    )  # fmt: skip
    bought = books.issue_grant(
        holder=customer, currency="credits", amount=50, display_name="pack", grant_type="PAID", cost="45.00"
    )
    days.go_to(4)
    used = books.consume(holder=customer, currency="credits", amount="12.5")
    days.go_to(5)
    books.refund(transaction_id=used.transaction_id, amount="2.5", reason="half a job")
    days.go_to(20)
    books.consume(holder=customer, currency="credits", amount=8, use_at=days(3))
    days.go_to(21)
    books.void_grant(grant=bought.stream_id, reason="contract ended")


def test_a_balance_is_told_down_to_the_events(auditor: Auditor, days: Days, customer: str) -> None:
    spend(auditor, days, customer)
    events = [event for event in auditor.events() if event["holder"] == customer]
    welcome, bought = (readable_grant_id(event["lot"]) for event in events[:2])

    def event(place: int, what: str, counts: int, recorded: int, *rest: str) -> str:
        found = events[place]
        said = [f"#{found['position']} {instant_text(days(counts))} {what}", f"recorded {instant_text(days(recorded))}"]
        return ", ".join([*said, "by SYSTEM:ledger", f"transaction {found['transaction_id']}", *rest])

    first, last = instant_text(days(0)), instant_text(days(19))
    assert printed(auditor, "balance", "--customer", customer, "--effective-as-of", instant_text(days(20))) == [
        f"   42  balance CREDIT_GRANT {customer} credits",
        f"   42  └─ pool CREDIT_GRANT {customer} credits",
        f"    0     ├─ lot {welcome} PROMOTIONAL, begins at {first}, expires at {last}",
        "   20     │  ├─ granted",
        "   20     │  │  └─ " + event(0, "granted ISSUED", 0, 0, '"for a start"'),
        "-12.5     │  ├─ debited",
        "-12.5     │  │  └─ " + event(2, "debited CONSUMED", 4, 4),
        "  2.5     │  ├─ refunded",
        "  2.5     │  │  └─ " + event(3, "refunded REFUNDED", 5, 5, '"half a job"'),
        "  -10     │  └─ expired",
        "  -10     │     └─ " + event(4, "expired LAPSED", 19, 20),
        f"   42     └─ lot {bought} PAID, begins at {first}",
        "   50        ├─ granted",
        "   50        │  └─ " + event(1, "granted ISSUED", 0, 0),
        "   -8        └─ debited",
        "   -8           └─ " + event(5, "debited CONSUMED", 3, 20),
    ]
    assert printed(auditor, "lot", bought) == [
        f"  0  balance CREDIT_GRANT {customer} credits {bought} PAID, begins at {first}",
        " 50  ├─ granted",
        " 50  │  └─ " + event(1, "granted ISSUED", 0, 0),
        " -8  ├─ debited",
        " -8  │  └─ " + event(5, "debited CONSUMED", 3, 20),
        "-42  └─ voided",
        "-42     └─ " + event(6, "voided VOIDED", 21, 21, '"contract ended"'),
    ]


def test_both_doors_tell_the_same_tree_and_it_is_the_same_for_ever(auditor: Auditor, days: Days, customer: str) -> None:
    spend(auditor, days, customer)
    before = len(auditor.events())
    asked = {"customer": customer, "effectiveAsOf": days(10), "recordedAsOf": before}
    told = auditor.get("audit/trace/balance", **asked)
    assert told.json()["amount"] == "52"
    days.go_to(22)
    give(auditor, customer, 5, effective_at=days(9))
    assert auditor.get("audit/trace/balance", **asked).content == told.content
    options = ["--effective-as-of", instant_text(days(10)), "--recorded-as-of", str(before)]
    assert auditor.printed("audit", "trace", "balance", "--customer", customer, *options) == told.json()
    assert auditor.ask("audit/trace/balance", customer=customer, effectiveAsOf=days(10))["amount"] == "57"


def test_a_grant_counts_when_it_begins_as_was_told_last(auditor: Auditor, days: Days, customer: str) -> None:
    days.go_to(0)
    grant = give(auditor, customer, 50, effective_at=days(5), cost=45)
    auditor.books.update_grant(grant=grant.stream_id, effective_at=days(3))
    (opened,) = leaves(auditor.ask("audit/trace/balance", customer=customer, effectiveAsOf=days(3)))
    assert [opened[name] for name in ("amount", "countsAt", "effectiveAt", "recordedAt")] == [
        *("50", instant_text(days(3)), instant_text(days(5)), instant_text(days(0))),
    ]
    assert auditor.ask("audit/trace/balance", customer=customer, effectiveAsOf=days(2))["amount"] == "0"
    cost = {"report": "deferred-revenue", "customer": customer, "column": "cost"}
    assert shares(auditor.ask("audit/trace/cell", **cost, effectiveAsOf=days(3))) == [("ISSUED", "45")]


def test_a_cell_is_made_of_what_its_column_counts(auditor: Auditor, days: Days, customer: str) -> None:
    """Also at the very edges of its period, and where a lapse was not recorded yet."""
    spend(auditor, days, customer)

    def of(column: str, report: str = "rollforward", **given: Any) -> Tree:
        tree = auditor.ask("audit/trace/cell", **({"customer": customer, "report": report, "column": column} | given))
        add_up(tree)
        return tree

    window: Tree = {"from": days(4), "to": days(5)}
    assert shares(of("opening", **window)) == [("ISSUED", "20"), ("ISSUED", "50"), ("CONSUMED", "-8")]
    assert shares(of("debited", **window)) == [("CONSUMED", "12.5")]
    assert shares(of("closing", "statement", to=days(4))) == shares(of("opening", **window))
    parts = of("difference", **window)["children"]
    assert [(part["name"], part["amount"]) for part in parts] == [
        *[("closing", "49.5"), ("opening", "-62"), ("movements", "12.5")],
    ]
    lapse = next(event for event in auditor.events() if event["holder"] == customer and event["cause"] == "LAPSED")
    clocks: Tree = {"effectiveAsOf": days(20), "recordedAsOf": lapse["position"] - 1}
    assert shares(of("ended", **clocks)) == [("ISSUED", "20"), ("CONSUMED", "-12.5"), ("REFUNDED", "2.5")]
    assert shares(of("within_3_months", "expiring", **clocks)) == []
    assert shares(of("never", "expiring", **clocks)) == [("ISSUED", "50")]
    other = f"{customer}-other"
    give(auditor, other, 10)
    for amount, day in ((1, 21), (2, 22)):
        days.go_to(day)
        auditor.books.consume(holder=other, currency="credits", amount=amount)
    twice: Tree = {"customer": other, "from": days(22)}
    assert shares(of("opening", **twice)) == [("ISSUED", "10"), ("CONSUMED", "-1")]


def test_what_is_left_out_of_a_list_is_told_as_one_line(auditor: Auditor, days: Days, customer: str) -> None:
    days.go_to(0)
    give(auditor, customer, 50)
    for _ in range(5):
        auditor.books.consume(holder=customer, currency="credits", amount="1.5")
    first, *_, last = [event["position"] for event in auditor.events() if event["holder"] == customer][3:]
    lines = printed(auditor, "balance", "--customer", customer, "--leaves", "2")
    assert lines[-1] == f"-4.5           └─ and 3 more events, positions {first} to {last}"
    told = auditor.ask("audit/trace/balance", customer=customer, leaves=2)
    assert add_up(told) == 6
    assert len(leaves(auditor.ask("audit/trace/balance", customer=customer, leaves=0))) == 6
    last = give(auditor, customer, 3).position
    found = auditor.ask("audit/trace/balance", customer=customer, leaves=1)["children"][0]
    assert len(found["children"]) == 1
    assert found["more"] == {"name": "lots", "count": 1, "amount": "3", "firstPosition": last, "lastPosition": last}


def test_each_event_has_its_share_of_the_cost(auditor: Auditor, days: Days, customer: str) -> None:
    """100 for 3 credits, used before they are paid for; a refund; what is left lapses; all of it at odd thirds."""
    books = auditor.books
    days.go_to(0)
    grant = books.issue_grant(
        holder=customer, currency="credits", amount=3, display_name="pack", grant_type="PAID", cost=100,
        payment_method="CHARGE", awaits_payment=False, expires_at=days(10),
    )  # fmt: skip
    books.consume(holder=customer, currency="credits", amount=1)
    days.go_to(2)
    books.mark_invoice_paid(grant=grant.stream_id)
    days.go_to(3)
    used = books.consume(holder=customer, currency="credits", amount=1)
    days.go_to(4)
    books.refund(transaction_id=used.transaction_id, amount="0.5")
    days.go_to(11)
    books.settle_due()
    days.go_to(12)
    books.refund(transaction_id=used.transaction_id)

    def of(column: str, **given: object) -> list[tuple[str, str]]:
        asked = {"report": "deferred-revenue", "customer": customer, "column": column} | given
        tree = auditor.ask("audit/trace/cell", **asked)
        add_up(tree)
        assert (tree["of"], tree["unit"]) == ("money", "USD")
        return shares(tree)

    used_late = [("PAYMENT_RECORDED", "33.333333333"), ("CONSUMED", "33.333333334")]
    assert of("cost") == [("PAYMENT_RECORDED", "100")]
    assert of("recognised") == [*used_late, ("REFUNDED", "-16.666666667"), ("REFUNDED", "-16.666666667")]
    assert of("refunds") == [("REFUNDED", "16.666666667"), ("REFUNDED", "16.666666667")]
    assert of("breakage") == [("LAPSED", "50"), ("REFUND", "16.666666667")]
    assert of("opening", **{"from": days(3)}) == [("PAYMENT_RECORDED", "66.666666667")]
    assert of("closing", to=days(5)) == [
        *[("PAYMENT_RECORDED", "66.666666667"), ("CONSUMED", "-33.333333334"), ("REFUNDED", "16.666666667")],
    ]


def test_a_cost_that_is_carried_on_leads_to_the_other_grant(auditor: Auditor, days: Days, customer: str) -> None:
    days.go_to(0)
    auditor.books.create_grant_schedule(
        holder=customer, currency="credits", display_name="plan", amount=30, billing_period="MONTH", cost=27,
        cadence="BEGINNING_OF_BILLING_PERIOD", anchor_at=days(0), rollover_periods=1, rollover_max=10,
    )  # fmt: skip
    auditor.books.consume(holder=customer, currency="credits", amount=7)
    days.go_to(32)
    auditor.books.settle_due()
    asked = {"report": "deferred-revenue", "by": "customer", "customer": customer}
    out = auditor.ask("audit/trace/cell", column="carried_out", **asked)
    came = auditor.ask("audit/trace/cell", column="carried_in", **asked)
    (left,), (entered,) = leaves(out), leaves(came)
    assert (left["event"], left["amount"], entered["event"], entered["amount"]) == (
        *("ledger.expired", "9"),
        *("ledger.granted", "9"),
    )
    assert left["rolledOverTo"] == came["children"][0]["children"][0]["grant"]
    assert shares(auditor.ask("audit/trace/cell", column="breakage", **asked)) == [("LAPSED", "11.7")]


def test_what_was_used_of_a_rule_is_told_by_debit(auditor: Auditor, days: Days, customer: str) -> None:
    """By two customers, in two currencies; a refund is below its debit, and counts when its use did."""
    books, other, group = auditor.books, f"{customer}-other", f"group of {customer}"
    days.go_to(0)
    rule = books.define_allocation_rule(name=customer, account_groups=[group], allocated=20, alarm_threshold=50)
    for holder, currency in ((customer, "credits"), (other, "credits"), (customer, "tokens")):
        give(auditor, holder, 50, currency=currency)
    days.go_to(1)
    use = {"account_groups": ("another", group), "currency": "credits"}
    books.consume(holder=customer, amount=9, **use)
    days.go_to(2)
    first = books.consume(holder=customer, amount=4, **use)
    books.consume(holder=other, amount=2, **use)
    books.consume(holder=customer, amount=3, **(use | {"currency": "tokens"}))
    books.consume(holder=customer, amount=7, account_groups=("another",), currency="credits")
    days.go_to(3)
    books.refund(transaction_id=first.transaction_id, amount=1)
    books.consume(holder=customer, amount=1, **use)
    asked = {"rule": customer, "from": days(2), "to": days(3)}
    tree = auditor.ask("audit/trace/usage", **asked)
    add_up(tree)
    (told,) = auditor.rows("audit/usage", **asked)
    assert (tree["amount"], tree["unit"], told["used"]) == ("8", None, "8")
    assert [(each["currency"], each["amount"]) for each in tree["children"]] == [("credits", "5"), ("tokens", "3")]
    pools = tree["children"][0]["children"]
    assert [(pool["holder"], pool["amount"]) for pool in pools] == [(customer, "3"), (other, "2")]
    (debit,) = pools[0]["children"]
    assert (debit["transaction"], shares(debit)) == (
        first.transaction_id,
        [("CONSUMED", "4"), ("REFUNDED", "-1")],
    )
    assert auditor.ask("audit/trace/usage", **(asked | {"rule": rule.stream_id}), leaves=1)["amount"] == "8"
    assert auditor.ask("audit/trace/usage", **asked, effectiveAsOf=days(2))["amount"] == "9"
    of_one = auditor.ask("audit/trace/usage", customer=customer, currency="credits")
    assert (of_one["amount"], len(leaves(of_one))) == ("20", 5)


def test_what_is_no_figure_is_refused(auditor: Auditor, days: Days, customer: str) -> None:
    days.go_to(0)
    head = len(auditor.events())
    for currency in ("credits", "tokens"):
        grant = give(auditor, customer, 5, currency=currency)
    lot, cell = grant.stream_id, {"report": "rollforward", "customer": customer, "column": "closing"}
    assert auditor.refusal("audit/trace/balance", customer=customer) == (400, "InvalidArgumentError")
    assert auditor.refusal("audit/trace/lot", lot=lot, recordedAsOf=head) == (404, "FigureNotFound")
    assert auditor.refusal("audit/trace/lot", lot="cg-0000000000000000") == (404, "FigureNotFound")
    assert auditor.refusal("audit/trace/cell", **cell) == (400, "InvalidArgumentError")
    assert auditor.refusal("audit/trace/cell", **cell, currency="pence") == (404, "FigureNotFound")
    assert auditor.refusal("audit/trace/cell", **cell, grant="cg-1") == (400, "InvalidArgumentError")
    assert auditor.refusal("audit/trace/cell", **(cell | {"column": "paid"})) == (400, "InvalidArgumentError")
    assert auditor.refusal("audit/trace/cell", **(cell | {"report": "ledger"})) == (400, "InvalidArgumentError")
    assert auditor.refusal("audit/trace/usage", customer=customer, rule="r") == (400, "InvalidArgumentError")
    assert auditor.ask("audit/trace/cell", **cell, currency="tokens")["amount"] == "5"
    assert auditor.ask("audit/trace/lot", lot=lot)["amount"] == "5"


def test_a_key_that_is_bound_to_some_holders_traces_theirs_alone(auditor: Auditor, days: Days, customer: str) -> None:
    days.go_to(0)
    own, other = (give(auditor, holder, 5).stream_id for holder in (customer, f"{customer}-other"))
    with auditor.schema.connect(Role.OWNER) as connection:
        _, key = create_key(connection, days(0), name="bound", role="auditor", holders=[customer])
    with client_of(auditor.service.url, key) as http:

        def status(question: str, **given: str) -> int:
            return http.get(f"/v1/audit/trace/{question}", params=given).status_code

        assert (status("lot", lot=own), status("lot", lot=other)) == (200, 404)
        assert (status("balance", customer=customer), status("balance", customer=f"{customer}-other")) == (200, 403)
        assert (status("usage", customer=customer), status("usage", rule="any")) == (200, 403)
        cell = {"report": "rollforward", "by": "currency", "column": "closing", "currency": "credits"}
        assert http.get("/v1/audit/trace/cell", params=cell).json()["amount"] == "5"


def test_a_figure_that_does_not_add_up_is_not_told(auditor: Auditor, days: Days, customer: str) -> None:
    """The balance that an event recorded is not the sum of what moved."""
    days.go_to(0)
    give(auditor, customer, 5)
    for balance, status in ((5, 200), (4, 500), (5, 200)):
        with auditor.schema.connect(None) as connection:
            connection.execute("ALTER TABLE events DISABLE TRIGGER USER")
            connection.execute("UPDATE events SET lot_balance = %s WHERE holder = %s", [balance, customer])
            connection.execute("ALTER TABLE events ENABLE TRIGGER USER")
        assert auditor.get("audit/trace/balance", customer=customer).status_code == status


REPORTS = {"rollforward": rollforward, "deferred-revenue": deferred_revenue, "expiring": expiring, "balances": balances}


@pytest.mark.parametrize("name", REPORTS)
def test_every_figure_of_a_report_can_be_traced(name: str) -> None:
    assert set(TRACED[name].columns) == {column.name for column in REPORTS[name].FIGURES}


def cells(auditor: Auditor, chance: Random, question: str, asked: Tree) -> Iterator[tuple[Tree, str]]:
    """For each figure of a report a row that has it, if one does: what to trace it with, and what the report tells."""
    name = question.partition("/")[2]
    if question in BY:
        asked = asked | {"by": chance.choice(BY[question])}
    rows = auditor.rows(question, **asked)
    for column in TRACED[name].columns:
        if name == "statement":
            found = [row | {column: row["balance"]} for row in rows if row["line"] == column]
        else:
            found = rows
        if found:
            row = chance.choice([row for row in found if row[camel(column)] != "0"] or found)
            told = {key: row[key] for key in ROW[name] if row.get(key) is not None}
            if "holder" in row:
                told["company" if row.get("kind") == "EXECUTION_CREDIT" else "customer"] = row["holder"]
            yield asked | told | {"report": name, "column": column}, row[camel(column)]


@settings(max_examples=2, phases=[Phase.generate])
@given(acts=histories, seed=st.integers())
def test_the_leaves_of_every_figure_add_up_to_what_its_report_tells(
    auditor: Auditor, acts: Sequence[Any], seed: int
) -> None:
    play, chance = Play(auditor.books, auditor.hands), Random(seed)
    play.all(acts)
    log = auditor.events()
    instants = [event["effective_at"] for event in log if event["effective_at"]]
    for _ in range(3):
        start, end = sorted(chance.sample(instants, 2))
        clocks = {"recordedAsOf": chance.randint(len(log) // 2, len(log))}
        holder = {chance.choice(("customer", "company")): chance.choice(HOLDERS)}
        window, instant = {"from": start, "to": end + HOUR}, {"effectiveAsOf": end}
        wanted: list[tuple[str, Tree]] = [
            *(("report/rollforward", window), ("report/deferred-revenue", window), ("report/expiring", instant)),
            *(("report/statement", holder | window), ("audit/balances", holder | instant)),
            ("audit/lots", holder | instant),
        ]
        for question, asked in wanted:
            for cell, figure in cells(auditor, chance, question, asked | clocks):
                tree = auditor.ask("audit/trace/cell", **cell, leaves=chance.choice((0, 1, 3)))
                check(tree, figure, log)
        for of in (holder | {"currency": "credits"}, *({"rule": name} for name in ("north", "south"))):
            asked = of | window | clocks
            if auditor.get("audit/usage", **asked).status_code == 200:
                used = sum(Decimal(row["used"]) for row in auditor.rows("audit/usage", **asked))
                check(auditor.ask("audit/trace/usage", **asked, leaves=chance.choice((0, 1, 3))), f"{used}", log)


def check(tree: Tree, figure: str, log: Sequence[DictRow]) -> None:
    """It tells this figure and adds up to it; of credits each event has its own amount in it."""
    add_up(tree)
    assert Decimal(tree["amount"]) == Decimal(figure)
    told = [(leaf["position"], Decimal(leaf["amount"])) for leaf in leaves(tree) if tree["of"] == "credits"]
    assert all(abs(amount) * 10**9 == abs(log[position - 1]["amount"]) for position, amount in told)
