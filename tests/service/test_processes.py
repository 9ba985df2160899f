"""Processes of one ledger: who serves, who follows, and how they end without losing or repeating anything."""

import fcntl
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import httpx
import psycopg
import pytest
from psycopg import sql

from ledger.domain.events import Expired
from ledger.domain.instants import instant_text
from ledger.store.database import Database, Role
from tests.conftest import START, Hands
from tests.service.forking import forked
from tests.service.load import (
    CONSUME,
    HOLDER,
    Load,
    assert_they_end,
    eventually,
    happened,
    issue,
    processes_of,
)
from tests.service.serving import ANSWER_SECONDS_MAX, COMMAND, Service, environment, exit_code, serving

CREATE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id expireAt } }"
LIST = """
query ($customer: String!) { creditGrants(input: {customerId: $customer}) { edges { node { id status } } } }
"""


@contextmanager
def working(database: Database, **settings: str) -> Iterator[IO[str]]:
    """`credit-ledger worker` on a ledger, once it works: its log. It is ended in good order afterwards."""
    given = environment(database_url=database.dsn, schema=database.schema, **settings)
    with tempfile.NamedTemporaryFile("w+") as log:
        process = forked(["worker"], given, cwd=None, stdout=log.fileno(), stderr=log.fileno())
        try:
            with Path(log.name).open() as said:
                assert eventually(lambda: "working" in said.readline() or process.exitcode is not None, 30)
                said.seek(0)
                assert process.exitcode is None, said.read()
                yield said
        finally:
            process.terminate()
            assert exit_code(process) == 0


def create(service: Service, customer: str, **given: Any) -> dict[str, Any]:
    fields = {"customerId": customer, "currencyId": "credits", "displayName": "A", "grantType": "PAID", "amount": 5}
    created: dict[str, Any] = service.data(CREATE, input=fields | given)["createCreditGrant"]
    return created


def listed(service: Service, customer: str) -> tuple[list[str], int, bool]:
    """A customer's grants, newest first, the position of the answer, and whether it is stale."""
    answer = service.graphql(LIST, customer=customer)
    grants = [edge["node"]["id"] for edge in answer.json()["data"]["creditGrants"]["edges"]]
    return grants, int(answer.headers["X-Ledger-Position"]), answer.headers.get("X-Ledger-Stale") == "true"


def lapses(database: Database) -> list[tuple[str, Any]]:
    """Grant and instant of every lapse in the log."""
    with database.connect(Role.WRITER) as connection:
        rows = connection.execute(
            "SELECT stream_id, effective_at FROM movements WHERE type = %s ORDER BY position", [Expired.TOPIC]
        ).fetchall()
    return [(row["stream_id"], row["effective_at"]) for row in rows]


def wait_on_the_log(database: Database, condition: Callable[[], bool], seconds_max: float = 30.0) -> None:
    """Ask whenever the log has got longer, as followers of it do."""
    deadline = time.monotonic() + seconds_max
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(f"{database.schema}_events")))
        while not condition():
            assert time.monotonic() < deadline, "the log does not get there"
            for _ in connection.notifies(timeout=1.0, stop_after=1):
                pass


def assert_all_json(log: str) -> None:
    """Every line of a process's log is one JSON object, and none tells of a fault."""
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines
    assert [line for line in lines if "exc_info" in line or line["level"] not in ("INFO", "WARNING")] == []


def test_a_worker_follows_the_log_for_a_process_that_only_serves(database: Database) -> None:
    with working(database), serving("--no-worker", database_url=database.dsn, schema=database.schema) as service:
        made: list[str] = []
        for _ in range(20):
            made.insert(0, create(service, "acme")["id"])
            grants, position, stale = listed(service, "acme")
            assert (grants, stale) == (made, False)
            assert position == len(made)
        assert set(service.http.get("/readyz").json()["readModels"].values()) == {"20"}


def test_what_falls_due_is_written_by_the_worker_at_its_instant_though_nobody_asks(
    database: Database, hands: Hands
) -> None:
    """With the worker gone nothing is written, however many others write; with it back everything is."""
    ends = [START + timedelta(minutes=minute, microseconds=1) for minute in (1, 2)]
    with ExitStack() as serving_alone:
        with working(database, test_clock="1"):
            only_serving = serving("--no-worker", database_url=database.dsn, schema=database.schema, test_clock="1")
            service = serving_alone.enter_context(only_serving)
            first, second = (create(service, "acme", expireAt=instant_text(end))["id"] for end in ends)
            hands.set(ends[0])
            wait_on_the_log(database, lambda: lapses(database) == [(first, ends[0])])
        hands.set(ends[1])
        for _ in range(20):
            create(service, "another")
        assert lapses(database) == [(first, ends[0])]
        with working(database, test_clock="1"):
            wait_on_the_log(database, lambda: lapses(database) == [(first, ends[0]), (second, ends[1])])


def test_on_the_real_clock_a_lapse_is_written_when_its_instant_has_come(database: Database) -> None:
    with working(database) as log, serving(database_url=database.dsn, schema=database.schema) as service:
        with database.connect(Role.WRITER) as connection:
            row = connection.execute("SELECT clock_timestamp() AS now").fetchone()
        assert row is not None
        ends = row["now"] + timedelta(seconds=2)
        grant = create(service, "acme", expireAt=instant_text(ends))["id"]
        wait_on_the_log(database, lambda: lapses(database) == [(grant, ends)])
        with database.connect(Role.WRITER) as connection:
            row = connection.execute("SELECT recorded_at FROM events ORDER BY position DESC LIMIT 1").fetchone()
        assert row is not None
        assert timedelta(0) <= row["recorded_at"] - ends < timedelta(seconds=2)
        assert_all_json(log.read())


def test_without_a_worker_reads_answer_from_where_it_stopped_and_writes_are_taken(database: Database) -> None:
    with serving(database_url=database.dsn, schema=database.schema) as service:
        grants = [create(service, "acme")["id"] for _ in range(3)]
        assert listed(service, "acme") == (grants[::-1], 3, False)
    with serving("--no-worker", database_url=database.dsn, schema=database.schema) as service:
        create(service, "acme")
        assert listed(service, "acme") == (grants[::-1], 3, True)
        asked = {"customerId": "acme", "currencyId": "credits", "amount": 20, "idempotencyKey": "all"}
        used = service.graphql(CONSUME, input=asked)
        assert used.json()["data"]["consumeCredits"]["replayed"] is False
        assert int(used.headers["X-Ledger-Position"]) == 8
        assert listed(service, "acme") == (grants[::-1], 3, True)
        ready = service.http.get("/readyz")
        assert ready.status_code == 200, "reads that are a little behind are no reason to send nobody here"
        assert ready.json()["head"] == "8"
        assert set(ready.json()["readModels"].values()) == {"3"}


def test_a_process_that_only_serves_may_be_started_before_any_worker(database: Database) -> None:
    with serving("--no-worker", database_url=database.dsn, schema=database.schema) as service:
        grant = create(service, "acme")["id"]
        assert listed(service, "acme") == ([], 0, True)
        with working(database):
            assert eventually(lambda: listed(service, "acme") == ([grant], 1, False), 30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_told_to_end_answers_what_it_has_taken_and_takes_no_more(
    database: Database, number: signal.Signals
) -> None:
    """Every client gets a whole answer or none; what was answered is in the log once, what was not is not there."""
    with serving(database_url=database.dsn, schema=database.schema) as service:
        issue(service)
        with Load(service, "load") as load:
            load.goes_on_for(200)
            assert service.end(number) == 0
            load.ends_by_itself()
        log = service.log()
    assert (load.waited, load.broken) == ([], [])
    assert [reply for reply in load.replies.values() if reply.transaction is None] == []
    assert happened(database) == load.acknowledged
    assert "Traceback" not in log
    assert_all_json(log)


def test_told_to_end_while_it_waits_for_the_database_a_service_ends(database: Database) -> None:
    """The migration of another process holds it up, so it has not begun to answer."""
    waiting = (
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND pid <> pg_backend_pid() "
        "AND (classid::bigint << 32) | objid::bigint = hashtextextended(%s, 0)"
    )
    name = f"migrate {database.schema}"
    with database.connect(None) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
        process = started(database_url=database.dsn, schema=database.schema)
        try:
            assert eventually(lambda: connection.execute(waiting, [name]).fetchone() is not None, 30)
            process.send_signal(signal.SIGTERM)
            said, log = process.communicate(timeout=ANSWER_SECONDS_MAX)
            assert (process.returncode, said) == (0, "")
            assert "Traceback" not in log
            assert eventually(lambda: connection.execute(waiting, [name]).fetchone() is None, 30)
        finally:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("it waits for its folder", signal.SIGTERM),
        ("it makes its cluster", signal.SIGTERM),
        ("its server starts", signal.SIGTERM),
        ("its server starts", signal.SIGINT),
    ],
)
def test_told_to_end_while_it_starts_its_server_a_service_leaves_none_behind(
    moment: str, number: signal.Signals
) -> None:
    with tempfile.TemporaryDirectory(prefix="ledger-start-") as made:
        Path(made).chmod(0o755)
        folder = Path(made).resolve() / "data"
        folder.mkdir(mode=0o700)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = started(data_dir=str(folder))
            try:
                assert eventually(lambda: reached(moment, process.pid, folder, lock), 30)
                process.send_signal(number)
                said, log = process.communicate(timeout=ANSWER_SECONDS_MAX)
            finally:
                process.kill()
                process.communicate()
        assert (process.returncode, said) == (0, "")
        assert "Traceback" not in log
        assert_they_end(processes_of(folder))
        with serving(data_dir=str(folder)) as service:
            assert service.data(CREATE, input=GRANT)["createCreditGrant"]


GRANT = {"customerId": HOLDER, "currencyId": "credits", "displayName": "A", "grantType": "PAID", "amount": 5}


def started(**settings: str) -> "subprocess.Popen[str]":
    """A service that may not have begun to answer."""
    return subprocess.Popen(
        [COMMAND, "serve"],
        env=environment(port="0", **settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def reached(moment: str, pid: int, folder: Path, lock: IO[str]) -> bool:
    """Whether a service that starts has got so far; the lock of its folder holds it up until then."""
    if moment == "it waits for its folder":
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it opens and closes others meanwhile
                if descriptor.readlink() == folder / "lock":
                    return True
        return False
    fcntl.flock(lock, fcntl.LOCK_UN)
    if moment == "it makes its cluster":
        return (folder / "cluster.new").exists()
    return (folder / "cluster" / "postmaster.pid").exists()


def test_scripts_read_the_address_from_one_line_of_json(database: Database) -> None:
    process = subprocess.Popen(
        [COMMAND, "serve", "--json"],
        env=environment(database_url=database.dsn, schema=database.schema, port="0", admin_key="secret"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert httpx.get(f"{told['address']}/livez").status_code == 200
        assert told["key"] == "as LEDGER_ADMIN_KEY says", "a key is shown only to whoever asks for it"
        process.terminate()
        assert process.wait(ANSWER_SECONDS_MAX) == 0
