"""The writer's session is ended by the server, again and again: no caller hears of it."""

import asyncio
import random

import pytest
from psycopg.conninfo import make_conninfo

from ledger.application import CreditLedger
from ledger.store.database import Database
from tests.faults.bookkeeping import assert_each_happened_once, issue_grants
from tests.faults.waiting_callers import WaitingCallers

TERMINATIONS = 60
NAME = "the writer of this test"
ANY_MOMENT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
UNDER_THE_LOCK = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_locks USING (pid) "
    "WHERE application_name = %s AND locktype = 'advisory' AND granted"
)


@pytest.mark.parametrize("victim", [ANY_MOMENT, UNDER_THE_LOCK], ids=["at any moment", "while it holds the lock"])
def test_callers_do_not_notice_that_the_writers_session_is_ended(database: Database, victim: str) -> None:
    issue_grants(database)
    named = Database(make_conninfo(database.dsn, application_name=NAME), database.schema)
    chance = random.Random(4)

    def terminate() -> int:
        """End the session, as soon as it is there; returns how many were ended."""
        with database.connect(None) as connection:
            return len(connection.execute(victim.encode(), [NAME]).fetchall())

    async def terminate_often(ledger: CreditLedger) -> WaitingCallers:
        async with WaitingCallers.on(ledger, singles=24, lists=4, list_length=100) as callers:
            terminated = 0
            while terminated < TERMINATIONS:
                await callers.are_answered(chance.choice([1, 100, 300]))
                terminated += await asyncio.to_thread(terminate)
        return callers

    with CreditLedger(named) as ledger:
        callers = asyncio.run(terminate_often(ledger))
        assert ledger.writer.failure is None
    assert_each_happened_once(database, callers.receipts)
