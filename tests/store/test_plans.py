"""What is asked while others wait goes through an index, whatever the history and the statistics."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger, IssueGrant, OpenExecutionCredit
from ledger.application.batches import INDEX_PLANS_ONLY
from ledger.application.ledger import accepted
from ledger.domain.credits import UNITS_PER_CREDIT
from ledger.domain.values import Kind, StreamId, TransactionId
from ledger.store.database import Database, Role
from ledger.store.followed import log_stretch, threshold_steps
from ledger.store.sql import query
from projections.execution_credits.queries import (
    CreditVersion,
    documents_of_debits,
    execution_credits_as_of,
    execution_credits_by_id,
    transactions_of,
)
from projections.paging import NumberedPage
from projections.read_model import EXECUTION_CREDITS
from projections.reading import Snapshot
from projections.registry import prepare
from projections.runner import advance
from tests.conftest import START, migrated

UUID = "018f0000-0000-7000-8000-000000000001"
QUESTIONS: dict[str, Any] = {
    "head": None,
    "keys": [json.dumps([["acme", "k", "consume", "CREDIT_GRANT"]] * 3)],
    "open_lots": {"kinds": ["CREDIT_GRANT"], "holders": ["acme"], "currencies": ["c"], "resources": [None]},
    "lot_states": {"streams": [UUID], "lots": [UUID]},
    "definitions": {"streams": [UUID], "versions": [None]},
    "debits": {"debits": [UUID]},
    "last_of_streams": {"streams": [UUID]},
    "clear_due": {"streams": [UUID]},
    "streams": {"streams": [UUID]},
    "claimed": {"kind": "GRANT_READABLE_ID", "values": ["cg-1"]},
    "transactions": {"positions": [1, 2, 3]},
    "transaction_at": {"position": 1},
    "log_rows": {"after": 1, "until": 9, "types": None, "limit": 8},
    "release_claims": {"kinds": ["RULE_NAME"], "values": ["rule"], "streams": [UUID]},
    "thresholds_reached": None,
}
TABLES = ("events", "idempotency", "open_lots", "claims", "due")


@pytest.fixture(scope="module", params=[False, True], ids=["no statistics", "analysed"])
def used(request: pytest.FixtureRequest, server_dsn: str) -> Iterator[Database]:
    """A ledger with many debits. Nobody gathers statistics of it but the fixture."""
    with migrated(server_dsn) as database:
        with database.connect(Role.OWNER) as connection:
            for table in TABLES:
                connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())
        with CreditLedger(database) as ledger:
            books = BlockingLedger(ledger)
            books.issue_grant(holder="acme", currency="c", amount=10**6, display_name="g", grant_type="PAID")
            books.consume_many(
                [ConsumeCredits(holder="acme", currency="c", amount=1, idempotency_key=str(key)) for key in range(2000)]
            )
        if request.param:
            with database.connect(Role.OWNER) as connection:
                connection.execute(f"ANALYZE {', '.join(TABLES)}".encode())
        yield database


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_writers_questions_scan_no_table(used: Database, name: str) -> None:
    with used.connect(Role.WRITER, **INDEX_PLANS_ONLY) as connection:
        plan = connection.execute("EXPLAIN " + query(name), QUESTIONS[name]).fetchall()
    lines = [row["QUERY PLAN"] for row in plan]
    assert not [line for line in lines if "Seq Scan" in line and "log_meta" not in line], "\n".join(lines)
    forbidden = ("Hash Join", "Merge Join", "Bitmap")
    assert not [line for line in lines if any(word in line for word in forbidden)], "\n".join(lines)
    if name != "head":  # which is one step along its index
        walks = [after for line, after in pairwise(lines) if " on events" in line and "Index Cond" not in after]
        assert not walks, "\n".join(lines)


@pytest.mark.parametrize("analysed", [False, True])
def test_who_follows_the_log_reads_no_more_of_it_than_is_new(
    books: BlockingLedger, database: Database, analysed: bool
) -> None:
    books.issue_grant(holder="acme", currency="c", amount=10**6, display_name="g", grant_type="PAID")
    books.consume_many([ConsumeCredits(holder="acme", currency="c", amount=1, account_groups=("g",))] * 2000)
    if analysed:
        with database.connect(Role.OWNER) as connection:
            connection.execute("ANALYZE events")
    with books.ledger.connection() as connection:
        assert log_stretch(connection, after=1500, events_max=10) == (1510, 2001)
        assert len(threshold_steps(connection, after=1500, until=1510)) == 10
        assert rows_read(connection, lambda: log_stretch(connection, after=1500, events_max=10)) <= 2
        assert rows_read(connection, lambda: threshold_steps(connection, after=1500, until=1510)) == 10


class Asked(NamedTuple):
    """A ledger in which by the statistics a stream has few events, and one credit has most of all."""

    database: Database
    credit: StreamId
    debits: list[TransactionId]


@pytest.fixture
def asked(books: BlockingLedger, database: Database) -> Asked:
    grant: dict[str, Any] = {"currency": "c", "amount": 1, "display_name": "g", "grant_type": "PAID"}
    credit: dict[str, Any] = {"credit_type": "DAST", "credits": 2000, "rollup_type": "MONTHLY"}
    use = ConsumeCredits(
        holder="acme", currency="DAST", amount=1, kind=Kind.EXECUTION_CREDIT, dimensions={"projectId": "7"}
    )
    run = books.ledger.execute_many_blocking
    run([IssueGrant(holder=f"customer {number}", **grant) for number in range(1000)])
    opened, *_ = run([OpenExecutionCredit(company=company, **credit) for company in ("acme", *map(str, range(400)))])
    debits = [accepted(debit).transaction_id for debit in run([use] * 2000)]
    with database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database, [EXECUTION_CREDITS])
        assert advance(connection, EXECUTION_CREDITS)
    return Asked(database, accepted(opened).stream_id, debits)


@pytest.mark.parametrize("analysed", [False, True])
def test_questions_to_execution_credits_read_no_more_than_they_answer(asked: Asked, analysed: bool) -> None:
    if analysed:
        with asked.database.connect(Role.OWNER) as connection:
            connection.execute("ANALYZE events")
        with asked.database.connect(Role.PROJECTOR) as connection:
            connection.execute(EXECUTION_CREDITS.sql("ANALYZE {table}"))
    with asked.database.connect(Role.READER, max_parallel_workers_per_gather="0") as connection:
        builds = {EXECUTION_CREDITS.name: EXECUTION_CREDITS}
        snapshot = Snapshot(connection, builds, position=0, positions={}, stale=False, now=START)
        read = partial(rows_read, connection)
        page, as_of = NumberedPage(3, 25), CreditVersion(asked.credit, 2000)
        [transactions] = transactions_of(connection, [as_of], page, rows_max=100).values()
        assert [row.debit_id for row in transactions] == asked.debits[1998 - 75 : 1998 - 50][::-1]
        both = [CreditVersion(asked.credit, 1000), as_of]
        states = execution_credits_as_of(connection, both)
        assert [states[each].used for each in both] == [998 * UNITS_PER_CREDIT, 1998 * UNITS_PER_CREDIT]
        assert read(lambda: execution_credits_by_id(snapshot, [asked.credit])) == 1
        assert 0 <= read(lambda: execution_credits_as_of(connection, both)) - EVENTS_OF_TWO_STATES <= ENDS_MAX
        assert read(lambda: documents_of_debits(connection, asked.debits[:30])) == 30
        assert read(lambda: transactions_of(connection, [as_of], page, rows_max=100)) == page.limit * page.page


def rows_read(connection: Connection[DictRow], question: Callable[[], object]) -> int:
    """How many rows of the log, or of what tells of execution credits, were read for an answer."""
    with connection.transaction():
        before: Any = connection.execute(ROWS_READ).fetchone()
        question()
        after: Any = connection.execute(ROWS_READ).fetchone()
    return int(after["rows_read"] - before["rows_read"])


EVENTS_OF_TWO_STATES = 10
"""Of each the event asked for, the first, the last definition, the last grant, and the last event about that's lot."""
ENDS_MAX = 4
"""The planner looks at the ends of indexes that it has statistics of, before it decides against a merge."""
ROWS_READ = """
    SELECT sum(seq_tup_read + idx_tup_fetch)::integer AS rows_read FROM pg_stat_xact_user_tables
    WHERE schemaname = current_schema() AND (relname = 'events' OR relname LIKE 'execution_credits%')
"""
"""From the tables that hold a row for each event or credit, since the session last told of it."""
