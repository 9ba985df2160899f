"""Who may do what to the log: nobody changes it, and read models see the view alone."""

import psycopg
import pytest

from ledger.application import BlockingLedger
from ledger.store.database import Database, Role

CHANGES = (
    "UPDATE events SET amount = 1",
    "DELETE FROM events",
    "TRUNCATE events",
    "UPDATE idempotency SET body = ''",
    "DELETE FROM idempotency",
)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("change", CHANGES)
def test_no_role_changes_the_log(books: BlockingLedger, database: Database, role: Role, change: str) -> None:
    books.issue_grant(holder="acme", currency="c", amount=1, display_name="g", grant_type="PAID", idempotency_key="k")
    with database.connect(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(change.encode())
    with database.connect(Role.OWNER) as connection:
        assert connection.execute("SELECT count(*) AS n FROM events WHERE amount = 1").fetchone() == {"n": 1}
        assert connection.execute("SELECT count(*) AS n FROM idempotency").fetchone() == {"n": 1}


WRITE_SIDE = ("events", "idempotency", "open_lots", "due", "claims", "log_meta")


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


@pytest.mark.parametrize("role", [Role.WRITER, Role.READER])
def test_only_owner_and_projector_make_tables(database: Database, role: Role) -> None:
    with database.connect(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE TABLE mine (a int)")
