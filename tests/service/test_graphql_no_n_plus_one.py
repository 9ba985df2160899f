"""The number of statements that a request sends to the database does not grow with the length of the lists it asks for.

Counted at the wire, by a proxy between service and database. The service that is counted follows no log and runs no
job, so that all it sends is for the request; another one beside it does the work.
"""

import secrets
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from ledger.store.database import Database, Role
from tests.faults.cutting_proxy import CuttingProxy
from tests.service.serving import Service, serving

FEW, MANY = 10, 100
GRANT = """
fragment Whole on CreditGrant {
  id grantId displayName grantType status amount amountExact consumedAmount consumedAmountExact remainingAmount
  cost { amount amountExact currency } customerId resourceId currencyId effectiveAt createdAt updatedAt expireAt
  voidedAt invoiceId paymentCollection priority priorityExact automaticRechargeConfigurationId
  comment additionalMetaData rolledOverFrom rolledOverTo
  latestInvoice {
    billingId status createdAt updatedAt dueDate currency total totalExact amountDue amountDueExact requiresAction
    errorMessage paymentUrl pdfUrl
  }
}
"""
GRANTS = (
    GRANT
    + """
query ($input: GetCreditGrantsInput!) { creditGrants(input: $input) { totalCount edges { node { ...Whole } } } }
"""
)
LEDGER = (
    GRANT
    + """
query ($input: CreditLedgerInput!) {
  creditsLedger(input: $input) { totalCount edges { node { eventType amount reason actor grant { ...Whole } } } }
}
"""
)
CONSUME_MANY = """
mutation ($input: ConsumeCreditsAsyncInput!) {
  consumeCreditsAsync(input: $input) {
    results {
      response { draws { grantId creditGrantId amountExact } credit { currentUsageExact usageLimitExact } }
      error { code }
    }
  }
}
"""
ISSUE = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
RECORD = "mutation ($input: RecordGrantPaymentInput!) { recordGrantPayment(input: $input) { id } }"
VOID = "mutation ($input: VoidCreditGrantInput!) { voidCreditGrant(input: $input) { id } }"
SCHEDULE = "mutation ($input: CreateGrantScheduleInput!) { createGrantSchedule(input: $input) { id } }"


class Sent(NamedTuple):
    """A statement that was sent to be carried out, and whether by the role that may only read."""

    text: str
    by_reader: bool


class CountingProxy(CuttingProxy):
    """Cuts nothing, but takes note of every statement: sent as it is, or prepared and then carried out.

    Each connection has a thread of its own, so what it has prepared is kept by thread.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database.dsn)
        self._reader = f"role={database.role_name(Role.READER)}".encode()
        self._of_connection = threading.local()
        self.sent: list[Sent] = []

    def _taken(self, frame: bytes) -> None:
        mine = self._of_connection
        match frame[:1]:
            case b"\0":  # the first message has no type: it tells who comes
                mine.by_reader, mine.prepared, mine.bound = self._reader in frame, {}, ""
            case b"Q":
                self.sent.append(Sent(frame[5:-1].decode(), mine.by_reader))
            case b"P":
                name, text, *_ = frame[5:].split(b"\0")
                mine.prepared[name] = text.decode()
            case b"B":
                _, name, *_ = frame[5:].split(b"\0")
                mine.bound = mine.prepared[name]
            case b"E":
                self.sent.append(Sent(mine.bound, mine.by_reader))


@pytest.fixture(scope="module")
def proxy(schema: Database) -> Iterator[CountingProxy]:
    with CountingProxy(schema) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def counted(service: Service, proxy: CountingProxy, schema: Database) -> Iterator[Service]:
    """A service that only serves, behind the proxy; `service` follows the log."""
    with serving("--no-worker", database_url=proxy.dsn, schema=schema.schema, test_clock="1") as running:
        yield running


@pytest.fixture(scope="module")
def invoiced(service: Service) -> str:
    """A customer of 100 grants with texts of their own, each with an invoice that has texts, and void for a reason."""
    customer = f"customer-{secrets.token_hex(6)}"
    for number in range(MANY):
        given = {
            "customerId": customer, "currencyId": "credits", "displayName": f"n{number}", "grantType": "PAID",
            "amount": 1, "cost": {"amount": 1}, "paymentCollectionMethod": "INVOICE", "comment": f"c{number}",
            "additionalMetaData": {"number": number},
        }  # fmt: skip
        grant = service.data(ISSUE, input=given)["createCreditGrant"]["id"]
        invoice = {
            "billingId": f"in_{number}", "status": "OPEN", "errorMessage": f"e{number}", "paymentUrl": f"u{number}",
            "pdfUrl": f"p{number}",
        }  # fmt: skip
        service.data(RECORD, input={"creditGrantId": grant, "paymentCollection": "FAILED", "invoice": invoice})
        service.data(VOID, input={"id": grant, "reason": f"r{number}"})
    return customer


@pytest.fixture(scope="module")
def scheduled(service: Service) -> str:
    """A customer whom a schedule granted to for 60 months; each month's remainder rolled over into a grant."""
    customer = f"customer-{secrets.token_hex(6)}"
    given = {
        "customerId": customer, "currencyId": "credits", "displayName": "plan", "amountPerPeriod": 10,
        "billingPeriod": "MONTH", "cadence": "BEGINNING_OF_BILLING_PERIOD", "rollover": {"expiresAfterPeriods": 1},
    }  # fmt: skip
    service.data(SCHEDULE, input=given)
    assert service.set_clock("2031-01-31T12:00:00Z").status_code == 200
    return customer


def asked(counted: Service, proxy: CountingProxy, query: str, given: Any) -> tuple[Any, list[Sent]]:
    """The answer of the service that is counted, and what it sent for it."""
    del proxy.sent[:]
    data = counted.data(query, input=given)
    return data, list(proxy.sent)


def caught_up(service: Service) -> None:
    """Returns once the read models have come to the head: then no read waits for them."""
    head = service.http.get("/readyz").json()["head"]
    service.data('{ creditGrants(input: {customerId: "nobody"}) { totalCount } }', {"X-Ledger-At-Least": head})


@pytest.mark.parametrize(("query", "name"), [(GRANTS, "creditGrants"), (LEDGER, "creditsLedger")])
@pytest.mark.parametrize("whose", ["invoiced", "scheduled"])
def test_a_long_page_takes_as_many_statements_as_a_short_one(
    service: Service,
    counted: Service,
    proxy: CountingProxy,
    request: pytest.FixtureRequest,
    whose: str,
    query: str,
    name: str,
) -> None:
    customer = request.getfixturevalue(whose)
    caught_up(service)
    counted.data(query, input={"customerId": customer})  # connections are open now
    found = []
    for size in (FEW, MANY):
        wanted = {"customerId": customer, "paging": {"first": size}}
        data, sent = asked(counted, proxy, query, wanted)
        nodes = [edge["node"] for edge in data[name]["edges"]]
        grants = [node.get("grant", node) for node in nodes]
        assert len(nodes) == size
        if whose == "invoiced":
            assert all(grant["latestInvoice"]["pdfUrl"] and grant["displayName"] for grant in grants)
        else:
            assert any(grant["rolledOverTo"] for grant in grants)
        found.append(sorted(sent))
    few, many = found
    assert few
    assert many == few


def issued(service: Service, count: int) -> list[dict[str, Any]]:
    """Uses of different customers, each with a grant to pay for it."""
    uses = []
    for _ in range(count):
        holder = {"customerId": f"customer-{secrets.token_hex(6)}", "currencyId": "credits"}
        service.data(ISSUE, input=holder | {"displayName": "g", "grantType": "PAID", "amount": 2})
        uses.append(holder | {"amount": 1, "idempotencyKey": "use"})
    return uses


def test_many_uses_of_many_customers_take_as_many_reads_as_few(
    service: Service, counted: Service, proxy: CountingProxy
) -> None:
    """How often the service looks how far the read side has come depends on the other process, not on the uses."""
    counted.data(CONSUME_MANY, input={"consumptions": issued(service, 1)})  # connections are open now
    del proxy.sent[:]
    assert counted.http.get("/readyz").status_code == 200
    looks = {one.text for one in proxy.sent}
    assert looks
    found = []
    for size in (FEW, MANY):
        data, sent = asked(counted, proxy, CONSUME_MANY, {"consumptions": issued(service, size)})
        results = data["consumeCreditsAsync"]["results"]
        assert [result["error"] for result in results] == [None] * size
        assert len({draw["grantId"] for result in results for draw in result["response"]["draws"]}) == size
        found.append(sorted(one.text for one in sent if one.by_reader and one.text not in looks))
    few, many = found
    assert few
    assert many == few
