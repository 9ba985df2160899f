"""A client reads what it has just written, without naming a position, however many others write at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, NamedTuple

import httpx
import pytest

from ledger.store.database import Database, Role
from tests.service.serving import ANSWER_SECONDS_MAX, Service, client_of, serving

CLIENTS = 8
ROUNDS = 50
CREATE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
LIST = """
query ($customer: String!) {
  creditGrants(input: {customerId: $customer, paging: {first: 100}}) { edges { node { id amountExact } } }
}
"""
LEDGER = """
query ($customer: String!) {
  creditsLedger(input: {customerId: $customer, paging: {first: 100}}) { edges { node { creditGrantId } } }
}
"""
BALANCE = "query ($customer: String!) { creditBalanceSummary(input: {customerId: $customer}) { balances { %s } } }"


class Round(NamedTuple):
    """One write and the read that followed it at once."""

    grant: str
    written_at: int
    read_at: int
    stale: bool
    listed: list[str]


class Client:
    """A client with connections of its own. It sends a key and nothing else that the ledger would know it by."""

    def __init__(self, write_to: Service, read_from: Service) -> None:
        self._write, self._read = (client_of(service.url, service.key) for service in (write_to, read_from))

    def create(self, customer: str) -> tuple[str, int]:
        """The id of a new grant, and the position of the answer."""
        fields = {"customerId": customer, "currencyId": "credits", "displayName": "A", "grantType": "PAID", "amount": 1}
        answer, data = _asked(self._write, CREATE, input=fields)
        return data["createCreditGrant"]["id"], int(answer.headers["X-Ledger-Position"])

    def read(self, query: str, customer: str) -> tuple[httpx.Response, Any]:
        return _asked(self._read, query, customer=customer)

    def round(self, customer: str) -> Round:
        grant, written_at = self.create(customer)
        answer, data = self.read(LIST, customer)
        return Round(
            grant,
            written_at,
            int(answer.headers["X-Ledger-Position"]),
            "X-Ledger-Stale" in answer.headers,
            [edge["node"]["id"] for edge in data["creditGrants"]["edges"]],
        )

    def close(self) -> None:
        self._write.close()
        self._read.close()


def _asked(client: httpx.Client, query: str, **variables: Any) -> tuple[httpx.Response, Any]:
    answer = client.post("/graphql", json={"query": query, "variables": variables})
    body = answer.json()
    assert answer.status_code == 200, body
    assert "errors" not in body, body
    return answer, body["data"]


def at_once(customers: list[str], rounds: int, write_to: Service, read_from: Service) -> list[Round]:
    """Every client does its rounds for its customer, all at the same time."""
    together = Barrier(len(customers))

    def work(customer: str) -> list[Round]:
        client = Client(write_to, read_from)
        try:
            together.wait(ANSWER_SECONDS_MAX)
            return [client.round(customer) for _ in range(rounds)]
        finally:
            client.close()

    with ThreadPoolExecutor(len(customers)) as threads:
        return [done for dones in threads.map(work, customers) for done in dones]


def assert_each_read_its_own_write(rounds: list[Round]) -> None:
    """Also where the answer says that it is not at the head: the writes of others may be missing, never the own one."""
    assert [done for done in rounds if done.grant not in done.listed] == []
    assert [done for done in rounds if done.read_at < done.written_at] == []


@pytest.mark.parametrize(
    "named",
    [
        pytest.param(lambda customer, number: f"{customer}-{number}", id="each-with-a-customer-of-its-own"),
        pytest.param(lambda customer, _: customer, id="all-with-one-customer"),
    ],
)
def test_eight_clients_at_once_each_list_the_grant_they_have_just_made(
    service: Service, schema: Database, customer: str, named: Callable[[str, int], str]
) -> None:
    customers = [named(customer, number) for number in range(CLIENTS)]
    rounds = at_once(customers, ROUNDS, service, service)
    assert len(rounds) == CLIENTS * ROUNDS
    assert_each_read_its_own_write(rounds)
    with schema.connect(Role.WRITER) as connection:
        granted = connection.execute(
            "SELECT stream_id, position FROM movements WHERE holder = ANY(%s) ORDER BY position", [customers]
        ).fetchall()
    assert [(row["stream_id"], row["position"]) for row in granted] == sorted(
        ((done.grant, done.written_at) for done in rounds), key=lambda done: done[1]
    ), "the position of a write's answer is that of its event"


def test_a_write_through_one_process_is_read_at_once_through_another(
    service: Service, schema: Database, customer: str
) -> None:
    """The other process knows of it by the log alone, and waits for 100 ms: an answer without it says so."""
    with serving(database_url=schema.dsn, schema=schema.schema, test_clock="1") as other:
        rounds = at_once([customer, f"{customer}-2"], 50, service, other)
    in_time = [done for done in rounds if not done.stale]
    assert len(in_time) > 90
    assert_each_read_its_own_write(in_time)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (LEDGER,                        lambda data: len(data["creditsLedger"]["edges"])),
        (BALANCE % "currentBalance",    lambda data: _only_balance(data)["currentBalance"]),
        (BALANCE % "totalGrantedExact", lambda data: int(_only_balance(data)["totalGrantedExact"])),
    ],
    ids=["creditsLedger", "currentBalance", "totalGranted"],
)  # fmt: skip
def test_every_list_and_every_sum_has_the_write_before_it(
    service: Service, customer: str, query: str, shown: Callable[[Any], int]
) -> None:
    client = Client(service, service)
    try:
        for number in range(1, 26):
            _, written_at = client.create(customer)
            answer, data = client.read(query, customer)
            assert shown(data) == number
            assert int(answer.headers["X-Ledger-Position"]) >= written_at
            assert "X-Ledger-Stale" not in answer.headers
    finally:
        client.close()


def _only_balance(data: Any) -> Any:
    (balance,) = data["creditBalanceSummary"]["balances"]
    return balance
