"""What a process says of itself: whether it lives, whether it should be sent requests, and its log."""

import json
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.store.database import Database, Role
from projections.read_model import LOTS, READ_MODELS
from tests.service.load import eventually, processes_of
from tests.service.serving import KEY, Service, command, serving

CREATE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
LIST = "query ($customer: String!) { creditGrants(input: {customerId: $customer}) { edges { node { id } } } }"
EMPTY = 'query Listing { creditGrants(input: {customerId: "nobody"}) { totalCount } }'
UNKNOWN_GRANT = 'mutation { voidCreditGrant(input: {id: "cg-aaaaaaaaaaaaaaaa"}) { id } }'
NOT_FOUND, INVALID = "CreditGrantNotFound", "InvalidArgumentError"
PASSWORD = "a-password-that-nobody-should-see"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = {name}"
SECONDS_MAX = 30.0


def create(service: Service, customer: str) -> None:
    fields = {"customerId": customer, "currencyId": "credits", "displayName": "A", "grantType": "PAID", "amount": 5}
    service.data(CREATE, input=fields)


def log_of(service: Service) -> list[dict[str, Any]]:
    """Its whole lines so far."""
    return [json.loads(line) for line in service.log().splitlines(keepends=True) if line.endswith("\n")]


def request_line(service: Service, request_id: str) -> dict[str, Any]:
    """The one line in the log that tells of a request; it is written once the answer has been sent."""

    def lines() -> list[dict[str, Any]]:
        return [line for line in log_of(service) if line["message"] == "request" and line["request_id"] == request_id]

    assert eventually(lambda: len(lines()) > 0, SECONDS_MAX)
    (line,) = lines()
    return line


def execute(database: Database, text: LiteralString, **names: sql.Composable) -> None:
    """Run a statement as the account that owns everything."""
    with database.connect(None) as connection:
        connection.execute(sql.SQL(text).format(**names))


def test_a_process_that_is_well_is_alive_and_ready_and_tells_how_far_it_is(service: Service, customer: str) -> None:
    """No key is needed: who sends requests there has none."""
    create(service, customer)
    listed = service.graphql(LIST, customer=customer)
    assert "X-Ledger-Stale" not in listed.headers
    head = listed.headers["X-Ledger-Position"]
    live, ready = service.stranger.get("/livez"), service.stranger.get("/readyz")
    assert (live.status_code, live.json()) == (200, {"alive": True})
    assert ready.status_code == 200
    assert ready.json() == {
        "ready": True, "problems": {}, "head": head, "readModels": {model.name: head for model in READ_MODELS},
    }  # fmt: skip


def test_a_read_model_that_fails_is_named_and_the_others_go_on_until_it_is_mended(database: Database) -> None:
    with serving(database_url=database.dsn, schema=database.schema) as service:
        create(service, "acme")
        assert "X-Ledger-Stale" not in service.graphql(LIST, customer="acme").headers
        execute(database, "ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false) NOT VALID", table=LOTS.table)
        create(service, "acme")

        assert eventually(lambda: service.http.get("/readyz").status_code == 503, SECONDS_MAX)
        told = service.http.get("/readyz").json()
        assert told["ready"] is False
        assert list(told["problems"]) == ["read model lots"]
        assert '"broken"' in told["problems"]["read model lots"]
        going_on = {model.name: "1" if model is LOTS else "2" for model in READ_MODELS}
        assert eventually(lambda: service.http.get("/readyz").json()["readModels"] == going_on, SECONDS_MAX)
        assert service.http.get("/livez").status_code == 200
        stale = service.graphql(LIST, customer="acme")
        assert (stale.headers["X-Ledger-Stale"], stale.headers["X-Ledger-Position"]) == ("true", "1")
        assert len(stale.json()["data"]["creditGrants"]["edges"]) == 1
        create(service, "acme")

        execute(database, "ALTER TABLE {table} DROP CONSTRAINT broken", table=LOTS.table)
        assert eventually(lambda: service.http.get("/readyz").status_code == 200, SECONDS_MAX)
        healed = {model.name: "3" for model in READ_MODELS}
        assert eventually(lambda: service.http.get("/readyz").json()["readModels"] == healed, SECONDS_MAX)
        assert len(service.data(LIST, customer="acme")["creditGrants"]["edges"]) == 3


@pytest.mark.parametrize(
    ("method", "path", "body", "line"),
    [
        ("GET",  "/livez",   None,                      {"status": 200, "key": None}),
        ("GET",  "/readyz",  None,                      {"key": None}),
        ("GET",  "/nowhere", None,                      {"status": 404, "key": None}),
        ("POST", "/graphql", {"query": EMPTY},          {"status": 200, "key": "admin", "operation": "Listing"}),
        ("POST", "/graphql", {"query": UNKNOWN_GRANT},  {"status": 200, "key": "admin", "codes": [NOT_FOUND]}),
        ("POST", "/graphql", {"query": "{ nonsense }"}, {"status": 200, "key": "admin", "codes": [INVALID]}),
        ("POST", "/graphql", {"query": 7},              {"status": 400, "key": "admin", "codes": [INVALID]}),
    ],
    ids=["livez", "readyz", "no-such-path", "query", "refusal", "unknown-field", "no-query"],
)  # fmt: skip
def test_every_request_has_one_line_in_the_log(
    service: Service, customer: str, method: str, path: str, body: Any, line: dict[str, Any]
) -> None:
    """By its id, which the client may choose and is told in the answer: who asked, what for, what came of it."""
    if isinstance(body, dict) and "operation" in line:
        body = body | {"operationName": line["operation"]}
    answer = service.http.request(method, path, json=body, headers={"X-Request-Id": customer})
    assert answer.headers["X-Request-Id"] == customer
    wanted = {"method": method, "path": path, "level": "INFO", "status": answer.status_code} | line
    said = request_line(service, customer)
    assert {name: said.get(name) for name in wanted} == wanted
    assert said["milliseconds"] > 0
    assert "at" in said


def test_a_request_without_a_usable_id_gets_one(service: Service) -> None:
    for given in ({}, {"X-Request-Id": "two words"}, {"X-Request-Id": "x" * 129}):
        request_id = service.http.get("/livez", headers=given).headers["X-Request-Id"]
        assert request_id not in given.values()
        assert request_line(service, request_id)["path"] == "/livez"


def test_who_is_turned_away_at_the_door_is_in_the_log(service: Service, customer: str) -> None:
    headers = {"X-API-KEY": "x", "X-Request-Id": customer}
    answer = service.stranger.post("/graphql", json={"query": LIST}, headers=headers)
    assert answer.status_code == 401
    said = request_line(service, customer)
    assert (said["status"], said.get("key"), said["codes"]) == (401, None, ["Unauthenticated"])


def test_no_secret_gets_into_a_log(database: Database) -> None:
    """Not the admin's key, nor a key that was made, nor a wrong one, nor the password of the database."""
    password = str(conninfo_to_dict(database.dsn).get("password") or PASSWORD)
    schema = database.schema
    url = make_conninfo(database.dsn, password=password, application_name=schema)
    make = ["keys", "create", "--name", "n", "--role", "reader"]
    made = command(*make, database_url=url, schema=schema).stdout.strip()
    wrong = "key-0123456789ab.a-wrong-secret"
    with serving(database_url=url, schema=schema) as service:
        for key in (made, wrong, f"{made}x", KEY):
            service.http.post("/graphql", json={"query": LIST}, headers={"X-API-KEY": key})
        execute(database, TERMINATE, name=sql.Literal(schema))
        create(service, "acme")
        keys = {line.get("key") for line in log_of(service) if line["message"] == "request"}
        assert service.end() == 0
        said = service.log() + "\n".join(service.said)
    assert keys >= {made.partition(".")[0], "admin"}
    assert [line for line in said.splitlines() if not line.startswith(("{", "address: ", "key: "))] == []
    for secret in (made.partition(".")[2], wrong.partition(".")[2], KEY, password):
        assert secret not in said


def test_a_database_that_cannot_be_reached_is_told_without_its_password(tmp_path: Path) -> None:
    done = command("serve", database_url=f"host={tmp_path} password={PASSWORD}")
    assert (done.returncode, done.stdout) == (6, "")
    assert str(tmp_path) in done.stderr
    assert PASSWORD not in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def without_the_last_migration(database: Database) -> Iterator[str]:
    with database.connect(None) as connection:
        row = connection.execute(
            "DELETE FROM migrations WHERE name = (SELECT max(name) FROM migrations) RETURNING *"
        ).fetchone()
        assert row is not None
        yield row["name"]
        connection.execute("INSERT INTO migrations VALUES (%(name)s, %(sha256)s, %(at)s)", row)


@pytest.mark.parametrize("process", ["serve", "worker"])
def test_without_leave_to_migrate_a_process_refuses_a_schema_that_is_not_up_to_date(
    database: Database, process: str
) -> None:
    missing = f"{database.schema}_missing"
    done = command(process, "--no-migrate", database_url=database.dsn, schema=missing)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: there is no ledger in schema {missing}: run credit-ledger migrate\n"
    with database.connect(None) as connection:
        assert connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [missing]).fetchone() is None
        assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname LIKE %s", [f"{missing}%"]).fetchone() is None
    with without_the_last_migration(database) as name:
        done = command(process, "--no-migrate", database_url=database.dsn, schema=database.schema)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: schema {database.schema} lacks {name}: run credit-ledger migrate\n"


def test_without_leave_to_migrate_a_schema_that_is_up_to_date_is_served(database: Database) -> None:
    with serving("--no-migrate", database_url=database.dsn, schema=database.schema) as service:
        assert service.http.get("/readyz").status_code == 200
        assert not service.url.endswith(":0"), "port 0 is any port that is free, and the one that was taken is told"


def test_a_port_that_is_taken_is_named_and_no_server_is_left_behind() -> None:
    with tempfile.TemporaryDirectory(prefix="ledger-port-") as made, socket.create_server(("127.0.0.1", 0)) as taken:
        Path(made).chmod(0o755)
        folder = Path(made).resolve() / "data"
        port = str(taken.getsockname()[1])
        done = command("serve", data_dir=str(folder), port=port)
        assert (done.returncode, done.stdout) == (2, "")
        assert port in done.stderr
        assert "in use" in done.stderr
        assert "Traceback" not in done.stderr
        assert processes_of(folder) == []


def test_a_version_that_nobody_has_folded_yet_is_not_ready(database: Database) -> None:
    """The database was served before; this version's read models are still to be made."""
    with serving(database_url=database.dsn, schema=database.schema) as service:
        grant = {"currencyId": "credits", "amount": 5, "displayName": "A", "grantType": "PAID"}
        service.data(CREATE, input={**grant, "customerId": "acme"})
    with database.connect(Role.PROJECTOR) as connection:
        for model in READ_MODELS:
            connection.execute(model.sql("DROP TABLE {table}"))
        connection.execute("UPDATE projections SET version = 'former'")
    with serving("--no-worker", database_url=database.dsn, schema=database.schema) as service:
        answer = service.http.get("/readyz")
        assert (answer.status_code, answer.json()["problems"]["read model lots"]) == (503, "at position 0 of 1")


def test_a_schema_of_before_this_version_is_named_as_such(database: Database) -> None:
    with database.connect(Role.OWNER) as connection:
        reader = database.role_name(Role.READER)
        connection.execute(f"REVOKE SELECT ON migrations FROM {reader}; DELETE FROM migrations".encode())
    for arguments in (("serve", "--no-migrate"), ("grants", "list", "--customer", "acme")):
        done = command(*arguments, database_url=database.dsn, schema=database.schema)
        assert done.returncode == 2
        assert "run credit-ledger migrate" in done.stderr
