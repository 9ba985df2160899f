"""The writer's wire on a real PostgreSQL: answers in order, failures wherever they come, and always a way back."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.store.database import Database, idle
from ledger.store.wire import Wire

TABLES = """
    CREATE TEMP TABLE numbers (number int CONSTRAINT one_of_each PRIMARY KEY, text text);
    CREATE TEMP TABLE late (number int CONSTRAINT late_one UNIQUE DEFERRABLE INITIALLY DEFERRED);
    INSERT INTO late VALUES (1)"""
ADD = "INSERT INTO numbers (number) VALUES (%s::int)"
ADD_LATE = "INSERT INTO late VALUES (%s::int)"
ECHO = "SELECT %s::text AS text"
COUNT = "SELECT count(*) AS n FROM numbers"
COPY = "COPY numbers FROM STDIN"
LARGE = 4_000_000
"""Bytes that no socket's buffer holds."""
ROWS = "".join(f"{number}\t{'x' * 80}\n" for number in range(50_000))


@pytest.fixture
def connection(schema: Database) -> Iterator[Connection[DictRow]]:
    with schema.connect(None) as connection:
        connection.execute(TABLES)
        yield connection


@pytest.fixture
def wire(connection: Connection[DictRow]) -> Iterator[Wire]:
    wire = Wire(connection)
    yield wire
    wire.close()


def count(wire: Wire) -> int:
    wire.send(COUNT)
    [[row]] = wire.answers()
    return int(row["n"])


def prepared(connection: Connection[DictRow]) -> list[str]:
    return [row["name"] for row in connection.execute("SELECT name FROM pg_prepared_statements ORDER BY prepare_time")]


def end_session(schema: Database, connection: Connection[DictRow]) -> None:
    """End it by the server, and wait until it has."""
    victim = [connection.info.backend_pid]
    with schema.connect(None) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", victim)


def test_answers_come_in_order_as_a_cursor_gives_them(connection: Connection[DictRow], wire: Wire) -> None:
    typed = "SELECT '{1,2}'::text[] AS a, 1.5::numeric(38, 9) AS b, now() AS c, ''::text AS d, NULL AS e"
    wire.send("BEGIN")
    wire.send(typed)
    for number in range(100):
        wire.send(ADD, str(number))
    wire.send("SELECT number FROM numbers WHERE number > %(least)s ORDER BY number", "97")
    wire.send("SELECT number FROM numbers WHERE false")
    begun, row, *added, found, nothing = wire.answers()
    assert row == connection.execute(typed).fetchall()
    assert [begun, *added] == [[]] * 101
    assert (found, nothing) == ([{"number": 98}, {"number": 99}], [])
    assert wire.answers() == []
    wire.send("COMMIT")
    assert wire.answers() == [[]]
    assert idle(connection)


def test_a_statement_is_prepared_once_and_found_by_its_first_word(connection: Connection[DictRow], wire: Wire) -> None:
    for text in ("one", "two"):
        for _ in range(2):
            wire.send(f"-- of {text}\n{ECHO}", text)
        assert wire.answers() == [[{"text": text}]] * 2
    wire.send("COMMIT")
    wire.answers()
    assert prepared(connection) == ["wire_1_SELECT", "wire_2_SELECT", "wire_3_COMMIT"]


@pytest.mark.parametrize("place", [0, 50, 100])
def test_the_first_failure_is_raised_and_undoes_all(connection: Connection[DictRow], wire: Wire, place: int) -> None:
    connection.execute("INSERT INTO numbers VALUES (-1)")
    numbers = list(range(100))
    numbers.insert(place, -1)
    wire.send("BEGIN")
    for number in numbers:
        wire.send(ADD, str(number))
        wire.flush()
    wire.send("SELECT 1 / 0 AS never")
    wire.send("COMMIT")
    with pytest.raises(psycopg.errors.UniqueViolation) as raised:
        wire.answers()
    assert raised.value.diag.constraint_name == "one_of_each"
    wire.give_up()
    assert idle(connection)
    assert count(wire) == 1


def test_what_could_not_be_prepared_is_prepared_when_it_is_sent_again(
    connection: Connection[DictRow], wire: Wire
) -> None:
    wire.send("SELECT * FROM later")
    wire.send(ADD, "1")  # never looked at by the server
    wire.send(ADD, "2")
    with pytest.raises(psycopg.errors.UndefinedTable):
        wire.answers()
    connection.execute("CREATE TEMP TABLE later AS SELECT 7 AS seven")
    wire.send("SELECT * FROM later")
    wire.send(ADD, "1")
    assert wire.answers() == [[{"seven": 7}], []]
    assert count(wire) == 1


@pytest.mark.parametrize(
    ("statement", "value"),
    [("NOTIFY", None), ("SELECT 1 / %s::int", "0"), (ADD_LATE, "1")],
    ids=["when it is prepared", "when it is carried out", "when its own transaction ends"],
)
def test_the_failure_of_a_statement_that_may_fail_harms_nothing(
    connection: Connection[DictRow], wire: Wire, caplog: pytest.LogCaptureFixture, statement: str, value: str | None
) -> None:
    for number in range(2):
        wire.send("BEGIN")
        wire.send(ADD, str(number))
        wire.send("COMMIT")
        wire.send(statement, value, may_fail=True)
        assert wire.answers()[:3] == [[]] * 3
        assert idle(connection)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert count(wire) == 2


def test_a_failure_before_one_that_may_fail_is_raised(connection: Connection[DictRow], wire: Wire) -> None:
    wire.send("BEGIN")
    wire.send("SELECT 1 / 0")
    wire.send("COMMIT")
    wire.send("NOTIFY nobody", may_fail=True)
    with pytest.raises(psycopg.errors.DivisionByZero):
        wire.answers()


def test_a_failure_at_the_very_end_is_raised(connection: Connection[DictRow], wire: Wire) -> None:
    """The last statement is a transaction of its own, which fails when everything in it is done."""
    wire.send(ADD, "1")
    wire.send(ADD_LATE, "1")
    with pytest.raises(psycopg.errors.UniqueViolation):
        wire.answers()
    assert idle(connection)
    assert count(wire) == 0


def test_a_commit_that_fails_is_raised(connection: Connection[DictRow], wire: Wire) -> None:
    wire.send("BEGIN")
    wire.send(ADD_LATE, "1")
    wire.send("COMMIT")
    wire.send("NOTIFY nobody", may_fail=True)
    with pytest.raises(psycopg.errors.UniqueViolation):
        wire.answers()
    assert idle(connection)


def test_an_answer_that_cannot_be_read_leaves_the_wire_as_it_was(connection: Connection[DictRow], wire: Wire) -> None:
    wire.send("SELECT 0.1::numeric AS no_amount_of_ours")
    wire.send(ECHO, "behind it")
    with pytest.raises(ValueError):  # noqa: PT011  # whatever the loader says
        wire.answers()
    wire.send(ECHO, "next")
    assert wire.answers() == [[{"text": "next"}]]


def test_a_value_that_cannot_be_sent_leaves_a_way_back(connection: Connection[DictRow], wire: Wire) -> None:
    wire.send("BEGIN")
    with pytest.raises(UnicodeEncodeError):
        wire.send(ECHO, "\ud800")
    wire.give_up()
    assert idle(connection)
    wire.send(ECHO, "next")
    assert wire.answers() == [[{"text": "next"}]]


def test_values_larger_than_any_buffer_travel_both_ways_at_once(wire: Wire) -> None:
    values = [str(number) * LARGE for number in range(6)]
    for value in values:
        wire.send(ECHO, value)
        wire.flush()
    assert wire.answers() == [[{"text": value}] for value in values]


def test_a_copy_takes_more_than_any_buffer_holds(wire: Wire) -> None:
    wire.copy_begin(COPY)
    wire.copy(ROWS)
    wire.copy_end()
    wire.copy_done()
    assert count(wire) == 50_000


@pytest.fixture
def wait(connection: Connection[DictRow]) -> str:
    """Has the server wait for an advisory lock: a statement, but not for ever."""
    connection.execute("SET lock_timeout = '20s'")
    return f"SELECT pg_advisory_xact_lock({connection.info.backend_pid})"


@contextmanager
def server_waits(schema: Database, wait: str) -> Iterator[None]:
    with schema.connect(None) as other, other.transaction():
        other.execute(wait)
        yield


def test_a_copy_is_handed_on_while_the_server_waits_and_tells_when_it_is_taken_in(
    schema: Database, connection: Connection[DictRow], wire: Wire, wait: str
) -> None:
    connection.execute(f"""
        CREATE FUNCTION pg_temp.wait() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM 1 FROM ({wait}) AS lock; RETURN new; END $$""")
    connection.execute("CREATE TRIGGER wait BEFORE INSERT ON numbers FOR EACH ROW EXECUTE FUNCTION pg_temp.wait()")
    with server_waits(schema, wait):
        wire.copy_begin(COPY)
        wire.copy(ROWS)
        wire.copy_end()
        assert not wire.copied()
    ends = time.monotonic() + 20
    while not wire.copied():
        assert time.monotonic() < ends
    wire.copy_done()
    assert count(wire) == 50_000


def test_statements_are_handed_on_while_the_server_waits(schema: Database, wire: Wire, wait: str) -> None:
    with server_waits(schema, wait):
        wire.send(wait)
        wire.send(ECHO, "x" * LARGE)
        wire.flush()
    assert wire.answers()[1:] == [[{"text": "x" * LARGE}]]


def test_a_copy_goes_on_while_the_server_tells_more_than_any_buffer_holds(
    connection: Connection[DictRow], wire: Wire
) -> None:
    connection.execute("SET client_min_messages = notice")
    connection.execute("""
        CREATE FUNCTION pg_temp.tell() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE NOTICE '%', repeat('n', 2000); RETURN new; END $$""")
    connection.execute("CREATE TRIGGER tell BEFORE INSERT ON numbers FOR EACH ROW EXECUTE FUNCTION pg_temp.tell()")
    test_a_copy_takes_more_than_any_buffer_holds(wire)


@pytest.mark.parametrize("begun", [False, True], ids=["alone", "in a transaction"])
@pytest.mark.parametrize(
    ("statement", "rows", "error"),
    [
        ("COPY nowhere FROM STDIN", None, psycopg.errors.UndefinedTable),
        (COPY, "1\tx\n1\ty\n", psycopg.errors.UniqueViolation),
        (COPY, "one\tx\n" + ROWS, psycopg.errors.InvalidTextRepresentation),
        (COPY, ROWS + "0\ttwice\n", psycopg.errors.UniqueViolation),
        ("COPY late FROM STDIN", "1\n", psycopg.errors.UniqueViolation),
    ],
    ids=["at once", "in its row", "long before its end", "in its last row", "when its own transaction ends"],
)
def test_a_copy_that_is_refused_says_so_and_takes_nothing(
    connection: Connection[DictRow], wire: Wire, begun: bool, statement: str, rows: str | None, error: type[Exception]
) -> None:
    def copy_all() -> None:
        wire.copy_begin(statement)
        wire.copy(rows or "")
        wire.copy_end()
        wire.copy_done()
        wire.send("COMMIT")
        wire.answers()

    if begun:
        wire.send("BEGIN")
        wire.answers()
    with pytest.raises(error):
        copy_all()
    wire.give_up()
    assert idle(connection)
    assert count(wire) == 0


def nothing(wire: Wire) -> None:
    pass


def answered(wire: Wire) -> None:
    wire.send("BEGIN")
    wire.send(ADD, "1")
    wire.answers()


def sent(wire: Wire) -> None:
    answered(wire)
    wire.send(ADD, "2")
    wire.send(ECHO, "x" * LARGE)


def flushed(wire: Wire) -> None:
    sent(wire)
    wire.flush()


def failing(wire: Wire) -> None:
    answered(wire)
    wire.send(ADD, "1")
    wire.send("SELECT 'never prepared'")
    wire.flush()


def failed(wire: Wire) -> None:
    failing(wire)
    with pytest.raises(psycopg.errors.UniqueViolation):
        wire.answers()


def copy_begun(wire: Wire) -> None:
    answered(wire)
    wire.copy_begin(COPY)


def copying(wire: Wire) -> None:
    copy_begun(wire)
    wire.copy("2\tx\n3\tcut in the mid")


def copying_refused_rows(wire: Wire) -> None:
    copy_begun(wire)
    wire.copy("1\ttwice\n" + ROWS)


def copy_ended(wire: Wire) -> None:
    copy_begun(wire)
    wire.copy("2\tx\n")
    wire.copy_end()


def copy_ended_far_ahead(wire: Wire) -> None:
    copy_begun(wire)
    wire.copy(ROWS[ROWS.index("2\t") :])
    wire.copy_end()


def copy_refused(wire: Wire) -> None:
    copy_begun(wire)
    wire.copy("1\ttwice\n")
    wire.copy_end()
    with pytest.raises(psycopg.errors.UniqueViolation):
        wire.copy_done()


def copied(wire: Wire) -> None:
    copy_ended(wire)
    wire.copy_done()


STATES = [
    nothing, answered, sent, flushed, failing, failed, copy_begun, copying, copying_refused_rows, copy_ended,
    copy_ended_far_ahead, copy_refused, copied,
]  # fmt: skip
LEFT_BEHIND = [state for state in STATES if state is not nothing]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_there_is_a_way_back_from_everywhere(
    connection: Connection[DictRow], wire: Wire, state: Callable[[Wire], None]
) -> None:
    for _ in range(2):  # the second time nothing is prepared anew
        state(wire)
        wire.give_up()
        assert idle(connection)
    assert count(wire) == 0
    wire.send(ADD, "1")
    wire.send("SELECT 'never prepared' AS now")
    assert wire.answers() == [[], [{"now": "never prepared"}]]
    assert connection.execute(COUNT).fetchall() == [{"n": 1}]


@pytest.mark.parametrize("state", LEFT_BEHIND, ids=lambda state: state.__name__)
def test_a_lost_connection_is_told_wherever_it_is_met(
    schema: Database, connection: Connection[DictRow], wire: Wire, state: Callable[[Wire], None]
) -> None:
    state(wire)
    end_session(schema, connection)
    with pytest.raises(psycopg.OperationalError):
        wire.give_up()
    assert not idle(connection)
    with pytest.raises(psycopg.OperationalError):
        wire.give_up()


@pytest.mark.parametrize("large", [False, True], ids=["little", "more than a buffer"])
def test_a_connection_that_was_lost_while_it_was_idle_is_told_by_the_answers(
    schema: Database, connection: Connection[DictRow], wire: Wire, large: bool
) -> None:
    end_session(schema, connection)
    with pytest.raises(psycopg.OperationalError):  # noqa: PT012  # which of them finds out is the network's matter
        for _ in range(3):
            wire.send(ECHO, "x" * (LARGE if large else 1))
            wire.flush()
        wire.answers()
    assert not idle(connection)


@pytest.mark.parametrize("state", [copy_begun, copying], ids=lambda state: state.__name__)
def test_a_connection_that_is_lost_within_a_copy_is_told_at_its_end_at_the_latest(
    schema: Database, connection: Connection[DictRow], wire: Wire, state: Callable[[Wire], None]
) -> None:
    state(wire)
    end_session(schema, connection)
    with pytest.raises(psycopg.OperationalError):  # noqa: PT012  # as above
        wire.copy(ROWS)
        wire.copy(ROWS)
        wire.copy_end()
        wire.copy_done()
    assert not idle(connection)
