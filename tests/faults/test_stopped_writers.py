"""A writing process that is stopped while it holds the lock holds nobody for long, and goes on when it is resumed."""

import time

import pytest

from ledger.application import CreditLedger, Receipt
from ledger.store.database import Database
from tests.faults.bookkeeping import assert_once_when_sent_again, issue_grants
from tests.faults.programs import Program, Programs
from tests.faults.writing_program import command_of, keys_of_call

ROUNDS = 2
STOPS_MAX = 500
LIST_LENGTH = 4000
IDLE = "state = 'idle in transaction'"
IN_A_COPY = "state = 'active' AND query LIKE 'COPY %%'"
WAITS_FOR_ITS_CLIENT = " AND wait_event = 'ClientRead'"
HOLDER_OF_THE_LOCK = """
    SELECT pid FROM pg_stat_activity JOIN pg_locks USING (pid)
    WHERE locktype = 'advisory' AND granted AND objid = %s::regnamespace::oid AND """
SETTLED_SECONDS = 0.03
"""So long a stopped process must be seen in one state: the server first takes in what was on its way."""


def stop_while(database: Database, program: Program, state: str) -> None:
    """Stop the process at a moment at which its session holds the lock, is in `state` and waits for its client."""
    moment = HOLDER_OF_THE_LOCK + state
    with database.connect(None) as connection:

        def seen(more: str = "") -> bool:
            return bool(connection.execute((moment + more).encode(), [database.schema]).fetchall())

        def stays() -> bool:
            deadline = time.monotonic() + SETTLED_SECONDS
            while seen(WAITS_FOR_ITS_CLIENT):
                if time.monotonic() > deadline:
                    return True
            return False

        for _ in range(STOPS_MAX):
            while not seen():
                program.read(0)
            program.stop()
            if stays():
                return
            program.resume()
        raise AssertionError("it was never stopped in time")


@pytest.mark.parametrize("state", [IDLE, IN_A_COPY], ids=["idle in its transaction", "in the middle of a COPY"])
def test_writers_go_on_past_a_stopped_one_and_it_goes_on_when_it_is_resumed(
    database: Database, programs: Programs, state: str
) -> None:
    issue_grants(database)
    program = programs.start(database, "write", program="s", singles=0, lists=1, list_length=LIST_LENGTH)
    program.acknowledges_more(LIST_LENGTH)
    acknowledged: dict[str, str] = {}
    with CreditLedger(database) as ledger:
        for number in range(ROUNDS):
            stop_while(database, program, state)
            keys = [f"other{number}-{caller}-0" for caller in range(40)]
            for key, outcome in zip(keys, ledger.execute_many_blocking(list(map(command_of, keys))), strict=True):
                assert isinstance(outcome, Receipt), repr(outcome)
                acknowledged[key] = outcome.transaction_id
            program.resume()
            program.acknowledges_more(1)
        assert ledger.writer.failure is None
    program.kill()
    acknowledged |= program.acknowledged
    last = keys_of_call("s", 0, len(program.acknowledged) // LIST_LENGTH, LIST_LENGTH)
    assert_once_when_sent_again(database, acknowledged, list(dict.fromkeys([*acknowledged, *last])))
