"""A server that goes down hard while callers wait: they are answered when it is back, and each command happens once."""

import asyncio
import random
from contextlib import ExitStack
from pathlib import Path

from ledger.application import BlockingLedger, CreditLedger, LedgerUnavailable
from ledger.application.limits import WriterLimits
from ledger.domain.credits import credits_of
from ledger.store.database import Database
from ledger.store.migrate import migrate
from service.embedded_postgres import EmbeddedPostgres
from tests.faults.bookkeeping import GRANTED, assert_each_happened_once, broken_laws, issue_grants
from tests.faults.waiting_callers import WaitingCallers
from tests.faults.writing_program import HOLDERS, command_of

KILLS = 6


def test_callers_of_a_killed_server_are_answered_after_its_restart(server_folder: Path) -> None:
    """The server is killed in the middle of batches, six times; no caller hears of it."""
    chance = random.Random(3)
    with ExitStack() as servers:
        server = servers.enter_context(EmbeddedPostgres(server_folder))
        database = Database(server.dsn())
        migrate(database)
        issue_grants(database)

        async def kill_often(ledger: CreditLedger, server: EmbeddedPostgres) -> WaitingCallers:
            async with WaitingCallers.on(ledger, singles=24, lists=4, list_length=100) as callers:
                for _ in range(KILLS):
                    await callers.are_answered(chance.randrange(200, 2000))
                    await asyncio.to_thread(server.kill)
                    server = servers.enter_context(EmbeddedPostgres(server_folder))
                await callers.are_answered(500)
            return callers

        with CreditLedger(database) as ledger:
            callers = asyncio.run(kill_often(ledger, server))
            assert ledger.writer.failure is None
        assert_each_happened_once(database, callers.receipts)


def test_a_database_that_stays_away_is_told_to_the_callers_and_found_again_later(own_server: EmbeddedPostgres) -> None:
    """Nothing was under way when the server died, so the callers hear that nothing was written."""
    database = Database(own_server.dsn())
    migrate(database)
    issue_grants(database)
    with CreditLedger(database, limits=WriterLimits(outage_seconds_max=1)) as ledger:
        BlockingLedger(ledger).execute(command_of("before-0-0"))
        own_server.kill()
        outcomes = ledger.execute_many_blocking([command_of(f"away-{caller}-0") for caller in range(HOLDERS)])
        assert [(type(outcome), getattr(outcome, "outcome_unknown", None)) for outcome in outcomes] == [
            (LedgerUnavailable, False)
        ] * HOLDERS
        with EmbeddedPostgres(own_server.data_folder):
            receipt = BlockingLedger(ledger).execute(command_of("after-0-0"))
            assert ledger.writer.failure is None
            assert receipt.pool_balance == credits_of(GRANTED - 2)
            assert broken_laws(database) == {}
