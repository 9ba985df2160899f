"""What a request about execution credits sends to the database does not grow with the number of credits it shows.

Counted at the wire, as for grants: the service that is counted only serves; another one beside it does the work.
"""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.store.database import Database
from tests.service.serving import Service, serving
from tests.service.test_execution_credit_reads import create, debit, head, refund
from tests.service.test_graphql_no_n_plus_one import FEW, MANY, CountingProxy, Sent

CREDIT = """
fragment Whole on ExecutionCredit {
  id company { id label } companyId creditType rollupType credits usedCredits createdAt updatedAt deletedAt
  transactions {
    id transactionId executionCreditId transactionType credits projectId createdAt updatedAt
    executionCredit { id company { label } usedCredits }
  }
}
"""
LIST = CREDIT + "query ($limit: Int) { executionCredits(limit: $limit) { collection { ...Whole } } }"


def by_ids(ids: list[str]) -> str:
    """A document that asks for each credit by itself."""
    return (
        CREDIT + "{" + " ".join(f'c{n}: executionCredit(id: "{id_}") {{ ...Whole }}' for n, id_ in enumerate(ids)) + "}"
    )


@pytest.fixture(scope="module")
def credits_of_all(service: Service) -> list[str]:
    """100 credits of as many companies, each with a label and a debit for its own project, given back in part."""
    made = []
    for number in range(MANY):
        company = f"company-{secrets.token_hex(6)}"
        made.append(create(service, company, "ADDON" if number % 2 else "MONTHLY", companyLabel=f"label {number}"))
        debited = debit(service, company, 3, projectId=f"project {number}")["transactionId"]
        refund(service, debited, 1)
    return made


@pytest.fixture(scope="module")
def proxy(schema: Database) -> Iterator[CountingProxy]:
    with CountingProxy(schema) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def counted(service: Service, proxy: CountingProxy, schema: Database) -> Iterator[Service]:
    with serving("--no-worker", database_url=proxy.dsn, schema=schema.schema, test_clock="1") as running:
        yield running


def asked(counted: Service, proxy: CountingProxy, document: str, **variables: Any) -> tuple[Any, list[Sent]]:
    """The answer of the service that is counted, and what it sent for it."""
    del proxy.sent[:]
    data = counted.data(document, **variables)
    return data, sorted(proxy.sent)


def assert_whole(found: list[Any], made: list[str]) -> None:
    assert [credit["id"] for credit in found] == made
    assert {credit["company"]["label"] for credit in found} == {f"label {number}" for number in range(len(made))}
    projects = [[each["projectId"] for each in credit["transactions"]] for credit in found]
    assert projects == [[f"project {number}"] * 2 for number in range(len(made))]


@pytest.mark.parametrize("question", ["list", "each by its id"])
def test_many_credits_take_as_many_statements_as_few(
    service: Service, counted: Service, proxy: CountingProxy, credits_of_all: list[str], question: str
) -> None:
    """With their labels, transactions and projects, and the credits of their transactions."""
    service.data("{ executionCredits { metadata { totalCount } } }", {"X-Ledger-At-Least": head(service)})
    counted.data(LIST, limit=1)  # connections are open now
    found = []
    for size in (FEW, MANY):
        if question == "list":
            data, sent = asked(counted, proxy, LIST, limit=size)
            assert_whole(data["executionCredits"]["collection"], credits_of_all[:size])
        else:
            data, sent = asked(counted, proxy, by_ids(credits_of_all[:size]))
            assert_whole(list(data.values()), credits_of_all[:size])
        found.append(sent)
    few, many = found
    assert few
    assert many == few
