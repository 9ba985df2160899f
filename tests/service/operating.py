"""Operators' commands on a ledger that tests have filled, and what they leave in the database."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import IO, Any, LiteralString

import pytest
from psycopg.rows import DictRow

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger, Receipt
from ledger.store.clock import set_test_clock, settable_clock
from ledger.store.database import Database, Role
from projections import registry
from projections.read_model import READ_MODELS, ReadModel
from projections.runner import advance
from service.cli.frame import run
from service.cli.main import cli
from tests.conftest import START
from tests.service.serving import COMMAND, environment

SECONDS_MAX = 30.0
SMALL_WINDOWS = (
    "import sys, projections.rebuild as work, service.cli.main as line; work.WINDOW_EVENTS = {}; line.main()"
)
PLANT = """
INSERT INTO events
SELECT (jsonb_populate_record(told, jsonb_build_object(
    'position', %(position)s::bigint, 'transaction_last', %(last)s::bigint, 'transaction_id', gen_random_uuid(),
    'version', (SELECT max(version) + 1 FROM events AS others WHERE others.stream_id = told.stream_id),
    'debit_id', %(debit)s::uuid, 'amount', %(amount)s::text
))).*
FROM events AS told
WHERE holder = %(holder)s AND type = %(type)s
ORDER BY position DESC LIMIT 1
"""
"""Another event as the last one of a holder and type, but for its amount: what it says of its lot is no longer so."""


@dataclass(frozen=True)
class Operated:
    """A ledger on the test clock, and its operator."""

    database: Database

    @property
    def settings(self) -> dict[str, Any]:
        return {"database_url": self.database.dsn, "schema": self.database.schema, "test_clock": "1"}

    def run(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """A command about projections, in this process: quicker than one of its own for each."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in (self.settings | settings).items():
                patch.setenv(f"LEDGER_{name.upper()}", value)
            ended = run(cli, ["projections", *arguments])
        return subprocess.CompletedProcess(arguments, ended, out.getvalue(), err.getvalue())

    def told(self, *arguments: str, ends: int = 0) -> Any:
        """What a command that ends so says in JSON: on stdout, or what went wrong, last on stderr."""
        done = self.run(*arguments, "--json")
        assert done.returncode == ends, done.stderr
        return json.loads(done.stdout or done.stderr.splitlines()[-1])

    @contextmanager
    def started(
        self, *arguments: str, window_events: int | None = None, stderr: int | IO[str] = subprocess.PIPE
    ) -> Iterator["subprocess.Popen[str]"]:
        """A command about projections in a process of its own, which Ctrl-C reaches; killed if it is left running."""
        given = [str(COMMAND)] if window_events is None else [sys.executable, "-c", SMALL_WINDOWS.format(window_events)]
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # one that is ignored is inherited
        process = subprocess.Popen(
            [*given, "projections", *arguments],
            env=environment(**self.settings) | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        signal.signal(signal.SIGINT, before)
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def statuses(self, name: str) -> list[dict[str, Any]]:
        """What is told of the builds of a projection, the one that serves first."""
        return [each for each in self.told("status")["projections"] if each["name"] == name]

    def served(self, name: str) -> dict[str, Any]:
        return self.statuses(name)[0]

    def shadow(self, model: ReadModel) -> ReadModel | None:
        """The build that is being made beside the one that serves."""
        with self.database.connect(Role.READER) as connection:
            return registry.shadow_of(connection, model)

    def serving(self, model: ReadModel) -> ReadModel:
        with self.database.connect(Role.READER) as connection:
            return registry.serving(connection, [model])[0].model

    def rows(self, model: ReadModel, build: ReadModel | None = None) -> list[str]:
        """Every row of a build as PostgreSQL prints it; of the one that serves, if none is given."""
        text = (build or self.serving(model)).sql("SELECT t::text AS line FROM {table} AS t ORDER BY t::text")
        with self.database.connect(Role.READER) as connection:
            return [row["line"] for row in connection.execute(text)]

    def all_rows(self) -> dict[str, list[str]]:
        return {model.name: self.rows(model) for model in READ_MODELS}

    def tables(self) -> set[str]:
        """All tables of all builds."""
        with self.database.connect(None) as connection:
            rows = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tableowner = %s",
                [self.database.schema, self.database.role_name(Role.PROJECTOR)],
            )
            return {row["tablename"] for row in rows}

    def registered(self) -> list[DictRow]:
        with self.database.connect(Role.READER) as connection:
            return connection.execute("SELECT * FROM projections ORDER BY name, number, version").fetchall()

    def execute(self, text: LiteralString, *models: ReadModel) -> None:
        """Run a statement as the account that owns everything; `{table}` is what serves for a model."""
        with self.database.connect(None) as connection:
            for model in models:
                connection.execute(self.serving(model).sql(text))
            if not models:
                connection.execute(text)

    def follow(self, *models: ReadModel) -> None:
        """Bring these to the head, or all there are."""
        with self.database.connect(Role.PROJECTOR) as connection:
            registry.prepare(connection, self.database)
            for model in models or READ_MODELS:
                while advance(connection, self.serving(model)):
                    pass

    @contextmanager
    def books(self) -> Iterator[BlockingLedger]:
        with CreditLedger(self.database, clock=settable_clock()) as ledger:
            yield BlockingLedger(ledger)

    def plant(self, *amounts: str, holder: str = "odd", kind: str = "ledger.debited") -> int:
        """Write one transaction past all laws, an event for each amount; the position of the first."""
        with self.database.connect(None) as connection:
            first = head(connection) + 1
            debit = connection.execute("SELECT gen_random_uuid() AS debit").fetchone()
            for position, amount in enumerate(amounts, first):
                named = {"position": position, "last": first + len(amounts) - 1, "amount": amount}
                connection.execute(PLANT, {**named, **(debit or {}), "holder": holder, "type": kind})
        return first

    def head(self) -> int:
        with self.database.connect(None) as connection:
            return head(connection)


def head(connection: Any) -> int:
    row = connection.execute("SELECT coalesce(max(position), 0) AS head FROM events").fetchone()
    return int(row["head"])


def fill(database: Database, debits: int = 600) -> Operated:
    """Something in every projection: grants, uses of groups, refunds, a rule, a plan, a recharge, a credit."""
    with database.connect(Role.WRITER) as connection:
        set_test_clock(connection, START)
    operated = Operated(database)
    with operated.books() as books:
        for holder in ("acme", "odd"):
            books.issue_grant(
                holder=holder, currency="credits", amount="1000000.000000001", display_name="g", grant_type="PAID"
            )
            books.consume(holder=holder, currency="credits", amount="0.5")
        books.define_allocation_rule(name="rule", account_groups=["lab"], allocated=10**6, alarm_threshold=100)
        books.create_grant_schedule(
            holder="acme", currency="credits", display_name="plan", amount=1, billing_period="MONTH",
            cadence="BEGINNING_OF_BILLING_PERIOD", anchor_at=START,
        )  # fmt: skip
        books.save_auto_recharge(
            holder="acme", currency="other", enabled=False, threshold=1, target=2, unit_price=1,
            payment_method="NONE",
        )  # fmt: skip
        books.open_execution_credit(company="acme", credit_type="DAST", credits=5, rollup_type="MONTHLY")
        use(books, debits)
        refunded = books.consume(holder="acme", currency="credits", amount=3, account_groups=["lab"])
        books.refund(transaction_id=refunded.transaction_id, amount=1)
    return operated


def use(books: BlockingLedger, debits: int) -> None:
    """So many uses, each a transaction."""
    for outcome in books.consume_many(
        [ConsumeCredits(holder="acme", currency="credits", amount=1, account_groups=("lab",)) for _ in range(debits)]
    ):
        assert isinstance(outcome, Receipt)
