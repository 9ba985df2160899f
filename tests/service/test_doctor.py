"""The doctor finds a healthy ledger healthy, and every fault that is planted, by name."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from freezegun import freeze_time
from hypothesis import HealthCheck, Phase, given, settings
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.values import Kind
from ledger.store import database as addresses
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from projections.read_model import READ_MODELS
from projections.runner import advance, prepare
from service.doctor import CHECKS, Finding, examine
from service.embedded_postgres import EmbeddedPostgres
from tests.conftest import START, Hands, drop
from tests.history import Play, histories

HOLDER = 'b\u00e4r "\\ \U0001f43b'
"""Whatever JSON has to escape."""
ALL = ["connection", *(check.name for check in CHECKS)]
DEEP = {check.name for check in CHECKS if check.deep}
OF_THE_READER = DEEP - {"open-lots", "claims", "idempotency", "documents"} | {"triggers", "clock", "read-models"}


def sick(database: Database, **options: Any) -> dict[str, str]:
    """What the unhealthy findings say, by check."""
    findings = examine(database, clock=settable_clock(), **options)
    return {finding.check: finding.says for finding in findings if not finding.healthy}


@pytest.fixture(scope="module")
def lived(server_dsn: str) -> Iterator[Database]:
    """A ledger that has seen everything; each test that harms it heals it."""
    database = Database(server_dsn, f"t_{secrets.token_hex(6)}")
    migrate(database)
    with CreditLedger(database, clock=settable_clock()) as ledger:
        live(BlockingLedger(ledger), Hands(database))
    with database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        for model in READ_MODELS:
            while advance(connection, model):
                pass
    yield database
    assert sick(database) == {}
    drop(database)


def live(books: BlockingLedger, hands: Hands) -> None:
    for_grants = {"holder": HOLDER, "currency": "credits", "display_name": "grant"}
    ends = {"expires_at": START + timedelta(days=30)}
    books.issue_grant(**for_grants, amount=10, grant_type="PROMOTIONAL", idempotency_key="issue", **ends)
    books.issue_grant(**for_grants, amount=50, grant_type="PAID", comment="open to the end")
    void = books.issue_grant(**for_grants, amount=7, grant_type="PAID", priority=90)
    debit = books.consume(holder=HOLDER, currency="credits", amount=12, account_groups=("g",), idempotency_key="use")
    books.refund(transaction_id=debit.transaction_id, amount=1)
    books.void_grant(grant=void.stream_id, reason="by mistake")
    renewing = {"company": HOLDER, "credit_type": "DAST", "credits": 20, "rollup_type": "MONTHLY"}
    credit = books.open_execution_credit(**renewing, idempotency_key="open")
    addon = books.open_execution_credit(company="acme", credit_type="DAST", credits=5, rollup_type="ADDON")
    books.open_execution_credit(company="acme", credit_type="AI_PENTEST", credits=5, rollup_type="YEARLY")
    books.consume(holder=HOLDER, currency="DAST", amount=3, kind=Kind.EXECUTION_CREDIT, dimensions={"team": "red"})
    hands.set(START + timedelta(days=40))
    books.resize_execution_credit(credit=credit.stream_id, credits=30)
    books.settle_due()
    books.refund(transaction_id=debit.transaction_id)
    books.delete_execution_credit(credit=addon.stream_id)
    books.issue_grant(**for_grants, amount=9, grant_type="PAID", expires_at=START + timedelta(days=90))
    books.consume(holder=HOLDER, currency="credits", amount=2)


@contextmanager
def harmed(database: Database, table: str | None, *statements: str) -> Iterator[None]:
    """Run statements as a superuser whom no trigger stops; afterwards the table has its rows back."""
    with psycopg.connect(database.conninfo(None), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        if table is not None:
            connection.execute(f"CREATE TEMP TABLE kept AS SELECT * FROM {table}".encode())
        try:
            for text in statements:
                connection.execute(text.encode())
            yield
        finally:
            if table is not None:
                connection.execute(f"DELETE FROM {table}".encode())
                connection.execute(f"INSERT INTO {table} SELECT * FROM kept".encode())


def asked(database: Database, query: str) -> str:
    with psycopg.connect(database.conninfo(None)) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])


class Fault(NamedTuple):
    """A fault in the rows of a table. `row` selects the one to harm, which `{row}` in `harm` is; the unhealthy finding
    names what `named` is of that row."""

    check: str
    table: str
    row: str
    harm: str
    named: str
    also: tuple[str, ...] = ()


PLAIN = "type = 'ledger.debited' AND lot_balance > 0"
OPEN = "open_lots WHERE kind = 'CREDIT_GRANT'"
LIVING = "open_lots WHERE kind = 'EXECUTION_CREDIT'"
ENDED = "events WHERE type = 'ledger.expired' AND kind = 'CREDIT_GRANT'"
DELETED = "movements WHERE deleted_at IS NOT NULL"
EVENT = "UPDATE events SET {set} WHERE position = {row}"
OF_STREAM = "WHERE stream_id = '{row}'"
FIRST_MODEL = f"'Read model {READ_MODELS[0].name} '"
MISSING = "'00000000-0000-0000-0000-000000000000'"

FAULTS = [
    Fault(
        "positions", "events", "max(position) FROM events",
        "UPDATE events SET position = position + 1, transaction_last = transaction_last + 1 WHERE position = {row}",
        "'position ' || {row} + 1 || ' comes where ' || {row} || ' should be'",
    ),
    Fault(
        "positions", "events", "min(position) FROM events WHERE position > 1",
        EVENT.replace("{set}", "recorded_at = recorded_at - interval '10 years'"), "'position ' || {row} || ' was rec'",
    ),
    Fault(
        "transactions", "events", "position FROM events WHERE version > 1",
        EVENT.replace("{set}", "transaction_last = transaction_last + 1"),
        "'transaction ' || (SELECT transaction_id FROM events WHERE position = {row}) || ' ends at'",
    ),
    Fault(
        "transactions", "events", "max(position) FROM events",
        EVENT.replace("{set}", "transaction_id = (SELECT transaction_id FROM events WHERE position = 2)"),
        "'transaction ' || (SELECT transaction_id FROM events WHERE position = 2) || ' has 2 events, spread'",
    ),
    Fault(
        "streams", "events", "max(position) FROM events", EVENT.replace("{set}", "version = version + 100"),
        "'position ' || {row} || ' is event '",
    ),
    Fault(
        "lot-law", "events", f"position FROM events WHERE {PLAIN}",
        EVENT.replace("{set}", "lot_balance = lot_balance - 0.000000001"), "'at position ' || {row} || ' lot '",
    ),
    Fault(
        "lot-law", "events", f"position FROM events WHERE {PLAIN}",
        EVENT.replace("{set}", "lot_used = lot_used - 0.000000001"), "'at position ' || {row} || ' lot '",
    ),
    Fault(
        "lot-law", "events", f"position FROM events WHERE {PLAIN}",
        EVENT.replace("{set}", "lot_granted = lot_granted + 1"), "'at position ' || {row} || ' lot '",
    ),
    Fault(
        "lot-law", "events", f"position FROM events WHERE {PLAIN}",
        EVENT.replace("{set}", "amount = amount - 0.000000001"), "'at position ' || {row} || ' lot '", ("pool-law",),
    ),
    Fault(
        "pool-law", "events", f"position FROM events WHERE {PLAIN}",
        EVENT.replace("{set}", "pool_balance = pool_balance + 0.000000001"), "'at position ' || {row} || ' pool '",
    ),
    Fault(
        "refunds", "events", "min(position) FROM events WHERE type = 'ledger.refunded'",
        EVENT.replace("{set}", f"debit_id = {MISSING}"), f"'debit ' || {MISSING} || ' drew 0'",
    ),
    *(
        Fault(
            "open-lots", "open_lots", f"stream_id FROM {one}", f"DELETE FROM open_lots {OF_STREAM}",
            "'open_lots lacks the row of stream {row}'",
        )
        for one in (OPEN, LIVING)
    ),
    *(
        Fault(
            "open-lots", "open_lots", f"stream_id FROM {one}",
            "INSERT INTO open_lots SELECT stream_id, lot, kind, holder, currency, resource, 1 FROM events"
            f" {OF_STREAM} AND lot IS NOT NULL LIMIT 1",
            "'open_lots has a row for stream {row}, which'",
        )
        for one in (ENDED, DELETED)
    ),
    *(
        Fault(
            "open-lots", "open_lots", f"stream_id FROM {one}", f"UPDATE open_lots SET {to} {OF_STREAM}",
            "'open_lots has another row for stream {row} than'",
        )
        for one, to in [
            (OPEN, f"lot = {MISSING}"),
            (OPEN, "holder = 'else'"),
            (OPEN, "resource = 'else'"),
            (LIVING, "definition_version = definition_version + 1"),
            (LIVING, "definition_version = NULL"),
        ]
    ),
    *(
        Fault(
            "open-lots", "due", f"stream_id FROM due WHERE act = '{act}'", f"DELETE FROM due {OF_STREAM}",
            f"'due lacks the {act} of stream {{row}}'",
        )
        for act in ("EXPIRY", "RENEWAL")
    ),
    Fault(
        "open-lots", "due", f"stream_id FROM {ENDED}",
        "INSERT INTO due SELECT '{row}', 'EXPIRY', due_at, kind, holder, currency FROM due LIMIT 1",
        "'due has the EXPIRY of stream {row}, which'",
    ),
    *(
        Fault(
            "open-lots", "due", "stream_id FROM due WHERE act = 'EXPIRY'", f"UPDATE due SET {to} {OF_STREAM}",
            f"'due has {said}'",
        )
        for to, said in (
            ("due_at = due_at + interval '1 microsecond'", "another EXPIRY for stream {row} than"),
            ("holder = 'else'", "another EXPIRY for stream {row} than"),
            ("act = 'ELSE'", "the ELSE of stream {row}, which"),
        )
    ),
    *(
        Fault("claims", "claims", f"stream_id FROM claims WHERE kind = '{kind}'", f"{harm} {OF_STREAM}", named)
        for kind in ("GRANT_READABLE_ID", "LIVE_EXECUTION_CREDIT")
        for harm, named in (
            ("DELETE FROM claims", "'{row}'"),
            ("UPDATE claims SET value = 'else'", "'{row}'"),
            ("INSERT INTO claims SELECT kind, '[\"else\", \"DAST\", \"ADDON\"]', stream_id FROM claims", "'{row}'"),
            (f"INSERT INTO claims SELECT kind, value || ' ', {MISSING} FROM claims", MISSING),
        )
    ),
    Fault(
        "claims", "claims", f"stream_id FROM {DELETED}",
        "INSERT INTO claims VALUES ('LIVE_EXECUTION_CREDIT', '[\"acme\", \"DAST\", \"ADDON\"]', '{row}')", "'{row}'",
    ),
    *(
        Fault(
            "idempotency", "idempotency", "key FROM idempotency WHERE key = 'open'",
            f"UPDATE idempotency SET {change} WHERE key = '{{row}}'", "'key {row} of open_execution_credit, '",
        )
        for change in (
            "position = 1000000", "position = position + 1", f"transaction_id = {MISSING}", "kind = 'CREDIT_GRANT'"
        )
    ),
    *(
        Fault(
            "documents", "documents", "id FROM documents", f"{harm} WHERE id = '{{row}}'",
            "(SELECT 'document {row} of position ' || position FROM movements WHERE document_id = '{row}' "
            f"ORDER BY position LIMIT 1) || '{said}'",
        )
        for harm, said in (
            ("DELETE FROM documents", " is missing"),
            ("UPDATE documents SET body = body || ' '", " has another text than its hash says"),
        )
    ),
    Fault(
        "documents", "documents", "id FROM documents",
        "UPDATE documents SET body = '', sha256 = encode(sha256(''), 'hex') WHERE id = '{row}'",
        "'document {row} has another hash than position '",
    ),
    Fault(
        "documents", "documents", "gen_random_uuid()",
        "INSERT INTO documents VALUES ('{row}', '', encode(sha256(''), 'hex'))", "'{row}'",
    ),
    Fault(
        "documents", "events", "position FROM movements WHERE document_id IS NOT NULL",
        EVENT.replace("{set}", "data = jsonb_set(data, '{{document,sha256}}', '\"else\"')"),
        "(SELECT document_id FROM movements WHERE position = {row})",
    ),
    *(
        Fault("read-models", "projections", "name FROM projections", f"UPDATE projections SET {change}", FIRST_MODEL)
        for change in ("error = 'division by zero'", "position = position + 1")
    ),
    Fault(
        "clock", "test_clock", "max(position) FROM events",
        "UPDATE test_clock SET instant = instant - interval '6 seconds'", "'position ' || {row} || ', was recorded'",
    ),
    Fault(
        "migrations", "migrations", "max(name) FROM migrations", "DELETE FROM migrations WHERE name = '{row}'",
        "'{row} has not been applied'",
    ),
    Fault(
        "migrations", "migrations", "max(name) FROM migrations",
        "UPDATE migrations SET sha256 = 'else' WHERE name = '{row}'", "'{row} was applied with another text'",
    ),
    Fault(
        "migrations", "migrations", "'9999_later.sql'", "INSERT INTO migrations SELECT '{row}', '', now()",
        "'{row} was applied, and this version does not know it'",
    ),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.check}-{place}" for place, fault in enumerate(FAULTS)])
def test_a_fault_in_a_table_is_found_and_named(lived: Database, fault: Fault) -> None:
    row = asked(lived, f"SELECT {fault.row} LIMIT 1")
    named = asked(lived, "SELECT " + fault.named.format(row=row))
    with harmed(lived, fault.table, fault.harm.format(row=row)):
        found = sick(lived)
    assert set(found) == {fault.check, *fault.also}
    assert named in found[fault.check]


class Change(NamedTuple):
    """A change of the database's own objects, and its undoing; `{writer}` and the like are its roles."""

    check: str
    harm: str
    undo: str
    named: str
    also: frozenset[str] = frozenset()


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
        "has the balance -", frozenset({"open-lots"}),
    ),
    Change(
        "documents", "ALTER TABLE documents RENAME TO gone", "ALTER TABLE gone RENAME TO documents",
        'relation "documents" does not exist',
    ),
    Change(
        "migrations", "ALTER TABLE migrations RENAME TO gone", "ALTER TABLE gone RENAME TO migrations",
        'relation "migrations" does not exist',
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


def test_a_ledger_that_has_lived_is_healthy_in_every_respect(lived: Database) -> None:
    findings = list(examine(lived, clock=settable_clock()))
    assert [finding.check for finding in findings] == ALL
    assert [finding for finding in findings if not finding.healthy] == []
    models = next(finding.says for finding in findings if finding.check == "read-models")
    assert all(f"{model.name} 0 events behind" in models for model in READ_MODELS)


def test_a_read_model_that_is_behind_is_healthy_and_says_so(lived: Database) -> None:
    with harmed(lived, "projections", "UPDATE projections SET position = position - 3 WHERE name = 'balances'"):
        says = {finding.check: finding for finding in examine(lived, clock=settable_clock())}
    assert says["read-models"].healthy
    assert "balances 3 events behind" in says["read-models"].says


def test_without_the_deep_checks_the_log_is_not_read(lived: Database) -> None:
    with harmed(lived, "events", "DELETE FROM events WHERE position = 2"):
        shallow = list(examine(lived, clock=settable_clock(), deep=False))
    assert [finding.check for finding in shallow] == [name for name in ALL if name not in DEEP]
    assert all(finding.healthy for finding in shallow)


def test_a_new_ledger_is_healthy_on_the_real_clock(database: Database) -> None:
    assert [finding for finding in examine(database) if not finding.healthy] == []


def test_an_account_that_has_only_the_roles_may_examine(lived: Database) -> None:
    password = str(conninfo_to_dict(lived.dsn).get("password") or secrets.token_hex(8))
    account = f"{lived.schema}_account"
    roles = ", ".join(lived.role_name(role) for role in Role)
    with harmed(lived, None, f"CREATE ROLE {account} LOGIN PASSWORD '{password}'; GRANT {roles} TO {account}"):
        try:
            assert sick(Database(make_conninfo(lived.dsn, user=account, password=password), lived.schema)) == {}
        finally:
            healed(lived, f"DROP ROLE {account}")


@settings(max_examples=2, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=histories)
def test_random_histories_are_healthy_at_every_stop(server_dsn: str, acts: list[Any]) -> None:
    database = Database(server_dsn, f"t_{secrets.token_hex(6)}")
    migrate(database)
    found: list[Finding] = []
    try:
        with CreditLedger(database, clock=settable_clock()) as ledger:
            play = Play(BlockingLedger(ledger), Hands(database))
            for first in range(0, len(acts), 40):
                play.all(acts[first : first + 40])
                found += examine(database, clock=settable_clock())
    finally:
        drop(database)
    assert [finding for finding in found if not finding.healthy] == []
