"""Several processes write one log while others read it as it grows."""

from ledger.store.database import Database, Role
from tests.faults.bookkeeping import assert_once_when_sent_again, issue_grants
from tests.faults.programs import Program, Programs
from tests.faults.writing_program import HOLDERS, TAIL, digest_of

WRITERS, READERS = 4, 4
SINGLES, LISTS, LIST_LENGTH, CALLS = 25, 2, 50, 100
EVENTS = HOLDERS + WRITERS * CALLS * (SINGLES + LISTS * LIST_LENGTH)


def polls_of(reader: Program) -> int:
    """How many times a reader found something new."""
    [name] = reader.acknowledged
    return int(name.removeprefix("tail-"))


def test_readers_that_tail_four_writers_miss_nothing_and_see_it_in_order(
    database: Database, programs: Programs
) -> None:
    """50,000 events: each reader reads positions 1, 2, 3 ... and exactly the rows that are there in the end."""
    assert EVENTS >= 50_000
    readers = [programs.start(database, "tail", until=EVENTS) for _ in range(READERS)]
    issue_grants(database)
    orders = {"singles": SINGLES, "lists": LISTS, "list_length": LIST_LENGTH, "calls": CALLS}
    writers = [programs.start(database, "write", program=f"w{number}", **orders) for number in range(WRITERS)]
    for program in [*writers, *readers]:
        program.read_to_the_end()
    with database.connect(Role.READER) as connection:
        log = connection.execute(TAIL, [0]).fetchall()
    assert [row["position"] for row in log] == list(range(1, EVENTS + 1))
    assert [list(reader.acknowledged.values()) for reader in readers] == [[digest_of(log)]] * READERS
    assert all(polls_of(reader) > 1 for reader in readers), "they read while it was written"
    acknowledged = {key: transaction for writer in writers for key, transaction in writer.acknowledged.items()}
    assert_once_when_sent_again(database, acknowledged, list(acknowledged))
