"""A ledger whose events are sent, for the tests of a module; each module has its own `deliverer`."""

import secrets
from collections.abc import Iterator

import pytest

from ledger.store.database import Database
from service.webhooks.deliverer import Deliverer
from tests.webhooks.receiving import Receiver
from tests.webhooks.sending import Sending, ledger_of


@pytest.fixture(scope="module")
def sending(schema: Database) -> Iterator[Sending]:
    with ledger_of(schema) as sending:
        yield sending


@pytest.fixture
def receiver(deliverer: Deliverer) -> Iterator[Receiver]:
    assert deliverer.alive
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def holder(sending: Sending) -> str:
    """Somebody with credits, whom no other test knows."""
    holder = f"holder-{secrets.token_hex(6)}"
    sending.grants(holder)
    return holder
