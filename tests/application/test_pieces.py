"""Lists that go out in pieces while the next commands are decided: as statements when short, by COPY when long."""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any, ClassVar

import pytest
from psycopg.conninfo import make_conninfo

from ledger.application import BlockingLedger, Command, ConsumeCredits, CreditLedger, IssueGrant, Receipt, RefundDebit
from ledger.application.appending import COPY_COMMANDS_MIN, EVENTS_OF_A_COPY, FEW_COMMANDS
from ledger.application.limits import WriterLimits
from ledger.application.receipts import Outcome
from ledger.domain.credits import credits_of
from ledger.domain.refusals import IdempotencyKeyReused, InsufficientCredits, NotStorable
from ledger.domain.values import GrantType
from ledger.store.clock import Clock
from ledger.store.database import Database, Role
from tests.conftest import Hands, migrated
from tests.faults.bookkeeping import broken_laws, debits, keys
from tests.faults.cutting_proxy import CuttingProxy, Moment

GRANTED = 10**6
SIZES = [1, FEW_COMMANDS, FEW_COMMANDS + 1, 400, COPY_COMMANDS_MIN - 1, COPY_COMMANDS_MIN, 4_000, 8_000]
SIZES_IN_TURNS = [1, 41, 400, 1_600, 1]
SIZES_AT_ONCE = [1_600, 41, 700, 1_600]
WAYS = {"statements": 400, "COPY, in turns": EVENTS_OF_A_COPY + 600}
BOTH_WAYS = pytest.mark.parametrize("size", WAYS.values(), ids=WAYS)
PLACES = {"first": 0, "middle": 0.6, "last": 1}
EVERYWHERE = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
POISON = "poison"
KILLED = "the writer that is killed"


def use(count: int, *, keys: str | None = None, holder: str = "acme", amount: int = 1) -> list[Command]:
    """Debits of a holder, keyed with a text and their number."""
    return [
        ConsumeCredits(
            holder=holder, currency="c", amount=amount, idempotency_key=None if keys is None else f"{keys}-{number}"
        )
        for number in range(count)
    ]


def grant(holder: str = "acme", amount: int = GRANTED, **fields: Any) -> IssueGrant:
    return IssueGrant(holder=holder, currency="c", amount=amount, display_name="g", grant_type=GrantType.PAID, **fields)


def receipts(outcomes: Sequence[Outcome]) -> list[Receipt]:
    found = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    assert len(found) == len(outcomes), [outcome for outcome in outcomes if not isinstance(outcome, Receipt)][:3]
    return found


def assert_written_once(database: Database, answered: Sequence[Outcome], *, debited: int) -> None:
    """The log has so many debits, all of them among these answers, each answered once; and it keeps its laws."""
    told = [outcome.transaction_id for outcome in receipts(answered) if not outcome.replayed]
    assert len(set(told)) == len(told)
    recorded = debits(database)
    assert recorded.keys() <= set(told)
    assert len(recorded) == debited
    assert broken_laws(database) == {}


@pytest.mark.parametrize("keyed", [True, False], ids=["with keys", "without keys"])
def test_lists_of_every_size_are_written_in_their_order(
    ledger: CreditLedger, database: Database, clock: Clock, keyed: bool
) -> None:
    [granted] = receipts(ledger.execute_many_blocking([grant()]))
    answered: list[Receipt] = [granted]
    for size in SIZES:
        commands = use(size, keys=f"list of {size}" if keyed else None)
        answered += receipts(ledger.execute_many_blocking(commands))
    count = sum(SIZES)
    assert [receipt.position for receipt in answered] == list(range(1, count + 2))
    assert [receipt.pool_balance for receipt in answered] == [credits_of(GRANTED - used) for used in range(count + 1)]
    assert_written_once(database, answered, debited=count)
    if keyed:
        assert sorted(keys(database).values()) == sorted(receipt.transaction_id for receipt in answered[1:])
        with CreditLedger(database, clock=clock) as restarted:
            again = restarted.execute_many_blocking(commands)
        assert again == [receipt._replace(replayed=True) for receipt in answered[-SIZES[-1] :]]
        assert len(debits(database)) == count


@EVERYWHERE
@BOTH_WAYS
def test_a_taken_key_is_answered_as_before_wherever_it_stands(
    ledger: CreditLedger, database: Database, clock: Clock, size: int, place: float
) -> None:
    _, first = receipts(ledger.execute_many_blocking([grant(), *use(1, keys="taken")]))
    with CreditLedger(database, clock=clock) as restarted:  # it does not yet expect that keys are taken
        commands = use(size, keys="fresh")
        index = int(place * size)
        outcomes = receipts(
            restarted.execute_many_blocking([*commands[:index], *use(1, keys="taken"), *commands[index:]])
        )
    assert outcomes.pop(index) == first._replace(replayed=True)
    assert [outcome.pool_balance for outcome in outcomes] == [credits_of(GRANTED - 2 - used) for used in range(size)]
    assert_written_once(database, [first, *outcomes], debited=size + 1)


@BOTH_WAYS
@pytest.mark.parametrize("amount", [GRANTED, 1], ids=["the same", "another"])
def test_a_command_that_is_refused_is_not_answered_by_a_later_one_of_its_list_with_its_key(
    ledger: CreditLedger, database: Database, size: int, amount: int
) -> None:
    ledger.execute_many_blocking([grant(amount=size)])
    first, last = use(1, keys="late", amount=GRANTED), use(1, keys="late", amount=amount)
    refused, *outcomes = ledger.execute_many_blocking([*first, grant(), *use(size), *last])
    assert isinstance(refused, InsufficientCredits)
    accepted = receipts(outcomes)[-1]
    assert not accepted.replayed
    early, *_, late = ledger.execute_many_blocking([*first, *use(size - 1, holder="nobody"), *last])
    assert late == accepted._replace(replayed=True)
    assert isinstance(early, Receipt if amount == GRANTED else IdempotencyKeyReused)
    assert broken_laws(database) == {}


def unsendable(command: Command) -> Command:
    """Past the door, what no text of PostgreSQL can be: it fails here, when its piece is about to be sent."""
    command.correlation_id = "\ud800"
    return command


@dataclass(frozen=True)
class Culprit:
    """A command, and what keeps it from being written."""

    command: Command
    table: str | None = None
    turned_down: str = ""


POISONED_USE = use(1, keys=POISON, holder=POISON)[0]
CULPRITS = {
    "its event": Culprit(POISONED_USE, "events", f"CHECK (holder <> '{POISON}' OR amount > 0)"),
    "its key": Culprit(POISONED_USE, "idempotency", f"CHECK (key <> '{POISON}-0')"),
    "its open lot": Culprit(grant(POISON), "open_lots", f"CHECK (holder <> '{POISON}')"),
    "its text": Culprit(unsendable(use(1)[0])),
}


@EVERYWHERE
@BOTH_WAYS
def test_a_command_that_cannot_be_written_fails_alone_wherever_it_stands(
    ledger: CreditLedger, database: Database, size: int, place: float
) -> None:
    assert_fails_alone(ledger, database, CULPRITS["its event"], size, int(place * size))


@BOTH_WAYS
@pytest.mark.parametrize("culprit", ["its key", "its open lot", "its text"])
def test_a_command_that_cannot_be_written_fails_alone_whatever_it_fails_at(
    ledger: CreditLedger, database: Database, culprit: str, size: int
) -> None:
    assert_fails_alone(ledger, database, CULPRITS[culprit], size, size // 3)


def assert_fails_alone(ledger: CreditLedger, database: Database, culprit: Culprit, size: int, place: int) -> None:
    ledger.execute_many_blocking([grant(), grant(POISON)])
    if culprit.table is not None:
        with database.connect(Role.OWNER) as connection:
            connection.execute(
                f"ALTER TABLE {culprit.table} ADD CONSTRAINT no {culprit.turned_down} NOT VALID".encode()
            )
    commands = use(size, keys="neighbour")
    outcomes = ledger.execute_many_blocking([*commands[:place], culprit.command, *commands[place:]])
    assert isinstance(outcomes.pop(place), NotStorable)
    answered = receipts(outcomes)
    assert [receipt.pool_balance for receipt in answered] == [credits_of(GRANTED - 1 - used) for used in range(size)]
    assert [receipt.position for receipt in answered] == list(range(3, size + 3))
    assert_written_once(database, answered, debited=size)
    assert len(keys(database)) == size


@BOTH_WAYS
def test_what_only_the_commit_finds_out_fails_alone(ledger: CreditLedger, database: Database, size: int) -> None:
    """The second debit of seven from one lot."""
    seven = "EXCLUDE (lot WITH =) WHERE (amount = -7) DEFERRABLE INITIALLY DEFERRED"
    with database.connect(Role.OWNER) as connection:
        connection.execute(f"ALTER TABLE events ADD CONSTRAINT no {seven}".encode())
    ledger.execute_many_blocking([grant(), *use(1, amount=7)])
    outcomes = ledger.execute_many_blocking([*use(size - 20), *use(1, amount=7), *use(20)])
    assert isinstance(outcomes.pop(size - 20), NotStorable)
    assert receipts(outcomes)[-1].pool_balance == credits_of(GRANTED - 7 - size)
    assert broken_laws(database) == {}


def mixed(first: Sequence[Receipt], count: int) -> list[Command]:
    """Debits that empty lots, refunds that open them again, new grants, replays, reused keys and refusals."""
    commands: list[Command] = []
    for number in range(count):
        debit = first[number % len(first)]
        key, texts = f"mixed-{number}", {"n": str(number % 7)}
        commands += [
            ConsumeCredits(holder="acme", currency="c", amount=3, idempotency_key=key, dimensions=texts),
            RefundDebit(transaction_id=debit.transaction_id, amount="0.01", idempotency_key=key),
            grant(amount=2, idempotency_key=f"g-{number}"),
            ConsumeCredits(holder="acme", currency="c", amount=3, idempotency_key=f"mixed-{number // 2}"),
            ConsumeCredits(holder="acme", currency="c", amount=4, idempotency_key=f"mixed-{number // 3}"),
            ConsumeCredits(holder="acme", currency="c", amount=GRANTED, idempotency_key=f"never-{number}"),
            ConsumeCredits(holder="nobody", currency="c", amount=1),
            grant(amount=2, idempotency_key=f"g-{number // 2}"),
        ]
    return commands


def lived(ledger: CreditLedger, database: Database, lengths: Sequence[int]) -> tuple[list[tuple[Any, ...]], list[Any]]:
    """What the mixed commands were answered with, in lists of these lengths by turns, and what is open afterwards."""
    ledger.execute_many_blocking([grant(amount=5) for _ in range(20)])
    first = receipts(ledger.execute_many_blocking(use(10, amount=10)))
    commands = mixed(first, 300)
    outcomes: list[Outcome] = []
    for length in itertools.cycle(lengths):
        outcomes += ledger.execute_many_blocking(commands[len(outcomes) : len(outcomes) + length])
        if len(outcomes) == len(commands):
            break
    told = [
        (outcome.position, outcome.amount, outcome.pool_balance, outcome.replayed)
        if isinstance(outcome, Receipt)
        else (type(outcome).__name__,)
        for outcome in outcomes
    ]
    with database.connect(None) as connection:
        numbers = "SELECT stream_id, row_number() OVER (ORDER BY min(position)) AS n FROM events GROUP BY 1"
        rows = connection.execute(
            f"SELECT n FROM ({numbers}) AS s JOIN open_lots USING (stream_id) ORDER BY n".encode()
        ).fetchall()
    assert broken_laws(database) == {}
    return told, rows


def test_however_commands_are_sent_they_are_answered_and_written_alike(
    ledger: CreditLedger, database: Database, clock: Clock, hands: Hands, server_dsn: str
) -> None:
    by_copy = lived(ledger, database, [3_000])
    assert {len(told) for told in by_copy[0]} == {1, 4}
    with migrated(server_dsn) as another:
        Hands(another)
        with CreditLedger(another, clock=clock) as others:
            assert lived(others, another, [397, 13, 1]) == by_copy


def test_two_writers_in_turns_and_at_once(database: Database, clock: Clock, hands: Hands) -> None:
    with CreditLedger(database, clock=clock) as one, CreditLedger(database, clock=clock) as other:
        one.execute_many_blocking([grant()])
        answered: list[Outcome] = []
        for size, ledger in zip(SIZES_IN_TURNS * 2, itertools.cycle([one, other]), strict=False):
            answered += ledger.execute_many_blocking(use(size, keys=f"{len(answered)}"))
        assert [receipt.position for receipt in receipts(answered)] == list(range(2, 2 + len(answered)))
        with ThreadPoolExecutor(2) as threads:
            parts = threads.map(
                lambda ledger: [ledger.execute_many_blocking(use(size)) for size in (1_600, 41, 700, 1_600)],
                (one, other),
            )
            answered += [outcome for lists in parts for outcomes in lists for outcome in outcomes]
    assert len(answered) == 2 * sum(SIZES_IN_TURNS) + 2 * sum(SIZES_AT_ONCE)
    assert_written_once(database, answered, debited=len(answered))


@pytest.mark.parametrize("table", ["events", "idempotency"])
def test_a_writer_goes_on_when_a_table_gets_another_column(database: Database, table: str) -> None:
    sizes = [1, 400, COPY_COMMANDS_MIN]
    with CreditLedger(database) as one, CreditLedger(database) as other:
        one.execute_many_blocking([grant()])
        for added in range(2):
            for number in range(8):  # often enough that all statements are prepared
                receipts(one.execute_many_blocking(use(1, keys=f"one {added} {number}")))
                receipts(other.execute_many_blocking(use(1, keys=f"other {added} {number}")))
            with database.connect(Role.OWNER) as connection:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN another_{added} text".encode())
        for ledger in (one, other):
            for size in sizes:
                answered = receipts(ledger.execute_many_blocking(use(size, keys=f"{size} of {id(ledger)}")))
                assert len({receipt.recorded_at for receipt in answered}) == 1  # in one piece, not by halves
    assert len(debits(database)) == 32 + 2 * sum(sizes)
    assert broken_laws(database) == {}


def test_a_long_list_is_split_where_a_batch_has_enough_events(database: Database) -> None:
    with CreditLedger(database, limits=WriterLimits(batch_events_max=COPY_COMMANDS_MIN)) as ledger:
        ledger.execute_many_blocking([grant()])
        answered = receipts(ledger.execute_many_blocking(use(3 * COPY_COMMANDS_MIN, keys="k")))
    with database.connect(Role.OWNER) as connection:
        transactions = connection.execute("SELECT count(*) AS n FROM events WHERE amount < 0 GROUP BY xmin").fetchall()
    assert transactions == [{"n": COPY_COMMANDS_MIN}] * 3
    assert_written_once(database, answered, debited=3 * COPY_COMMANDS_MIN)


class Telling(str):
    """A key that tells when it is looked for among those of its batch: its command is being decided."""

    __slots__ = ()
    looked_for: ClassVar[Event] = Event()

    def __hash__(self) -> int:
        Telling.looked_for.set()
        return str.__hash__(self)


def test_commands_are_decided_while_the_server_is_busy_with_those_before(
    ledger: CreditLedger, database: Database
) -> None:
    ledger.execute_many_blocking([grant()])
    commands = use(EVENTS_OF_A_COPY + 1_000, keys="w")
    commands[EVENTS_OF_A_COPY + 500].idempotency_key = Telling("far ahead")
    with database.connect(Role.OWNER) as owner, ThreadPoolExecutor(1) as thread:
        lock = f"pg_advisory_xact_lock({owner.info.backend_pid})"
        owner.execute(
            f"""
            CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM {lock}; RETURN NULL; END $$;
            CREATE TRIGGER wait AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION wait();
            """.encode()
        )
        with owner.transaction():
            owner.execute(f"SELECT {lock}".encode())
            sending = thread.submit(ledger.execute_many_blocking, commands)
            assert Telling.looked_for.wait(timeout=20)
            assert not sending.done()
        answered = sending.result()
    assert_written_once(database, answered, debited=len(commands))


@pytest.fixture
def proxy(database: Database) -> Iterator[CuttingProxy]:
    with CuttingProxy(database.dsn) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("size", "moments"),
    [(120, [Moment.BEFORE]), (120, [Moment.AFTER]), (EVENTS_OF_A_COPY + 200, [Moment.BEFORE, Moment.AFTER])],
    ids=["statements, before", "statements, after", "COPY, by turns"],
)
def test_a_connection_cut_at_any_message_loses_nothing_and_doubles_nothing(
    database: Database, proxy: CuttingProxy, size: int, moments: list[Moment]
) -> None:
    with CreditLedger(Database(proxy.dsn, database.schema)) as ledger:
        answered: list[Outcome] = ledger.execute_many_blocking([grant(), *use(size, keys="prepared")])[1:]
        for passing, moment in enumerate(itertools.cycle(moments)):
            proxy.cut_next(moment, b"", b"", passing=passing)
            answered += ledger.execute_many_blocking(use(size, keys=f"cut-{passing}"))
            if not proxy.has_cut:
                break
    assert passing > 15
    assert len(receipts(answered)) == size * (passing + 2)
    assert_written_once(database, answered, debited=len(answered))


@BOTH_WAYS
def test_a_writer_whose_session_is_killed_under_way_loses_nothing_and_doubles_nothing(
    database: Database, size: int
) -> None:
    statement = "COPY events%%" if size >= COPY_COMMANDS_MIN else "%%INSERT INTO events%%"
    kill = f"""
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = '{KILLED}' AND state = 'active' AND query LIKE '{statement}' AND %s"""
    kills = 0
    named = Database(make_conninfo(database.dsn, application_name=KILLED), database.schema)
    with CreditLedger(named) as ledger, database.connect(None) as connection, ThreadPoolExecutor(1) as thread:
        answered: list[Outcome] = ledger.execute_many_blocking([grant(), *use(1)])[1:]
        for number in range(100):
            sending = thread.submit(ledger.execute_many_blocking, use(size, keys=f"list-{number}"))
            while not sending.done():
                kills += len(connection.execute(kill.encode(), [kills < 2 * number + 2]).fetchall())
            answered += sending.result()
            if kills >= 8:
                break
        assert ledger.writer.failure is None
    assert kills >= 8
    assert_written_once(database, receipts(answered), debited=len(answered))


def test_the_books_are_right_for_a_reader_that_never_saw_the_pieces(
    ledger: CreditLedger, database: Database, clock: Clock
) -> None:
    books = BlockingLedger(ledger)
    books.issue_grant(holder="acme", currency="c", amount=2_000, display_name="g", grant_type="PAID")
    ledger.execute_many_blocking([*use(1_999), grant(amount=5), *use(3)])
    with CreditLedger(database, clock=clock) as restarted:
        assert BlockingLedger(restarted).consume(holder="acme", currency="c", amount=3).pool_balance == 0
