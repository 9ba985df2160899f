"""The doctor finds a healthy ledger healthy, whatever has happened in it."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.application import BlockingLedger, CreditLedger, InvoiceTold, Receipt, RechargePool, RecordThreshold
from ledger.domain.credits import credits_of
from ledger.domain.values import InvoiceStatus, Kind
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from projections.read_model import READ_MODELS
from projections.registry import prepare
from projections.runner import advance
from service.doctor import CHECKS, Finding, examine
from tests.conftest import START, Hands, drop
from tests.history import Play, histories
from tests.laws.naive_schedules import stepped

HOLDER = 'b\u00e4r "\\ \U0001f43b'
"""Whatever JSON has to escape."""
ALL = ["connection", *(check.name for check in CHECKS)]
DEEP = {check.name for check in CHECKS if check.deep}


def sick(database: Database, **options: Any) -> dict[str, str]:
    """What the unhealthy findings say, by check."""
    findings = examine(database, clock=settable_clock(), **options)
    return {finding.check: finding.says for finding in findings if not finding.healthy}


@contextmanager
def lived_ledger(server_dsn: str) -> Iterator[Database]:
    """A ledger that has seen everything; each test that harms it heals it."""
    database = Database(server_dsn, f"t_{secrets.token_hex(6)}")
    migrate(database)
    with CreditLedger(database, clock=settable_clock()) as ledger:
        live(BlockingLedger(ledger), Hands(database))
    with database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        for model in READ_MODELS:
            while advance(connection, model):
                pass
    yield database
    assert sick(database) == {}
    drop(database)


@pytest.fixture(scope="module")
def lived(server_dsn: str) -> Iterator[Database]:
    with lived_ledger(server_dsn) as database:
        yield database


def live(books: BlockingLedger, hands: Hands) -> None:
    for_grants = {"holder": HOLDER, "currency": "credits", "display_name": "grant"}
    ends = {"expires_at": START + timedelta(days=30)}
    books.issue_grant(**for_grants, amount=10, grant_type="PROMOTIONAL", idempotency_key="issue", **ends)
    books.issue_grant(**for_grants, amount=50, grant_type="PAID", comment="open to the end")
    void = books.issue_grant(**for_grants, amount=7, grant_type="PAID", priority=90)
    debit = books.consume(holder=HOLDER, currency="credits", amount=12, account_groups=("g",), idempotency_key="use")
    books.refund(transaction_id=debit.transaction_id, amount=1)
    books.void_grant(grant=void.stream_id, reason="by mistake")
    renewing = {"company": HOLDER, "credit_type": "DAST", "credits": 20, "rollup_type": "MONTHLY"}
    credit = books.open_execution_credit(**renewing, idempotency_key="open")
    addon = books.open_execution_credit(company="acme", credit_type="DAST", credits=5, rollup_type="ADDON")
    books.open_execution_credit(company="acme", credit_type="AI_PENTEST", credits=5, rollup_type="YEARLY")
    for _ in range(2):
        books.consume(holder=HOLDER, currency="DAST", amount=3, kind=Kind.EXECUTION_CREDIT, dimensions={"team": "red"})
    change_grants(books)
    early = begin_turns(books)
    ended = begin_schedules(books)
    recharge(books, "USD")
    make_rules(books)
    hands.set(START + timedelta(days=40))
    books.update_execution_credit(credit=credit.stream_id, credits=30)
    books.settle_due()
    books.end_grant_schedule(schedule=ended)
    books.refund(transaction_id=debit.transaction_id)
    books.refund(transaction_id=early, amount=1, kind=Kind.EXECUTION_CREDIT)
    books.delete_execution_credit(credit=addon.stream_id)
    hands.set(START + timedelta(days=130))
    recharge(books, "EUR")
    books.settle_due()
    books.issue_grant(**for_grants, amount=9, grant_type="PAID", expires_at=hands.now + timedelta(days=50))
    books.consume(holder=HOLDER, currency="credits", amount=2)


def change_grants(books: BlockingLedger) -> None:
    """A paid grant, and ends that were taken away, moved, and changed of a grant that was empty at the time."""
    fields: dict[str, Any] = {"holder": HOLDER, "currency": "changing", "display_name": "grant", "grant_type": "PAID"}
    fields["expires_at"] = START + timedelta(days=30)
    invoiced = books.issue_grant(**fields, amount=100, cost=50, payment_method="INVOICE").stream_id
    books.update_grant(grant=invoiced, display_name="named anew", priority=10, expires_at=START + timedelta(days=300))
    invoice = InvoiceTold(billing_id="in_1", status=InvoiceStatus.OPEN, total=50, payment_url="https://pay.example/1")
    books.record_grant_payment(grant=invoiced, collection="PROCESSING", invoice=invoice)
    books.mark_invoice_paid(grant=invoiced)
    books.update_grant(grant=books.issue_grant(**fields, amount=1).stream_id, clears=("expireAt",))
    for days in (20, 200):
        books.update_grant(
            grant=books.issue_grant(**fields, amount=1).stream_id, expires_at=START + timedelta(days=days)
        )
    emptied = books.issue_grant(**fields | {"currency": "emptied"}, amount=1).stream_id
    debit = books.consume(holder=HOLDER, currency="emptied", amount=1).transaction_id
    books.update_grant(grant=emptied, clears=("expireAt",))
    books.refund(transaction_id=debit)


def begin_turns(books: BlockingLedger) -> str:
    """Credits that turn to longer and to shorter periods; answers a debit of a period that will have ended."""
    for company, before, after in (("slower", "MONTHLY", "QUARTERLY"), ("faster", "QUARTERLY", "MONTHLY")):
        anchored = {"rollup_type": before, "period_anchor": datetime(2025, 10, 31, tzinfo=UTC)}
        credit = books.open_execution_credit(company=company, credit_type="DAST", credits=9, **anchored).stream_id
        debit = books.consume(holder=company, currency="DAST", amount=4, kind=Kind.EXECUTION_CREDIT).transaction_id
        books.update_execution_credit(credit=credit, credits=12, rollup_type=after)
    return debit


def begin_schedules(books: BlockingLedger) -> str:
    """Schedules of each cadence, on days that some months lack; answers the one that is to be ended."""
    fields: dict[str, Any] = {"holder": HOLDER, "currency": "scheduled", "display_name": "plan", "amount": 10}
    fields["cost"] = 7
    whole = {"billing_period": "MONTH", "cadence": "BEGINNING_OF_BILLING_PERIOD"}
    parted = {"billing_period": "YEAR", "cadence": "MONTHLY", "anchor_at": datetime(2025, 3, 31, tzinfo=UTC)}
    yearly = whole | {"billing_period": "YEAR", "anchor_at": datetime(2024, 2, 29, tzinfo=UTC)}
    books.create_grant_schedule(**fields, **parted, rollover_max="0.5", rollover_periods=1)
    books.create_grant_schedule(**fields, **yearly, rollover_periods=1)
    books.create_grant_schedule(**fields, **whole, anchor_at=START + timedelta(days=5))
    tied = fields | {"currency": "tied parts", "amount": 4, "cost": "0.000000006"}
    books.create_grant_schedule(**tied, **whole, rollover_max=2, rollover_periods=1)
    books.consume(holder=HOLDER, currency="tied parts", amount=1)
    return books.create_grant_schedule(**fields, **whole, rollover_periods=1).stream_id


def recharge(books: BlockingLedger, price_currency: str) -> None:
    """Recharges of a whole cost and of tied ones, up to exactly what a month may cost, and then no more."""
    whole = {"holder": HOLDER, "currency": "recharged", "price_currency": price_currency}
    settings = {"threshold": 5, "target": 10, "unit_price": "0.3", "max_spend": 50}
    books.save_auto_recharge(**whole, enabled=True, expiration_period="ONE_MONTH", **settings)
    books.execute(RechargePool(holder=HOLDER, currency="recharged"))
    tied = {"holder": HOLDER, "currency": "tied", "price_currency": price_currency}
    settings = {"threshold": "1.5", "target": "2.5", "unit_price": "0.000000001", "max_spend": "0.000000004"}
    books.save_auto_recharge(**tied, enabled=True, **settings)
    for _ in range(2):
        books.execute(RechargePool(holder=HOLDER, currency="tied"))
        books.consume(holder=HOLDER, currency="tied", amount="1.5")
    books.execute(RechargePool(holder=HOLDER, currency="tied"))
    books.save_auto_recharge(**tied, enabled=False)


def make_rules(books: BlockingLedger) -> None:
    """Rules that give each other their names, whose thresholds are reached by a debit, a change and a definition."""
    books.issue_grant(holder="acme", currency="ruled", amount=100, display_name="g", grant_type="PAID")
    rule: dict[str, Any] = {"account_groups": ("red", HOLDER), "allocated": 10, "alarm_threshold": 50}
    used: dict[str, Any] = {"holder": "acme", "currency": "ruled"}
    late = START - timedelta(days=40)
    first = books.define_allocation_rule(name=HOLDER, **rule, currency="ruled")
    reached(books, first, books.consume(**used, amount=5, account_groups=("blue", "red")), "2026-01", "5")
    books.consume(**used, amount=1, account_groups=("green",), use_at=late)
    books.change_allocation_rule(rule=first.stream_id, name="former", account_groups=("blue",))
    second = books.define_allocation_rule(name=HOLDER, **rule | {"account_groups": ("green",), "allocated": 0})
    reached(books, second, second, "2025-12", "1", allocated=0)
    changed = books.change_allocation_rule(rule=second.stream_id, account_groups=("blue", "green"), allocated=7)
    books.remove_allocation_rule(rule=second.stream_id)
    reached(books, second, changed, "2026-01", "5", allocated=7)
    books.define_allocation_rule(name=HOLDER, **rule)


def reached(books: BlockingLedger, rule: Receipt, by: Receipt, month: str, used: str, *, allocated: int = 10) -> None:
    """Record that a rule's threshold was reached by what was answered."""
    books.execute(
        RecordThreshold(
            rule=rule.stream_id, month=month, used=credits_of(used), allocated=allocated, alarm_threshold=50,
            reached_position=by.position, reached_at=by.events[0].transaction.recorded_at,
            caused_by=by.events[0].transaction.transaction_id,
        )
    )  # fmt: skip


COLUMNS = """
string_agg(quote_ident(attname), ', ' ORDER BY attnum)
FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""


@contextmanager
def harmed(database: Database, table: str | None, *statements: str) -> Iterator[None]:
    """Run statements as a superuser whom no trigger stops; afterwards the table has its rows back."""
    with superuser(database) as connection, kept(connection, table):
        for text in statements:
            connection.execute(text.encode())
        yield


@contextmanager
def superuser(database: Database) -> Iterator[Connection]:
    """A session in which no trigger fires."""
    with psycopg.connect(database.conninfo(None, session_replication_role="replica"), autocommit=True) as connection:
        yield connection


@contextmanager
def kept(connection: Connection, table: str | None) -> Iterator[None]:
    """Whatever happens to the rows of a table meanwhile, afterwards it has them back."""
    if table is None:
        yield
        return
    columns = answer(connection, f"SELECT {COLUMNS.format(table=table)}")
    connection.execute(f"CREATE TEMP TABLE kept AS SELECT {columns} FROM {table}".encode())
    try:
        yield
    finally:
        connection.execute(f"DELETE FROM {table}".encode())
        connection.execute(f"INSERT INTO {table} ({columns}) SELECT * FROM kept".encode())


def asked(database: Database, query: str) -> str:
    with superuser(database) as connection:
        return answer(connection, query)


def answer(connection: Connection, query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])


class Fault(NamedTuple):
    """A fault in the rows of a table. `row` selects the one to harm, which `{row}` in `harm` is; the unhealthy finding
    names what `named` is of that row, and of the other checks only those in `also` find something too."""

    check: str
    table: str
    row: str
    harm: str
    named: str
    also: tuple[str, ...] = ()

    def is_found_in(self, database: Database) -> None:
        with superuser(database) as connection, kept(connection, self.table):
            row = answer(connection, f"SELECT {self.row} LIMIT 1")
            named = answer(connection, "SELECT " + self.named.format(row=row))
            connection.execute(self.harm.format(row=row).encode())
            found = sick(database)
        if self.table == "events":  # then rows that were folded before may not be what it says
            found.pop("read-model-rows", None)
        assert set(found) == {self.check, *self.also}
        assert named in found[self.check]


def test_a_ledger_that_has_lived_is_healthy_in_every_respect(lived: Database) -> None:
    findings = list(examine(lived, clock=settable_clock()))
    assert [finding.check for finding in findings] == ALL
    assert [finding for finding in findings if not finding.healthy] == []
    models = next(finding.says for finding in findings if finding.check == "read-models")
    assert all(f"{model.name} 0 events behind" in models for model in READ_MODELS)


def test_a_read_model_that_is_behind_is_healthy_and_says_so(lived: Database) -> None:
    with harmed(lived, "projections", "UPDATE projections SET position = position - 3 WHERE name = 'balances'"):
        says = {finding.check: finding for finding in examine(lived, clock=settable_clock())}
    assert says["read-models"].healthy
    assert "balances 3 events behind" in says["read-models"].says


def test_without_the_deep_checks_the_log_is_not_read(lived: Database) -> None:
    with harmed(lived, "events", "DELETE FROM events WHERE position = 2"):
        shallow = list(examine(lived, clock=settable_clock(), deep=False))
    assert [finding.check for finding in shallow] == [name for name in ALL if name not in DEEP]
    assert all(finding.healthy for finding in shallow)


def test_a_new_ledger_is_healthy_on_the_real_clock(database: Database) -> None:
    assert [finding for finding in examine(database) if not finding.healthy] == []


def test_an_account_that_has_only_the_roles_may_examine(lived: Database) -> None:
    password = str(conninfo_to_dict(lived.dsn).get("password") or secrets.token_hex(8))
    account = f"{lived.schema}_account"
    roles = ", ".join(lived.role_name(role) for role in Role)
    with harmed(lived, None, f"CREATE ROLE {account} LOGIN PASSWORD '{password}'; GRANT {roles} TO {account}"):
        try:
            assert sick(Database(make_conninfo(lived.dsn, user=account, password=password), lived.schema)) == {}
        finally:
            with harmed(lived, None, f"DROP ROLE {account}"):
                pass


def test_execution_credits_are_healthy_however_they_turned_slept_and_were_refunded(
    books: BlockingLedger, database: Database, hands: Hands
) -> None:
    """At every stop, also where what has fallen due is not written yet."""

    def stop(months: int) -> None:
        assert sick(database) == {}
        hands.set(stepped(START, months))
        assert sick(database) == {}

    scan: dict[str, Any] = {"holder": "acme", "currency": "DAST", "kind": Kind.EXECUTION_CREDIT}
    credit = books.open_execution_credit(company="acme", credit_type="DAST", credits=9, rollup_type="MONTHLY").stream_id
    addon = books.open_execution_credit(company="acme", credit_type="DAST", credits=5, rollup_type="ADDON").stream_id
    both = books.consume(**scan, amount=12).transaction_id
    books.update_execution_credit(credit=credit, rollup_type="YEARLY")
    books.update_execution_credit(credit=credit, rollup_type="QUARTERLY")
    stop(1)
    books.refund(transaction_id=both, amount=5, kind=Kind.EXECUTION_CREDIT)
    stop(14)
    books.update_execution_credit(credit=credit, credits=30, rollup_type="MONTHLY")
    stop(15)
    later = books.consume(**scan, amount=30).transaction_id
    stop(40)
    books.refund(transaction_id=later, amount=7, kind=Kind.EXECUTION_CREDIT)
    books.delete_execution_credit(credit=addon)
    stop(41)
    books.refund(transaction_id=both, amount=4, kind=Kind.EXECUTION_CREDIT)
    books.update_execution_credit(credit=credit, credits=1, rollup_type="SEMIANNUAL")
    books.delete_execution_credit(credit=credit)
    books.refund(transaction_id=later, kind=Kind.EXECUTION_CREDIT)
    stop(60)
    assert books.settle_due() == 0


@settings(max_examples=2, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=histories)
def test_random_histories_are_healthy_at_every_stop(server_dsn: str, acts: list[Any]) -> None:
    database = Database(server_dsn, f"t_{secrets.token_hex(6)}")
    migrate(database)
    found: list[Finding] = []
    try:
        with CreditLedger(database, clock=settable_clock()) as ledger:
            play = Play(BlockingLedger(ledger), Hands(database))
            for first in range(0, len(acts), 40):
                play.all(acts[first : first + 40])
                found += examine(database, clock=settable_clock())
    finally:
        drop(database)
    assert [finding for finding in found if not finding.healthy] == []
