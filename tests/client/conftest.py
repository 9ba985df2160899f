"""One service for all tests of a module, on a log that is written before it starts and grows no more."""

from collections.abc import Iterator
from typing import Any

import pytest

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger, Receipt
from ledger.store.database import Database
from tests.service.serving import Service, serving

USES = 160
HOLDERS = ("acme", "globex")
TEXT_WITH_ALL_KINDS_OF_LINE_ENDS = "first\u2028second\u2029third\x85 Grüße \N{COIN}"


@pytest.fixture(scope="module")
def service(schema: Database) -> Iterator[Service]:
    with CreditLedger(schema) as ledger:
        books = BlockingLedger(ledger)
        for holder in HOLDERS:
            books.issue_grant(
                holder=holder,
                currency="credits",
                amount=1000,
                display_name=TEXT_WITH_ALL_KINDS_OF_LINE_ENDS,
                grant_type="PAID",
            )
        uses = [ConsumeCredits(holder=HOLDERS[number % 2], currency="credits", amount=1) for number in range(USES)]
        assert all(isinstance(outcome, Receipt) for outcome in ledger.execute_many_blocking(uses))
    with serving(database_url=schema.dsn, schema=schema.schema) as running:
        yield running


@pytest.fixture(scope="module")
def log(service: Service) -> list[dict[str, Any]]:
    """All messages there are, asked for in one request, without the client."""
    answer = service.http.get("/v1/events", params={"limit": 1000}).raise_for_status()
    assert answer.headers["X-Ledger-Caught-Up"] == "true"
    messages: list[dict[str, Any]] = answer.json()
    assert [message["data"]["position"] for message in messages] == list(range(1, len(HOLDERS) + USES + 1))
    return messages
