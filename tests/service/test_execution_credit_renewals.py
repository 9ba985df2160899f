"""Renewals come once for each period, whoever writes them: processes that serve, a worker, or whoever asks first."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from threading import Condition, Event
from typing import Any

from ledger.store.clock import settable_clock
from ledger.store.database import Database
from service.doctor import examine
from tests.conftest import START, Hands
from tests.service.executions import (
    DEBIT,
    Company,
    Parts,
    delete,
    done,
    movements,
    parts,
    refund,
    renewals,
    shown,
    update,
    used,
)
from tests.service.load import eventually
from tests.service.serving import ANSWER_SECONDS_MAX, Service, serving
from tests.service.test_graphql_schedules import step
from tests.service.test_processes import working

CLIENTS = 8
PERIODS = 6
REPLIES_BETWEEN = 40
ALLOTMENT = 1_000_000


class Debits:
    """What clients debited, by key; each sends one keyed debit of 1 after the other to a service of two."""

    def __init__(self, services: list[Service], company: str) -> None:
        self._companies = [Company(service, company) for service in services]
        self._news = Condition()
        self._ending = Event()
        self.taken: dict[str, tuple[str, Parts]] = {}

    @contextmanager
    def going_on(self) -> Iterator[None]:
        with ThreadPoolExecutor(CLIENTS) as threads:
            clients = [threads.submit(self._run, number) for number in range(CLIENTS)]
            try:
                yield
            finally:
                self._ending.set()
            for client in clients:
                client.result()

    def wait_for_more(self) -> None:
        """Until so many more debits were answered."""
        with self._news:
            wanted = len(self.taken) + REPLIES_BETWEEN
            assert self._news.wait_for(lambda: len(self.taken) >= wanted, ANSWER_SECONDS_MAX)

    def _run(self, client: int) -> None:
        company = self._companies[client % len(self._companies)]
        for number in itertools.count():
            if self._ending.is_set():
                return
            key = f"{client}-{number}"
            payload = company.debit(1, idempotencyKey=key)
            with self._news:
                self.taken[key] = (payload["transactionId"], parts(payload))
                self._news.notify_all()


def serving_on(database: Database, *arguments: str) -> AbstractContextManager[Service]:
    return serving(
        *arguments,
        database_url=database.dsn,
        schema=database.schema,
        test_clock="1",
        execution_requests_per_minute="1000000",
    )


def assert_healthy(database: Database) -> None:
    assert [finding for finding in examine(database, clock=settable_clock()) if not finding.healthy] == []


def test_while_clients_debit_across_the_turns_each_period_is_granted_once_and_no_debit_is_lost(
    database: Database, hands: Hands
) -> None:
    """Two processes serve and settle, and a worker does too; the clock turns six months under eight clients."""
    with ExitStack() as all_at_work:
        services = [all_at_work.enter_context(serving_on(database)) for _ in range(2)]
        all_at_work.enter_context(working(database, test_clock="1"))
        credit = Company(services[0], "acme").create("MONTHLY", ALLOTMENT)
        debits = Debits(services, "acme")
        with debits.going_on():
            for month in range(1, PERIODS + 1):
                debits.wait_for_more()
                hands.set(step(START, month))
            debits.wait_for_more()
        rows = movements(database, "acme")
        assert renewals(database, "acme") == [step(START, month) for month in range(1, PERIODS + 1)]
        logged = Counter(str(row["transaction_id"]) for row in rows if row["type"] == "ledger.debited")
        assert logged == {transaction: 1 for transaction, _ in debits.taken.values()}
        assert {tuple(drawn) for _, drawn in debits.taken.values()} == {((credit, 1),)}
        for lot in {row["lot"] for row in rows if row["lot"] is not None}:
            own = [row for row in rows if row["lot"] == lot]
            spent = -sum(row["credits"] for row in own if row["type"] == "ledger.debited")
            left = 0 if own[0]["lot_expires_at"] <= hands.now else ALLOTMENT - spent
            assert spent > 0
            assert (own[-1]["lot_used"], own[-1]["lot_balance"]) == (spent * 10**9, left * 10**9)
            assert {row["effective_at"] for row in own if row["type"] == "ledger.expired"} <= {own[0]["lot_expires_at"]}
        last = sum(row["credits"] == -1 and row["effective_at"] == hands.now for row in rows)
        assert [used(service, credit) for service in services] == [[last], [last]]
        for key, (transaction, _) in itertools.islice(debits.taken.items(), 0, None, 50):
            given = Company(services[1], "acme").use(1, idempotencyKey=key)
            assert done(services[1], DEBIT, given)["transactionId"] == transaction
    assert_healthy(database)


Act = Callable[[Company, str, dict[str, Any]], object]
ACTS: dict[str, Act] = {
    "debit": lambda company, credit, debit: company.debit(10),
    "refund": lambda company, credit, debit: refund(company.service, debit),
    "update": lambda company, credit, debit: update(company.service, credit, credits=7),
    "create": lambda company, credit, debit: company.create("ADDON", 5),
    "delete": lambda company, credit, debit: delete(company.service, credit),
}


def test_a_command_first_writes_the_renewals_that_nobody_wrote(database: Database, hands: Hands) -> None:
    """Nothing follows the log and nothing settles: at the very instant of the last renewal somebody acts."""
    with serving_on(database, "--no-worker") as service:
        companies = {act: Company(service) for act in ACTS}
        made = {act: (company.create("MONTHLY", 10), company.debit(8)) for act, company in companies.items()}
        hands.set(step(START, 5))
        for act, company in companies.items():
            assert renewals(database, company.id) == []
            ACTS[act](company, *made[act])
            assert renewals(database, company.id) == [step(START, month) for month in range(1, 6)], act
            own_first = [row for row in movements(database, company.id) if row["recorded_at"] == hands.now]
            assert {row["cause"] for row in own_first[:10]} == {"LAPSED", "RENEWED"}, act
    assert_healthy(database)


def test_a_refused_command_after_a_long_stop_writes_nothing_and_knows_the_new_period(
    database: Database, hands: Hands
) -> None:
    with serving_on(database, "--no-worker") as service:
        company = Company(service)
        company.create("MONTHLY", 10)
        company.debit(8)
        hands.set(step(START, 5))
        log = movements(database, company.id)
        assert company.has(10)
        assert movements(database, company.id) == log


def test_after_a_long_stop_the_process_that_starts_writes_every_period_once(database: Database, hands: Hands) -> None:
    """A cycle that was to turn turns at the first renewal, though nobody was there."""
    starts: list[datetime] = [step(START, month) for month in (1, 4, 7, 10)]
    with serving_on(database, "--no-worker") as service:
        credit = Company(service, "acme").create("MONTHLY", 10)
        update(service, credit, rollupType="QUARTERLY")
        Company(service, "acme").debit(4)
    hands.set(step(START, 12))
    with serving_on(database), serving_on(database) as service:
        assert eventually(lambda: renewals(database, "acme") == starts, ANSWER_SECONDS_MAX)
        found = shown(service, credit)
        assert (found["rollupType"], found["usedCredits"]) == ("QUARTERLY", 0)
    assert renewals(database, "acme") == starts
    assert_healthy(database)
