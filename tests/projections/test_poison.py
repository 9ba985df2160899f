"""The event that a read model cannot fold is named, wherever it lies; what comes before its transaction is folded."""

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application import BlockingLedger
from ledger.domain.values import Kind
from ledger.store.clock import Clock
from ledger.store.database import Database, Role
from projections.poison import Poison, stop_before_poison
from projections.pruning import prune
from projections.read_model import BALANCES, ENTRIES, EXECUTION_CREDITS, READ_MODELS, ReadModel
from projections.reading import Reader
from projections.registry import Skip, begin_shadow, kept_of, position_of, prepare, shadow_of, skip
from projections.runner import WINDOW_EVENTS_MAX, Runner, advance
from tests.conftest import START
from tests.service.load import eventually

COMPANIES = 7
SECONDS_MAX = 20.0


def open_and_use(books: BlockingLedger) -> None:
    """Of each company three events: a credit is defined and granted in one transaction, and used in another."""
    for number in range(COMPANIES):
        company = f"company {number}"
        books.open_execution_credit(company=company, credit_type="DAST", credits=9, rollup_type="MONTHLY")
        books.consume(holder=company, currency="DAST", amount=1, kind=Kind.EXECUTION_CREDIT)


def stopped(connection: Connection[DictRow], model: ReadModel) -> Poison | None:
    with pytest.raises(psycopg.Error) as refused:
        advance(connection, model)
    return stop_before_poison(connection, model, WINDOW_EVENTS_MAX, refused.value)


@pytest.mark.parametrize("number", range(COMPANIES))
def test_an_event_is_blamed_for_itself_and_not_for_where_its_transaction_was_cut(
    books: BlockingLedger, database: Database, number: int
) -> None:
    """Execution credits cannot be folded up to between a definition and its grant, wherever the halves meet."""
    open_and_use(books)
    with database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        connection.execute(
            EXECUTION_CREDITS.sql(f"ALTER TABLE {{table}} ADD CHECK (company <> 'company {number}' OR used = 0)")
        )
        poison = stopped(connection, EXECUTION_CREDITS)
        assert poison is not None
        assert poison.position == 3 * number + 3
        assert position_of(connection, EXECUTION_CREDITS) == 3 * number + 2


def test_an_event_inside_of_a_transaction_is_named_and_the_transaction_left_whole(
    books: BlockingLedger, database: Database
) -> None:
    for _ in range(6):
        books.issue_grant(holder="acme", currency="credits", amount=1, display_name="grant", grant_type="PAID")
    books.consume(holder="acme", currency="credits", amount=5)
    with database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        connection.execute(ENTRIES.sql("ALTER TABLE {table} ADD CHECK (position <> 9)"))
        connection.execute(BALANCES.sql("ALTER TABLE {table} ADD CHECK (debited < 3)"))
        for model in (ENTRIES, BALANCES):
            poison = stopped(connection, model)
            assert poison is not None
            assert poison.position == 9, "the third draw of the debit"
            assert position_of(connection, model) == 6


LIMIT = """
CREATE FUNCTION exceed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'too much for an index' USING ERRCODE = 'program_limit_exceeded'; END $$;
CREATE TRIGGER exceeded BEFORE INSERT ON {table} FOR EACH ROW WHEN (NEW.position = 3) EXECUTE FUNCTION exceed()
"""


def test_a_limit_that_a_row_exceeds_stops_one_read_model_and_not_the_runner(
    books: BlockingLedger, database: Database, clock: Clock
) -> None:
    """The driver calls it operational, like a connection that is lost."""
    with database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        connection.execute(ENTRIES.sql(LIMIT).as_string(connection).encode())
        for _ in range(4):
            books.issue_grant(holder="acme", currency="credits", amount=1, display_name="grant", grant_type="PAID")
        with Runner(database), Reader(database, clock=clock) as reader:
            others = [model for model in READ_MODELS if model is not ENTRIES]
            with reader.snapshot(others, at_least=4) as snapshot:
                assert snapshot.position == 4
            assert eventually(lambda: reader.progress().errors.keys() == {"entries"}, SECONDS_MAX)
            progress = reader.progress()
        assert (progress.positions["entries"], progress.errors["entries"]) == (
            2, "cannot fold the event at position 3: too much for an index",
        )  # fmt: skip


def test_what_has_folded_an_event_that_is_left_out_is_no_more_continued_or_gone_back_to(
    books: BlockingLedger, database: Database
) -> None:
    for _ in range(3):
        books.issue_grant(holder="acme", currency="credits", amount=1, display_name="grant", grant_type="PAID")
    with database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        kept = BALANCES
        assert advance(connection, kept)
        [serves, shadow] = [begin_shadow(connection, database, BALANCES) for _ in range(2)]
        assert advance(connection, shadow)
        stand_down = "UPDATE projections SET stage = 'kept', replaced_by = %s WHERE version = %s"
        connection.execute(stand_down, [serves.build, kept.build])
        connection.execute("UPDATE projections SET stage = 'serving' WHERE version = %s", [serves.build])
        assert (kept_of(connection, BALANCES), shadow_of(connection, BALANCES)) == (kept, shadow)

        connection.execute(serves.sql("ALTER TABLE {table} ADD CHECK (granted < 2)"))
        poison = stopped(connection, serves)
        assert poison is not None
        skip(connection, Skip("balances", 2, "no more than one", START, "somebody"))
        assert (kept_of(connection, BALANCES), shadow_of(connection, BALANCES)) == (None, None)
        assert {each.build for each in prune(database, [BALANCES])} == {kept.build, shadow.build}
