"""Figures as of two clocks: the same pair gives the same bytes for ever, and what a second reading of the log gives."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from psycopg.rows import DictRow

from ledger.application import Command, ConsumeCredits, IssueGrant, MarkInvoicePaid, UpdateGrant, VoidGrant
from ledger.domain.credits import credits_text
from ledger.domain.instants import instant_text
from ledger.domain.values import GrantType, PaymentMethod
from ledger.store.database import Database, Role
from ledger.store.recorder import lock_key
from projections.reports.report import camel
from tests.audit.asking import Auditor, Rows, auditing
from tests.audit.naive_figures import NaiveFigures
from tests.history import HOLDERS, Play, histories

MICROSECOND, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
TEXTS = {"reason", "comment", "displayName"}
ACTS_BETWEEN = 12
NAIVELY: dict[str, Callable[[NaiveFigures, Mapping[str, Any]], Rows]] = {
    "audit/balances": NaiveFigures.balances,
    "audit/lots": NaiveFigures.lots_told,
    "audit/ledger": NaiveFigures.ledger,
    "audit/usage": NaiveFigures.usage,
    "report/statement": NaiveFigures.statement,
    "report/expiring": NaiveFigures.expiring,
}


@pytest.fixture(scope="module")
def auditor(schema: Database) -> Iterator[Auditor]:
    with auditing(schema) as auditor:
        yield auditor


@pytest.fixture
def customer() -> str:
    """A customer whom no other test knows."""
    return f"customer-{secrets.token_hex(6)}"


class Asked(NamedTuple):
    """A question, by the values of its parameters; the clocks by their own."""

    question: str
    wanted: Mapping[str, Any]
    effective: datetime
    recorded: int | datetime

    def of(self, auditor: Auditor) -> httpx.Response:
        return auditor.get(self.question, **self.wanted, effectiveAsOf=self.effective, recordedAsOf=self.recorded)

    def figures(self, log: Sequence[DictRow]) -> NaiveFigures:
        if isinstance(self.recorded, datetime):
            return NaiveFigures([event for event in log if event["recorded_at"] <= self.recorded], self.effective)
        end = log[self.recorded - 1]["transaction_last"] if self.recorded else 0
        return NaiveFigures(log[:end], self.effective)


def asked(chance: Random, question: str, log: Sequence[DictRow], now: datetime) -> Asked:
    """Some question at some pair of clocks, often right at an instant at which something changes, or beside it."""
    told = [event[name] for event in log for name in ("effective_at", "recorded_at", "lot_expires_at")]
    instants: list[datetime] = [each for each in told if each is not None]

    def instant() -> datetime:
        return chance.choice(instants) + chance.choice((-MICROSECOND, timedelta(0), MICROSECOND, HOUR))

    wanted: dict[str, Any] = {}
    if question != "report/expiring":
        wanted[chance.choice(("customer", "customer", "company"))] = chance.choice(HOLDERS)
    if question in ("audit/ledger", "audit/usage", "report/statement") and chance.random() < 0.6:
        wanted["from"] = instant()
    if question == "audit/usage" and chance.random() < 0.6:
        wanted["to"] = max(instant(), wanted.get("from", instant())) + HOUR
        wanted["size"] = chance.choice(("HOUR", "DAY", "MONTH"))
    if question == "audit/ledger" and chance.random() < 0.5:
        wanted |= {"limit": chance.randint(1, 20), "before": chance.randint(1, len(log))}
    if question == "report/expiring":
        wanted["by"] = chance.choice(("customer", "currency", "grant-type"))
    recorded = chance.choice((chance.randint(0, len(log)), min(instant(), now)))
    return Asked(question, wanted, max(instant(), wanted.get("from", instants[0])), recorded)


def stir(auditor: Auditor, chance: Random, log: Sequence[DictRow]) -> None:
    """What reaches into the past or the future: a late use, a grant to come, other terms, a payment, an early void.

    What is refused is refused.
    """
    now, holder = auditor.hands.now, chance.choice(HOLDERS)
    given: dict[str, Any] = {"holder": holder, "currency": "credits"}
    grant: dict[str, Any] = given | {"display_name": "to come", "grant_type": GrantType.PAID, "amount": 3, "cost": 1}
    commands: list[Command] = [
        ConsumeCredits(**given, amount="0.5", use_at=now - chance.randint(1, 40) * DAY),
        IssueGrant(**grant, effective_at=now + chance.randint(1, 30) * DAY),
        IssueGrant(**grant, effective_at=now - chance.randint(1, 30) * DAY, payment_method=PaymentMethod.INVOICE),
    ]
    grants = [event["lot"] for event in log if event["readable_id"]]
    for name in chance.sample(grants, k=min(8, len(grants))):
        at = now + chance.randint(-5, 30) * DAY
        commands.append(
            chance.choice(
                [
                    UpdateGrant(grant=name, effective_at=at),
                    UpdateGrant(grant=name, expires_at=at + DAY),
                    MarkInvoicePaid(grant=name),
                    VoidGrant(grant=name),
                ]
            )
        )
    auditor.books.ledger.execute_many_blocking(commands)


def without_texts(rows: Rows) -> Rows:
    return [{name: value for name, value in row.items() if name not in TEXTS} for row in rows]


@settings(max_examples=2, phases=[Phase.generate])
@given(acts=histories, seed=st.integers())
def test_every_figure_is_what_a_second_reading_of_the_log_gives(
    auditor: Auditor, acts: Sequence[Any], seed: int
) -> None:
    play, chance = Play(auditor.books, auditor.hands), Random(seed)
    for number, act in enumerate([("rule", "east", ("g",), 20, 50, None), *acts]):
        play.one(act)
        if number % ACTS_BETWEEN == 0:
            stir(auditor, chance, auditor.events())
    log = auditor.events()
    found = 0
    for question, naively in NAIVELY.items():
        for _ in range(25):
            each = asked(chance, question, log, auditor.hands.now)
            rows = without_texts(auditor.told(each.of(auditor))["rows"])
            assert rows == naively(each.figures(log), each.wanted), each
            found += len(rows)
    assert found > 200
    for rule in chance.choices([event for event in log if event["type"] == "ledger.allocation-rule-defined"], k=20):
        recorded = chance.randint(rule["position"], len(log))
        each = asked(chance, "audit/usage", log, auditor.hands.now)._replace(recorded=recorded)
        figures = each.figures(log)
        last = [event for event in figures.log if event["stream_id"] == rule["stream_id"]][-1]
        told = last["definition"]["rule"]
        wanted = {name: each.wanted[name] for name in ("from", "to") if name in each.wanted}
        answer = each._replace(wanted=wanted | {"rule": rule["stream_id"]}).of(auditor)
        if told["removed_at"] is not None:
            assert answer.status_code == 404
        else:
            used = figures.used_of(told["account_groups"], told["currency"], wanted)
            assert [row["used"] for row in answer.json()["rows"]] == [credits_text(used)]


@settings(max_examples=2, phases=[Phase.generate])
@given(acts=histories, seed=st.integers())
def test_what_is_final_is_the_same_to_the_byte_however_the_history_goes_on(
    auditor: Auditor, acts: Sequence[Any], seed: int
) -> None:
    play, chance = Play(auditor.books, auditor.hands), Random(seed)
    final: dict[str, bytes] = {}
    for number, act in enumerate(acts):
        play.one(act)
        log = auditor.events() if number % ACTS_BETWEEN == 0 else []
        if log:
            stir(auditor, chance, log)
        for question in NAIVELY if log else ():
            answer = asked(chance, question, log, auditor.hands.now).of(auditor)
            if auditor.told(answer)["asOf"]["final"]:
                final[str(answer.url)] = answer.content
    assert len(final) > 20
    assert {url: auditor.service.http.get(url).content for url in final} == final


def test_a_late_use_changes_what_is_known_now_of_the_past_and_never_what_was_known_then(
    auditor: Auditor, customer: str
) -> None:
    books, start = auditor.books, auditor.hands.now
    books.issue_grant(holder=customer, currency="credits", amount=10, display_name="March", grant_type="PAID")
    auditor.hands.set(start + 2 * DAY)
    books.consume(holder=customer, currency="credits", amount=4)
    then, known = start + DAY, books.consume(holder=customer, currency="credits", amount=1).position
    old = {"customer": customer, "effectiveAsOf": then, "recordedAsOf": known}
    new = old | {"recordedAsOf": None}
    before = {question: auditor.get(question, **old).content for question in NAIVELY}
    late = books.consume(holder=customer, currency="credits", amount=5, use_at=start + HOUR).position

    assert {question: auditor.get(question, **old).content for question in NAIVELY} == before
    assert auditor.row("audit/balances", **old)["booked"] == "10"
    assert auditor.row("audit/balances", **new) == auditor.row("audit/balances", **old) | {
        "debited": "5", "booked": "5", "available": "5",
    }  # fmt: skip
    assert auditor.row("audit/lots", **new)["used"] == "5"
    assert [row["position"] for row in auditor.rows("audit/ledger", **new, limit=1)] == [late]
    assert auditor.row("audit/usage", **new)["used"] == "5"
    assert [row["balance"] for row in auditor.rows("report/statement", **new)] == ["0", "10", "5", "5"]
    assert auditor.row("report/expiring", **new)["never"] == "5"


def test_a_balance_that_late_uses_take_below_zero_says_so(auditor: Auditor, customer: str) -> None:
    books, start = auditor.books, auditor.hands.now
    books.issue_grant(holder=customer, currency="credits", amount=10, display_name="March", grant_type="PAID")
    auditor.hands.set(start + HOUR)
    used = books.consume(holder=customer, currency="credits", amount=8)
    auditor.hands.set(start + 3 * HOUR)
    books.refund(transaction_id=used.transaction_id)
    books.consume(holder=customer, currency="credits", amount=9, use_at=start + 2 * HOUR)
    for question, column in (("audit/balances", "available"), ("audit/lots", "balance"), ("report/expiring", "total")):
        below = auditor.ask(question, customer=customer, effectiveAsOf=start + 2 * HOUR)
        assert ([row[column] for row in below["rows"]], len(below["notes"])) == (["-7"], 1)
        assert auditor.ask(question, customer=customer)["notes"] == []
    assert auditor.row("audit/lots", customer=customer, effectiveAsOf=start + 2 * HOUR)["status"] == "CONSUMED"
    statement = auditor.ask("report/statement", customer=customer)
    assert [row["balance"] for row in statement["rows"]] == ["0", "10", "2", "-7", "1", "1"]
    assert len(statement["notes"]) == 1


def test_the_command_line_and_http_have_the_same_figures(auditor: Auditor, customer: str) -> None:
    books = auditor.books
    books.issue_grant(holder=customer, currency="credits", amount=10, display_name="March", grant_type="PAID")
    books.consume(holder=customer, currency="credits", amount="2.5", account_groups=("g",))
    rule = books.define_allocation_rule(name=customer, account_groups=["g"], allocated=10, alarm_threshold=50)
    clocks = {"effective_as_of": instant_text(auditor.hands.now), "recorded_as_of": rule.position}
    for question in NAIVELY:
        by_rule = {"rule": customer, "size": "DAY", "to": "2100-01-01T00:00:00Z"}
        given = clocks | (by_rule if question == "audit/usage" else {"customer": customer})
        options = [word for name, value in given.items() for word in ("--" + name.replace("_", "-"), str(value))]
        printed = auditor.printed(*question.split("/"), *options)
        assert printed == auditor.ask(question, **{camel(name): value for name, value in given.items()})
        assert len(printed["rows"]) > 0


class TestFinality:
    def test_what_is_not_past_may_change_and_says_so(self, auditor: Auditor, customer: str) -> None:
        now, books = auditor.hands.now, auditor.books
        books.issue_grant(holder=customer, currency="credits", amount=1, display_name="g", grant_type="PAID")

        def told(recorded: datetime | int | None) -> tuple[bool, list[str]]:
            answer = auditor.ask("audit/balances", customer=customer, recordedAsOf=recorded)
            return answer["asOf"]["final"], [row["booked"] for row in answer["rows"]]

        assert told(now - MICROSECOND) == (True, [])
        assert [told(recorded) for recorded in (now, now + DAY, None)] == [(False, ["1"])] * 3
        more = books.issue_grant(holder=customer, currency="credits", amount=1, display_name="g", grant_type="PAID")
        assert [told(recorded) for recorded in (now, now + DAY, None)] == [(False, ["2"])] * 3
        assert [told(more.position - past) for past in (0, 1)] == [(True, ["2"]), (True, ["1"])]

    def test_a_past_instant_may_change_while_a_batch_is_on_its_way(self, auditor: Auditor, customer: str) -> None:
        """It may have read the clock before that instant passed."""
        books = auditor.books
        books.issue_grant(holder=customer, currency="credits", amount=1, display_name="g", grant_type="PAID")
        now = auditor.hands.now
        auditor.hands.set(now + DAY)

        def final(at: datetime) -> Any:
            return auditor.ask("audit/balances", customer=customer, recordedAsOf=at)["asOf"]["final"]

        with writing(auditor.schema):
            assert (final(now), final(now - MICROSECOND)) == (False, True)
        assert final(now) is True


@contextmanager
def writing(schema: Database) -> Iterator[None]:
    """A session that writes: it holds the writers' lock until it ends."""
    with schema.connect(Role.WRITER) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key(connection, schema.schema)])
        yield
