"""Who may do what to the log: nobody changes it, and read models see the view alone."""

import psycopg
import pytest

from ledger.application import BlockingLedger, CreditLedger
from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from ledger.store.sql import query
from tests.conftest import drop

CHANGES = (
    "UPDATE events SET amount = 1",
    "DELETE FROM events",
    "TRUNCATE events",
    "UPDATE idempotency SET body = ''",
    "DELETE FROM idempotency",
)


@pytest.fixture(scope="module")
def database(schema: Database) -> Database:
    """A ledger with one event; what these tests try to do to it is refused."""
    with CreditLedger(schema) as ledger:
        BlockingLedger(ledger).issue_grant(
            holder="acme", currency="c", amount=1, display_name="g", grant_type="PAID", idempotency_key="k"
        )
    return schema


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("change", CHANGES)
def test_no_role_changes_the_log(database: Database, role: Role, change: str) -> None:
    with database.connect(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(change.encode())
    with database.connect(Role.OWNER) as connection:
        assert connection.execute("SELECT count(*) AS n FROM events WHERE amount = 1").fetchone() == {"n": 1}
        assert connection.execute("SELECT count(*) AS n FROM idempotency").fetchone() == {"n": 1}


WRITE_SIDE = ("events", "idempotency", "open_lots", "due", "claims", "log_meta", "followed", "token_secret")


@pytest.mark.parametrize(
    ("role", "table"),
    [(role, table) for role in (Role.PROJECTOR, Role.READER) for table in WRITE_SIDE]
    + [(Role.PROJECTOR, "documents"), (Role.PROJECTOR, "api_keys"), (Role.WRITER, "api_keys")],
)
def test_what_reads_the_ledger_sees_its_view_alone(database: Database, role: Role, table: str) -> None:
    with database.connect(role) as connection:
        connection.execute("SELECT * FROM movements")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SELECT * FROM {table}".encode())


@pytest.mark.parametrize(
    "change",
    [
        *("UPDATE token_secret SET secret = 'mine'", "DELETE FROM token_secret", "TRUNCATE token_secret"),
        *("INSERT INTO token_secret DEFAULT VALUES", "DELETE FROM followed", "TRUNCATE followed"),
    ],
)
def test_the_writer_neither_changes_the_secret_nor_forgets_who_followed(database: Database, change: str) -> None:
    with database.connect(Role.WRITER) as connection:
        assert len(connection.execute(query("token_secret")).fetchall()) == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(change.encode())


def test_the_secret_that_tokens_are_signed_with_is_one_of_this_ledger_alone(
    database: Database, server_dsn: str
) -> None:
    other = Database(server_dsn, f"{database.schema}_other")
    migrate(other)
    try:
        secrets = []
        for each in (database, database, other):
            with each.connect(Role.WRITER) as connection:
                secrets += connection.execute(query("token_secret")).fetchall()
        assert len({row["secret"] for row in secrets}) == 2
        assert min(len(row["secret"]) for row in secrets) >= 64
    finally:
        drop(other)


@pytest.mark.parametrize("role", [Role.WRITER, Role.READER])
def test_only_owner_and_projector_make_tables(database: Database, role: Role) -> None:
    with database.connect(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE TABLE mine (a int)")
