"""What this machine can do without the ledger: the same rows into the same table with the same indexes, durably."""

import re
import secrets
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.decision import Decision
from ledger.domain.pool import Pool
from ledger.domain.values import SYSTEM, StreamId, Transaction, TransactionId
from ledger.store.database import Database, Role
from scripts.benchmark.measure import Measurement
from service.embedded_postgres import find_binaries

TYPES = (
    *("int8", "int8", "uuid", "int4", "text", "int2", "uuid", "timestamptz", "text", "text", "text", "text"),
    *("timestamptz", "timestamptz", "text", "text", "text", "text", "text", "text", "uuid", "numeric", "uuid"),
    *("text[]", "int4", "numeric", "numeric", "numeric", "numeric", "jsonb"),
)
INSERT = """
INSERT INTO yardstick VALUES (
    nextval('yardstick_position'), 9223372036854775807, gen_random_uuid(), 1, 'ledger.debited', 1, gen_random_uuid(),
    clock_timestamp(), 'API_KEY', 'bench', NULL, NULL, clock_timestamp(), clock_timestamp(), 'CONSUMED',
    'CREDIT_GRANT', 'holder', 'credits', NULL, 'PAID', gen_random_uuid(), -1.5, gen_random_uuid(), NULL, 1,
    1000000, 1, 999999, 999999, '{}'
);
"""


def make_table(database: Database) -> None:
    """A fresh table like the log, with its three indexes and its checks.

    Made anew for each yardstick, so that the server has nothing of it to vacuum while the ledger is measured.
    """
    with database.connect(Role.OWNER) as connection:
        connection.execute("DROP TABLE IF EXISTS yardstick")
        connection.execute("CREATE TABLE yardstick (LIKE events INCLUDING ALL) WITH (autovacuum_enabled = false)")
        connection.execute("CREATE SEQUENCE IF NOT EXISTS yardstick_position")


def insert_one_row(database: Database, connections: int, seconds: float) -> Measurement:
    """One-row INSERTs, each committed, by PostgreSQL's own client in C: as fast as single rows go on this server.

    At least for a second: that client counts whole ones.
    """
    make_table(database)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(INSERT)
        script.flush()
        command: list[str | Path] = [find_binaries() / "pgbench", "--no-vacuum", "--protocol=prepared"]
        command += [f"--file={script.name}", f"--client={connections}", f"--time={max(1, round(seconds))}", "--log"]
        with tempfile.TemporaryDirectory() as folder:
            command += [f"--log-prefix={folder}/log", database.conninfo(Role.OWNER)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            latencies = [int(line.split()[2]) / 1e6 for log in Path(folder).iterdir() for line in log.open()]
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    return Measurement(len(latencies), len(latencies) / float(found.group(1)), latencies)


def copy_rows(database: Database, rows_per_commit: int, commits: int) -> Measurement:
    """Binary COPY from Python, one commit for each so many rows."""
    make_table(database)
    latencies = []
    now = datetime.now(UTC)
    position = secrets.randbelow(10**6) * 10**9 + 10**17
    with psycopg.connect(database.conninfo(Role.OWNER), autocommit=True) as connection:
        started = time.perf_counter()
        for _ in range(commits):
            begun = time.perf_counter()
            with connection.transaction(), connection.cursor().copy("COPY yardstick FROM STDIN BINARY") as copy:
                copy.set_types(TYPES)
                for _ in range(rows_per_commit):
                    position += 1
                    stream, transaction = uuid.uuid4(), uuid.uuid4()
                    balance = Decimal(position)
                    start = (position, position, stream, 1, "ledger.debited", 1, transaction, now, "API_KEY", "bench")
                    middle = (None, None, now, now, "CONSUMED", "CREDIT_GRANT", "holder", "credits", None, "PAID")
                    end = (stream, Decimal("-1.5"), transaction, None, 1, balance, Decimal(1), balance - 1, balance)
                    copy.write_row((*start, *middle, *end, Jsonb({})))
            latencies.append(time.perf_counter() - begun)
        return Measurement(commits * rows_per_commit, time.perf_counter() - started, latencies)


def plain_grants(ledger: CreditLedger) -> list[StreamId]:
    """Fresh grants for the plain loop: as their histories grow, so does what each of its steps takes."""
    books = BlockingLedger(ledger)
    given = {"currency": "credits", "amount": 10**6, "display_name": "plain", "grant_type": "PAID"}
    holders = [f"plain-{number}-{secrets.token_hex(4)}" for number in range(20)]
    return [books.issue_grant(holder=holder, **given).stream_id for holder in holders]


def load_decide_save(ledger: CreditLedger, streams: Sequence[StreamId], count: int) -> Measurement:
    """The library's plain loop over the same domain: fold the aggregate from its events, decide, save, one by one."""
    latencies = []
    started = time.perf_counter()
    for number in range(count):
        begun = time.perf_counter()
        _debit_one(ledger, streams[number % len(streams)])
        latencies.append(time.perf_counter() - begun)
    return Measurement(count, time.perf_counter() - started, latencies)


def _debit_one(ledger: CreditLedger, stream_id: StreamId) -> None:
    grant = ledger.grant(stream_id)
    lot = next(iter(grant.lots.values()))
    now = datetime.now(UTC)
    transaction = Transaction(TransactionId(str(uuid.uuid4())), now, SYSTEM, None, None, None)
    decision = Decision(Pool(lot.pool, [grant]), transaction, lambda: str(uuid.uuid4()))
    decision.debit(10**9, now, None)
    ledger.events.put(decision.events)
