"""A writing process that is killed with -9 loses nothing it acknowledged and doubles nothing."""

import random
from collections import deque

from ledger.store.database import Database
from tests.faults.bookkeeping import assert_once_when_sent_again, issue_grants
from tests.faults.programs import Program, Programs
from tests.faults.writing_program import keys_of_call

KILLS = 100
ALIVE = 3
"""So many write at a time: one is killed while the others wait for the lock or start."""
SINGLES, LISTS, LIST_LENGTH = 20, 4, 40


def keys_that_may_have_been_sent(name: str, program: Program) -> list[str]:
    """What was acknowledged, and of each caller the call behind that: nobody has more than one under way."""
    sent: list[str] = []
    for caller in range(SINGLES + LISTS):
        length = LIST_LENGTH if caller >= SINGLES else 0
        call = 0
        while True:
            keys = keys_of_call(name, caller, call, length)
            sent += keys
            if keys[0] not in program.acknowledged:
                break
            call += 1
    return sent


def test_a_writer_killed_at_any_moment_keeps_its_word(database: Database, programs: Programs) -> None:
    """A hundred processes are killed at random moments; every answer given stands, every key happens once."""
    issue_grants(database)
    chance = random.Random(1)
    orders = {"singles": SINGLES, "lists": LISTS, "list_length": LIST_LENGTH}
    alive: deque[tuple[str, Program]] = deque()
    acknowledged: dict[str, str] = {}
    sent: list[str] = []
    for number in range(KILLS + ALIVE - 1):
        name = f"p{number}"
        alive.append((name, programs.start(database, "write", program=name, **orders)))
        if len(alive) == ALIVE:
            name, program = alive.popleft()
            program.acknowledges_more(chance.choice([0, 1, 1, 40]))
            program.read_for(chance.uniform(0, 0.03))
            program.kill()
            acknowledged |= program.acknowledged
            sent += keys_that_may_have_been_sent(name, program)
    for name, program in alive:
        program.kill()
        acknowledged |= program.acknowledged
        sent += keys_that_may_have_been_sent(name, program)
    assert acknowledged
    assert set(acknowledged) <= set(sent)
    assert_once_when_sent_again(database, acknowledged, sent)
