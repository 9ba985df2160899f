"""A long log of many holders: what the ledger wrote for a few of them, copied row by row."""

import random
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil
from typing import Any

from psycopg import sql

from ledger.application import (
    ChangeAllocationRule,
    Command,
    ConsumeCredits,
    CreateGrantSchedule,
    CreditLedger,
    DefineAllocationRule,
    IssueGrant,
    OpenExecutionCredit,
    Receipt,
    RefundDebit,
    SaveAutoRecharge,
    VoidGrant,
)
from ledger.domain.values import BillingPeriod, Cadence, CreditType, GrantType, Kind, RollupType, StreamId
from ledger.store.clock import set_test_clock, settable_clock
from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from ledger.store.sql import statement

COPIES = 100
CUSTOMERS = [f"customer-{number:02}" for number in range(18)]
COMPANIES = [f"company-{number}" for number in range(2)]
"""Of each copy."""
RULES = 3
EVENTS_OF_A_USE = 1.09
"""Of ten uses one is refunded or ends a grant."""
GROUPS = [f"group-{number:02}" for number in range(20)]
SETS = [tuple(random.Random(number).sample(GROUPS, 1 + number % 3)) for number in range(40)]
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, ROUNDS = 90, 10
"""In each round every holder uses credits once."""
TRANSACTIONS_AT_ONCE = 5_000
"""Of those that are copied."""


def write_long_log(database: Database, events: int) -> None:
    """Write about so many events to an empty ledger: nine of ten are debits, one of sixteen is a refund.

    Of the copies only the log is written: no documents, no claims, and nothing that is due.
    """
    few = Database(database.dsn, f"{database.schema}_few")
    migrate(few)
    with CreditLedger(few, clock=settable_clock()) as ledger:
        _play(ledger, events // COPIES)
    original = sql.Identifier(few.schema, "events")
    copy = sql.SQL(statement("scripts.benchmark", "log_copies.sql")).format(original=original)
    ends = sql.SQL("SELECT DISTINCT transaction_last FROM {} ORDER BY 1").format(original)
    with database.connect(None, work_mem="256MB") as connection:
        places = [row["transaction_last"] for row in connection.execute(ends)]
        for after, until in pairwise([0, *places[TRANSACTIONS_AT_ONCE::TRANSACTIONS_AT_ONCE], places[-1]]):
            connection.execute(copy, {"after": after, "until": until, "copies": COPIES})
            print(f"{until * COPIES:,} of {places[-1] * COPIES:,} events written", file=sys.stderr, flush=True)
        connection.execute("VACUUM ANALYZE events")


def _play(ledger: CreditLedger, events: int) -> None:
    """A quarter of a year of some customers and companies."""
    drawn = random.Random(0)
    steps = max(2, ceil(events / ROUNDS / len(CUSTOMERS + COMPANIES) / EVENTS_OF_A_USE))
    length = timedelta(days=DAYS) / steps
    rules: list[StreamId] = []
    grants: list[StreamId] = []
    debits: list[RefundDebit] = []
    for step in range(steps):
        now = BEGINNING + step * length
        with ledger.database.connect(Role.WRITER) as connection:
            set_test_clock(connection, now)
        if step == 0:
            rules = [receipt.stream_id for receipt in _done(ledger, _beginning())[:RULES]]
        if step % 20 == 19:
            _done(ledger, [VoidGrant(grant=grant) for grant in drawn.sample(grants, 3)])
            _done(ledger, [ChangeAllocationRule(rule=rules[step % RULES], allocated=step)])
            _done(ledger, _settings(step))
        if step % 8 == 0:
            grants = [receipt.stream_id for receipt in _done(ledger, _grants(now + 8 * length))]
        uses = [_use(drawn, now, holder) for _ in range(ROUNDS) for holder in CUSTOMERS + COMPANIES]
        refunds = drawn.sample(debits, len(debits) // 15)
        commands: list[Command] = [*refunds, *uses]
        drawn.shuffle(commands)
        receipts = _done(ledger, commands)
        debits = [
            RefundDebit(transaction_id=receipt.transaction_id, kind=receipt.events[-1].pool.kind)
            for receipt in receipts
            if receipt.events[-1].TOPIC == "ledger.debited"
        ]


def _beginning() -> Iterator[Command]:
    for number in range(RULES):
        yield DefineAllocationRule(
            name=f"rule-{number}-000", account_groups=GROUPS[number::RULES], allocated=10**6, alarm_threshold=80
        )
    for company in COMPANIES:
        yield OpenExecutionCredit(
            company=company, credit_type=CreditType.DAST, credits=10**5, rollup_type=RollupType.MONTHLY
        )
    for customer in CUSTOMERS:
        yield IssueGrant(
            holder=customer, currency="credits", amount=10**9, display_name="plenty", grant_type=GrantType.PAID
        )
    for customer in CUSTOMERS[::6]:
        yield CreateGrantSchedule(
            holder=customer, currency="credits", amount=10, display_name="monthly", billing_period=BillingPeriod.MONTH,
            cadence=Cadence.MONTHLY,
        )  # fmt: skip


def _settings(step: int) -> Iterator[Command]:
    for customer in CUSTOMERS[::9]:
        yield SaveAutoRecharge(
            holder=customer, currency="credits", enabled=True, threshold=step, target=100 + step, unit_price="0.25"
        )


def _grants(expires_at: datetime) -> Iterator[Command]:
    """More than is used of some before they end, less of others."""
    for number, customer in enumerate(CUSTOMERS):
        yield IssueGrant(
            holder=customer, currency="credits", amount=10 * number + 1, display_name="for a while",
            grant_type=GrantType.PROMOTIONAL, expires_at=expires_at,
        )  # fmt: skip


def _use(drawn: random.Random, now: datetime, holder: str) -> Command:
    """In the hour before, at an instant of its own; one of three names account groups, one of three dimensions."""
    use_at = now - timedelta(seconds=1, microseconds=drawn.randrange(3600 * 10**6))
    account_groups = drawn.choice(SETS) if drawn.random() < 1 / 3 else None
    dimensions = {"project": str(drawn.randrange(10))} if drawn.random() < 1 / 3 else None
    tags: dict[str, Any] = {"use_at": use_at, "account_groups": account_groups, "dimensions": dimensions}
    if holder in COMPANIES:
        return ConsumeCredits(holder=holder, currency=CreditType.DAST, amount=1, kind=Kind.EXECUTION_CREDIT, **tags)
    return ConsumeCredits(holder=holder, currency="credits", amount="1.25", **tags)


def _done(ledger: CreditLedger, commands: Iterator[Command] | Sequence[Command]) -> list[Receipt]:
    """The receipts of commands of which some may have been refused, as a void of a grant that has ended."""
    return [each for each in ledger.execute_many_blocking(commands) if isinstance(each, Receipt)]
