"""A service that is killed under load, or loses its database: what it acknowledged happened, and happened once."""

import random
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ledger.store.database import Database
from service.embedded_postgres import EmbeddedPostgres, running_dsn
from tests.service.load import (
    GRANTED,
    HOLDER,
    Load,
    Reply,
    assert_they_end,
    consumption,
    eventually,
    happened,
    issue,
    processes_of,
)
from tests.service.serving import Service, serving

KILLS = 6
BACK_SECONDS_MAX = 10.0
"""How soon a service must be ready again when its database is."""
PROBE_SECONDS_MAX = 10.0
"""How soon a service must tell that it is not ready: whoever asks does not wait for ever."""
BALANCE = """
query ($customer: String!) {
  creditBalanceSummary(input: {customerId: $customer}) { balances { currentBalance totalConsumed } }
}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ledger-killed-") as made:
        Path(made).chmod(0o755)  # as root, the server runs under another account and has to get in
        yield Path(made).resolve() / "data"


def test_a_killed_service_leaves_no_server_and_its_next_start_finds_everything(folder: Path) -> None:
    """Again and again, at random moments: the process with its embedded server goes down hard, under load."""
    chance = random.Random(5)
    before: dict[str, str] = {}
    load: Load | None = None  # of the round before, whose outcome the next start finds
    for number in range(KILLS):
        with serving(data_dir=str(folder)) as service:
            if load is None:
                issue(service)
            else:
                before = assert_nothing_is_lost(service, Database(running_dsn(folder) or ""), load, before)
            servers = processes_of(folder)
            assert servers
            with Load(service, f"round-{number}") as load:
                load.goes_on_for(chance.randrange(1, 300))
                assert service.end(signal.SIGKILL) == -signal.SIGKILL
                load.ends_by_itself()
        assert_they_end(servers)
        assert processes_of(folder) == []
        assert load.waited == []


def assert_nothing_is_lost(service: Service, database: Database, load: Load, before: dict[str, str]) -> dict[str, str]:
    """What was acknowledged is there once, a key that was cut off happens once in the end; returns what there is."""
    found = happened(database)
    unanswered = load.cut + load.broken
    assert (before | load.acknowledged).items() <= found.items()
    assert set(found) <= {*before, *load.replies, *unanswered}
    sent_again = {key: service.data(**again(key))["consumeCredits"] for key in [*load.replies][::20] + unanswered}
    assert {key for key, used in sent_again.items() if used["replayed"]} == set(found) & set(sent_again)
    after = found | {key: used["transactionId"] for key, used in sent_again.items()}
    assert found.items() <= after.items()
    assert happened(database) == after
    (balance,) = service.data(BALANCE, customer=HOLDER)["creditBalanceSummary"]["balances"]
    assert balance == {"currentBalance": GRANTED - len(after), "totalConsumed": len(after)}
    return after


def again(key: str) -> dict[str, Any]:
    asked = consumption(key)
    return {"query": asked["query"], **asked["variables"]}


def test_a_database_that_is_killed_and_comes_back_repeats_and_loses_nothing(own_server: EmbeddedPostgres) -> None:
    """While it is away for a moment, callers wait; whoever is turned down sends his key again."""
    database = Database(own_server.dsn())
    with serving(database_url=database.dsn) as service:
        issue(service)
        with Load(service, "load") as load:
            for replies in (100, 300, 500):
                load.goes_on_for(replies)
                own_server.kill()
                own_server.start()
            load.goes_on_for(600)
        assert (load.waited, load.broken, load.cut) == ([], [], [])
        turned_down = [reply for reply in load.replies.values() if reply.transaction is None]
        assert [reply for reply in turned_down if not is_unavailable(reply)] == []
        acknowledged = load.acknowledged
        assert acknowledged.items() <= happened(database).items()
        found = happened(database)
        again_sent = [key for key in load.replies if key not in acknowledged] + [*acknowledged][::20]
        sent_again = {key: service.data(**again(key))["consumeCredits"]["transactionId"] for key in again_sent}
        assert (found | sent_again).items() >= acknowledged.items()
        assert happened(database) == found | sent_again
        assert '"exc_info"' not in service.log(), "a database that is away is no fault of ours"


def is_unavailable(reply: Reply) -> bool:
    errors = reply.body.get("errors") or [{"extensions": {}}]
    told = (reply.status, errors[0]["extensions"].get("code"))
    return told == (503, "LedgerUnavailable") and (reply.retry_after or "").isdigit()


def test_while_its_database_is_away_a_service_says_so_and_is_ready_again_when_it_is_back(
    own_server: EmbeddedPostgres,
) -> None:
    """Writes and reads are turned down with LedgerUnavailable and Retry-After; the process lives, but is not ready."""
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/graphql", consumption("sent-again")),
        ("POST", "/graphql", {"query": BALANCE, "variables": {"customer": HOLDER}}),
        ("GET", "/test/clock", None),
        ("GET", "/readyz", None),
    ]
    with serving(database_url=own_server.dsn(), test_clock="1") as service:
        issue(service)
        assert service.http.get("/readyz").status_code == 200
        own_server.kill()
        with ThreadPoolExecutor(len(requests)) as threads:
            answers = threads.map(lambda asked: service.http.request(asked[0], asked[1], json=asked[2]), requests)
            assert service.http.get("/livez").status_code == 200
            write, read, clock, ready = answers
        assert service.http.get("/livez").status_code == 200
        for answer in (write, read):
            assert is_unavailable(Reply(answer.status_code, answer.headers.get("Retry-After"), answer.json()))
        assert (clock.status_code, clock.headers["Retry-After"]) == (503, "1")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert "not available" in ready.json()["problems"]["database"]
        assert ready.elapsed.total_seconds() < PROBE_SECONDS_MAX

        own_server.start()
        assert eventually(lambda: service.http.get("/readyz").status_code == 200, BACK_SECONDS_MAX)
        sent = [service.data(**again("sent-again"))["consumeCredits"] for _ in range(2)]
        assert [used["replayed"] for used in sent] == [False, True]
        assert happened(Database(own_server.dsn())) == {"sent-again": sent[0]["transactionId"]}
        (balance,) = service.data(BALANCE, customer=HOLDER)["creditBalanceSummary"]["balances"]
        assert balance == {"currentBalance": GRANTED - 1, "totalConsumed": 1}
