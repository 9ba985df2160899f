"""The doctor finds what is wrong with the database around the tables: its roles, triggers, settings and sessions."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from freezegun import freeze_time
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.store import database as addresses
from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from projections.read_model import LOTS
from service.doctor import CHECKS, examine
from service.embedded_postgres import EmbeddedPostgres
from tests.conftest import drop
from tests.service.test_doctor import ALL, DEEP, harmed, lived_ledger, sick

OF_THE_WRITER = {"open-lots", "claims", "idempotency", "documents"}
OF_THE_READER = DEEP - OF_THE_WRITER | {"triggers", "clock", "epochs", "read-models"}


@pytest.fixture(scope="module")
def lived(server_dsn: str) -> Iterator[Database]:
    with lived_ledger(server_dsn) as database:
        yield database


class Change(NamedTuple):
    """A change of the database's own objects, and its undoing; `{writer}` and the like are its roles."""

    check: str
    harm: str
    undo: str
    named: str
    also: frozenset[str] = frozenset()


TABLE_OF_LOTS = f"{LOTS.name}_{LOTS.build}"
TRIGGER = "CREATE TRIGGER events_are_never_changed BEFORE {acts} ON events EXECUTE FUNCTION refuse_change()"
DROP_TRIGGER = "DROP TRIGGER events_are_never_changed ON events"
WHOLE_TRIGGER = TRIGGER.replace("{acts}", "UPDATE OR DELETE OR TRUNCATE")
PART_TRIGGER = TRIGGER.replace("{acts}", "UPDATE OR DELETE")
OVERDRAW = (
    "UPDATE events SET amount = amount - {by}, lot_used = lot_used + {by}, lot_balance = lot_balance - {by},"
    " pool_balance = pool_balance - {by} WHERE position = (SELECT max(position) FROM events)"
)
LOT_LAW = "lot_balance >= 0 AND lot_used >= 0 AND pool_balance >= lot_balance AND lot_used + lot_balance <= lot_granted"
KEYS_TRIGGER = "ALTER TABLE idempotency {act} TRIGGER keys_are_never_changed"

CHANGES = [
    Change("triggers", DROP_TRIGGER, WHOLE_TRIGGER, "events_are_never_changed on events is missing"),
    Change(
        "triggers", f"{DROP_TRIGGER}; {PART_TRIGGER}", f"{DROP_TRIGGER}; {WHOLE_TRIGGER}",
        "events_are_never_changed on events does not refuse every change",
    ),
    *(
        Change(
            "triggers", KEYS_TRIGGER.replace("{act}", act), KEYS_TRIGGER.replace("{act}", "ENABLE"),
            "keys_are_never_changed on idempotency is disabled",
        )
        for act in ("DISABLE", "ENABLE REPLICA")
    ),
    Change("roles", "ALTER ROLE {writer} SUPERUSER", "ALTER ROLE {writer} NOSUPERUSER", "{writer} is a superuser"),
    Change("roles", "GRANT {owner} TO {reader}", "REVOKE {owner} FROM {reader}", "{reader} is a member of {owner}"),
    Change(
        "roles", "ALTER SCHEMA {schema} OWNER TO {writer}",
        "ALTER SCHEMA {schema} OWNER TO {owner}; GRANT ALL ON SCHEMA {schema} TO {writer}", "{writer} owns the schema",
    ),
    *(
        Change(
            "roles", f"GRANT {right} ON {table} TO {{{role}}}", f"REVOKE {right} ON {table} FROM {{{role}}}",
            f"{{{role}}} has the privilege {right.split(' ')[0]} on {table}",
        )
        for role, right, table in [
            ("writer", "UPDATE", "events"),
            ("writer", "UPDATE (data)", "events"),
            ("writer", "DELETE", "idempotency"),
            ("writer", "TRUNCATE", "events"),
            ("reader", "INSERT", "events"),
            ("projector", "UPDATE", "events"),
        ]
    ),
    Change(
        "roles", "GRANT DELETE ON events TO PUBLIC", "REVOKE DELETE ON events FROM PUBLIC",
        "{writer} has the privilege DELETE on events",
    ),
    Change(
        "roles", "ALTER ROLE {reader} RENAME TO {reader}_gone", "ALTER ROLE {reader}_gone RENAME TO {reader}",
        "{reader} does not exist", frozenset(OF_THE_READER),
    ),
    Change(
        "lot-law", f"ALTER TABLE events DROP CONSTRAINT events_lot_law; {OVERDRAW.format(by=1000)}",
        f"{OVERDRAW.format(by=-1000)}; ALTER TABLE events ADD CONSTRAINT events_lot_law CHECK ({LOT_LAW})",
        "has the balance -", frozenset({"open-lots", "read-model-rows"}),
    ),
    Change(
        "documents", "ALTER TABLE documents RENAME TO gone", "ALTER TABLE gone RENAME TO documents",
        'relation "documents" does not exist',
    ),
    Change(
        "migrations", "ALTER TABLE migrations RENAME TO gone", "ALTER TABLE gone RENAME TO migrations",
        'relation "migrations" does not exist',
    ),
    Change(
        "read-models", f"ALTER TABLE {TABLE_OF_LOTS} RENAME TO gone", f"ALTER TABLE gone RENAME TO {TABLE_OF_LOTS}",
        "has lost its table", frozenset({"read-model-rows"}),
    ),
    Change(  # whoever reads the claims loses the session, and the checks behind this one get another
        "claims",
        "ALTER TABLE claims RENAME TO gone; CREATE FUNCTION end_session() RETURNS boolean SECURITY DEFINER LANGUAGE sql"
        " AS 'SELECT pg_terminate_backend(pg_backend_pid())'; CREATE VIEW claims AS SELECT * FROM gone"
        " WHERE end_session(); GRANT SELECT ON claims TO {writer}",
        "DROP VIEW claims; DROP FUNCTION end_session; ALTER TABLE gone RENAME TO claims", "terminating connection",
    ),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=[f"{change.check}-{place}" for place, change in enumerate(CHANGES)])
def test_a_change_of_the_database_is_found_and_named(lived: Database, change: Change) -> None:
    names = {"schema": lived.schema, **{role.value: lived.role_name(role) for role in Role}}
    with ExitStack() as healing:
        healing.enter_context(harmed(lived, None, change.harm.format(**names)))
        healing.callback(healed, lived, change.undo.format(**names))
        found = sick(lived)
    assert set(found) == {change.check, *change.also}
    assert change.named.format(**names) in found[change.check]


def healed(database: Database, undo: str) -> None:
    with harmed(database, None, undo):
        pass


def with_option(database: Database, option: str) -> Database:
    return Database(make_conninfo(database.dsn, options=f"-c {option}"), database.schema)


@pytest.mark.parametrize("value", ["off", "local"])
def test_a_service_whose_commits_do_not_wait_is_found(lived: Database, value: str) -> None:
    found = sick(with_option(lived, f"synchronous_commit={value}"))
    assert set(found) == {"durability"}
    assert f"synchronous_commit is {value}" in found["durability"]


def test_a_session_in_which_no_trigger_fires_is_found(lived: Database) -> None:
    found = sick(with_option(lived, "session_replication_role=replica"))
    assert set(found) == {"triggers"}
    assert "session_replication_role is replica" in found["triggers"]


def test_a_server_that_does_not_sync_is_found_though_it_holds_no_ledger() -> None:
    unsafe = {"fsync": "off", "full_page_writes": "off"}
    with (
        tempfile.TemporaryDirectory(prefix="ledger-tests-") as folder,
        EmbeddedPostgres(Path(folder), settings=unsafe) as server,
    ):
        findings = list(examine(Database(server.dsn())))
    assert [finding.check for finding in findings] == ALL
    assert [finding.check for finding in findings if finding.healthy] == ["connection", "server-version"]
    says = {finding.check: finding.says for finding in findings}
    assert "2 of 3 settings at fault, first: fsync is off" in says["durability"]
    assert "role ledger_owner does not exist" in says["roles"]
    assert "Run the migration" in says["roles"]


def test_a_server_that_is_too_old_is_found(lived: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "OLDEST_SERVER_VERSION", 99_00_00)
    found = sick(lived)
    assert set(found) == {check.name for check in CHECKS}
    assert "PostgreSQL 15 or later" in found["server-version"]


def test_a_machine_whose_clock_is_wrong_is_found(lived: Database) -> None:
    with freeze_time(datetime.now(UTC) + timedelta(hours=1), tick=True):
        found = sick(lived)
    assert set(found) == {"clock"}
    assert "apart" in found["clock"]


def test_a_database_that_cannot_be_reached_is_the_one_finding(tmp_path: Path) -> None:
    findings = list(examine(Database(make_conninfo(host=str(tmp_path)))))
    assert [(finding.check, finding.healthy) for finding in findings] == [("connection", False)]
    assert str(tmp_path) in findings[0].says


def test_a_pooler_that_drops_the_role_is_found(server_dsn: str) -> None:
    """Stood in for by a trigger at login, which leaves the session as the account itself."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        if connection.info.server_version < 17_00_00:
            pytest.skip("no triggers at login before PostgreSQL 17")
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        database = Database(make_conninfo(server_dsn, dbname=name), name)
        try:
            migrate(database)
            with harmed(
                database,
                None,
                "CREATE FUNCTION drop_role() RETURNS event_trigger LANGUAGE plpgsql AS "
                "$$ BEGIN PERFORM set_config('role', 'none', false); END $$",
                "CREATE EVENT TRIGGER at_login ON login EXECUTE FUNCTION drop_role()",
                "ALTER EVENT TRIGGER at_login ENABLE ALWAYS",
            ):
                found = sick(database)
            drop(database)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    assert set(found) == {"roles"}
    assert f"opened as {name}_writer runs as {conninfo_to_dict(server_dsn).get('user', '')}" in found["roles"]
