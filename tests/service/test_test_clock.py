"""The test clock: in test mode, and only there, users move the one clock and find done what falls due by then."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.domain.events import Expired
from ledger.domain.instants import instant_text
from ledger.store.database import Database, Role
from projections.read_model import ENTRIES, READ_MODELS
from tests.service.serving import Service, command, serving

CREATE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id createdAt status } }"
LAPSES = """
query ($customer: String!) {
  creditsLedger(input: {customerId: $customer, eventType: [CREDITS_EXPIRED], paging: {first: 100}}) {
    edges { node { timestamp creditGrantId amount } }
  }
}
"""
STATUS = "query ($id: String!) { creditGrant(id: $id) { status } }"
NOW = "2026-01-31T12:00:00.000Z"
BEFORE_IT = "2026-01-31T11:59:59.999999Z"


@pytest.fixture
def untouched(database: Database) -> Iterator[Service]:
    """A service in test mode on an empty ledger, whose clock nobody has set."""
    with serving(database_url=database.dsn, schema=database.schema, test_clock="1") as running:
        yield running


def now_of(service: Service) -> str:
    answer = service.http.get("/test/clock")
    assert answer.status_code == 200, answer.text
    now: str = answer.json()["now"]
    return now


def create(service: Service, customer: str, **given: Any) -> dict[str, Any]:
    fields = {"customerId": customer, "currencyId": "credits", "displayName": "A", "grantType": "PAID", "amount": 5}
    created: dict[str, Any] = service.data(CREATE, input=fields | given)["createCreditGrant"]
    return created


def lapses(service: Service, customer: str) -> list[tuple[str, str]]:
    """Grant and instant of each lapse in a customer's ledger, newest first."""
    edges = service.data(LAPSES, customer=customer)["creditsLedger"]["edges"]
    return [(edge["node"]["creditGrantId"], edge["node"]["timestamp"]) for edge in edges]


def real_time(database: Database) -> datetime:
    with database.connect(Role.WRITER) as connection:
        row = connection.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None
    now: datetime = row["now"]
    return now


@pytest.mark.parametrize("test_clock", ["", "0"], ids=["not-set", "0"])
def test_outside_test_mode_there_is_no_test_clock(database: Database, test_clock: str) -> None:
    with serving(database_url=database.dsn, schema=database.schema, test_clock=test_clock) as service:
        assert service.http.get("/test/clock").status_code == 404
        assert service.set_clock("2099-01-01T00:00:00Z").status_code == 404
        before = real_time(database)
        created = datetime.fromisoformat(create(service, "acme")["createdAt"])
        assert before <= created <= real_time(database)


def test_before_its_first_setting_it_is_the_real_time(untouched: Service, database: Database) -> None:
    before = real_time(database)
    first, second = (datetime.fromisoformat(now_of(untouched)) for _ in range(2))
    assert before <= first < second <= real_time(database)
    created = datetime.fromisoformat(create(untouched, "acme")["createdAt"])
    assert second < created <= real_time(database)
    assert untouched.set_clock(instant_text(created - timedelta(microseconds=1))).status_code == 409
    assert untouched.set_clock(instant_text(created)).status_code == 200


@pytest.mark.parametrize("instant", ["1970-01-01T00:00:00.000Z", "2400-02-29T23:59:59.999999Z"])
def test_on_an_empty_ledger_the_first_setting_may_be_any_instant(untouched: Service, instant: str) -> None:
    answer = untouched.set_clock(instant)
    assert (answer.status_code, answer.json()) == (200, {"now": instant})
    assert now_of(untouched) == now_of(untouched) == instant
    assert create(untouched, "acme")["createdAt"] == create(untouched, "acme")["createdAt"] == instant


def test_the_same_instant_again_is_fine_and_an_earlier_one_is_a_conflict(service: Service) -> None:
    now = now_of(service)
    assert [service.set_clock(now).status_code for _ in range(2)] == [200, 200]
    in_another_zone = datetime.fromisoformat(now).astimezone(UTC).isoformat()
    assert service.set_clock(in_another_zone).status_code == 200
    refused = service.set_clock(BEFORE_IT)
    assert refused.status_code == 409
    assert "never goes back" in refused.json()["message"]
    assert now_of(service) == now


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"2030-01-01T00:00:00Z"',
        b"{}",
        b'{"now": null}',
        b'{"now": 1900000000}',
        b'{"now": ""}',
        b'{"now": "tomorrow"}',
        b'{"now": "2030-01-01"}',
        b'{"now": "2030-01-01T00:00:00"}',
        b'{"now": "2030-02-30T00:00:00Z"}',
        b'{"now": "2030-01-01T00:00:00.1234567Z"}',
        b'{"now": "2030-01-01T00:00:00Z", "then": 1}',
        b'{"now": "2030-01-01T00:00:00Z\xff"}',
        b'{"now": "\\ud800"}',
        b"[" * 100_000,
    ],
)
def test_a_body_that_names_no_instant_is_refused_and_moves_nothing(service: Service, body: bytes) -> None:
    now = now_of(service)
    answer = service.http.post("/test/clock", content=body)
    assert (answer.status_code, answer.json()["status"], answer.json()["path"]) == (400, 400, "/test/clock")
    assert now_of(service) == now


def test_only_who_may_operate_the_ledger_moves_the_clock(service: Service, schema: Database) -> None:
    made = command(
        "keys", "create", "--name", "clock", "--role", "writer", database_url=schema.dsn, schema=schema.schema
    )
    assert made.returncode == 0, made.stderr
    asked = {"now": "2031-01-01T00:00:00Z"}
    stranger, writer = service.stranger, {"X-API-KEY": made.stdout.strip()}
    assert stranger.get("/test/clock").status_code == 401
    assert stranger.post("/test/clock", json=asked).status_code == 401
    assert stranger.get("/test/clock", headers=writer).status_code == 200
    assert stranger.post("/test/clock", headers=writer, json=asked).status_code == 403
    assert now_of(service) < "2031"


def test_the_answer_comes_when_every_lapse_due_by_then_is_written_and_visible(
    untouched: Service, database: Database
) -> None:
    """500 grants that end a second and a microsecond after one another; the clock goes to the 300th end, then on."""
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    ends = [start + timedelta(seconds=number, microseconds=number) for number in range(1, 501)]
    assert untouched.set_clock(instant_text(start)).status_code == 200

    def issue(number: int) -> tuple[str, str, datetime]:
        customer = f"customer-{number % 10}"
        return customer, create(untouched, customer, expireAt=instant_text(ends[number]))["id"], ends[number]

    with ThreadPoolExecutor(8) as threads:
        issued = list(threads.map(issue, range(len(ends))))

    for now in (ends[299], ends[-1] - timedelta(microseconds=1), ends[-1] + timedelta(days=1)):
        assert untouched.set_clock(instant_text(now)).status_code == 200
        due_by_now = {(grant, end) for _, grant, end in issued if end <= now}
        head = assert_written(database, now, due_by_now)
        for customer in {customer for customer, _, _ in issued}:
            wanted = [(grant, end) for one, grant, end in issued if one == customer and end <= now]
            newest = [(grant, instant_text(end)) for grant, end in wanted[::-1]]
            assert sorted(lapses(untouched, customer)) == sorted(newest[:100])
        assert position_of_head(database) == head, "the reads found nothing left to write"


def assert_written(database: Database, now: datetime, due_by_now: set[tuple[str, datetime]]) -> int:
    """The log and the read model have exactly these lapses, and nothing is left to do; returns the head."""
    with database.connect(Role.WRITER) as connection:
        left = connection.execute("SELECT * FROM due WHERE due_at <= %s", [now]).fetchall()
        found = connection.execute(
            "SELECT stream_id, effective_at, recorded_at FROM movements WHERE type = %s", [Expired.TOPIC]
        ).fetchall()
    assert left == []
    assert len(found) == len(due_by_now)
    assert {(row["stream_id"], row["effective_at"]) for row in found} == due_by_now
    assert all(row["recorded_at"] <= now for row in found)
    with database.connect(Role.READER) as connection:
        shown = connection.execute(
            ENTRIES.sql(
                "SELECT lot, effective_at FROM {table} JOIN movements USING (position) WHERE {table}.type = %s"
            ),
            [Expired.TOPIC],
        ).fetchall()
    assert {(row["lot"], row["effective_at"]) for row in shown} == due_by_now
    return assert_followed(database)


def assert_followed(database: Database) -> int:
    """Every read model is at the head, which it returns."""
    with database.connect(Role.READER) as connection:
        positions = connection.execute("SELECT name, position FROM projections").fetchall()
    head = position_of_head(database)
    assert {row["name"]: row["position"] for row in positions} == {model.name: head for model in READ_MODELS}
    return head


def position_of_head(database: Database) -> int:
    with database.connect(Role.WRITER) as connection:
        row = connection.execute("SELECT max(position) AS head FROM events").fetchone()
    assert row is not None
    head: int = row["head"]
    return head


def test_all_processes_of_a_ledger_share_the_clock(untouched: Service, database: Database) -> None:
    with serving(database_url=database.dsn, schema=database.schema, test_clock="1") as other:
        assert untouched.set_clock(NOW).status_code == 200
        assert now_of(other) == NOW
        grant = create(other, "acme", expireAt="2026-02-01T00:00:00Z")
        assert grant["createdAt"] == NOW
        assert other.set_clock(BEFORE_IT).status_code == 409
        assert other.set_clock("2026-02-01T00:00:00Z").status_code == 200
        assert untouched.set_clock("2026-01-31T23:59:59Z").status_code == 409
        assert now_of(untouched) == "2026-02-01T00:00:00.000Z"
        assert untouched.data(STATUS, id=grant["id"])["creditGrant"]["status"] == "EXPIRED"
        assert lapses(untouched, "acme") == [(grant["id"], "2026-02-01T00:00:00.000Z")]
