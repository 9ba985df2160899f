"""One log that much has happened in, and one service that tells of it, for all tests of the feed; some add to it."""

import secrets
from collections.abc import Iterator

import pytest

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.instants import Instant
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from service.api_keys import create_key, revoke_key
from tests.conftest import START, migrated
from tests.feed.lived import lived_through
from tests.feed.reading import Feed
from tests.service.serving import serving


@pytest.fixture(scope="session")
def log(server_dsn: str) -> Iterator[Database]:
    """What random histories bring about."""
    with migrated(server_dsn) as database:
        lived_through(database)
        yield database


@pytest.fixture(scope="session")
def feed(log: Database) -> Iterator[Feed]:
    """The feed of a service that itself writes nothing."""
    with serving("--no-worker", database_url=log.dsn, schema=log.schema, test_clock="1") as service:
        yield Feed(service)


@pytest.fixture(scope="session")
def writer(log: Database) -> Iterator[BlockingLedger]:
    """Another process that writes to the same log."""
    with CreditLedger(log, clock=settable_clock()) as ledger:
        yield BlockingLedger(ledger)


@pytest.fixture
def holder(writer: BlockingLedger) -> str:
    """A customer with credits, whom no other test knows."""
    name = f"customer-{secrets.token_hex(6)}"
    writer.issue_grant(holder=name, currency="credits", amount=1_000_000, display_name="g", grant_type="PAID")
    return name


def key_for(database: Database, *holders: str, role: str = "reader", now: Instant = START) -> tuple[str, str]:
    """The id and the text of a new key."""
    with database.connect(Role.OWNER) as connection:
        key, text = create_key(connection, now, name="test", role=role, holders=holders)
    return key.id, text


def revoke(database: Database, key_id: str) -> None:
    with database.connect(Role.OWNER) as connection:
        revoke_key(connection, START, key_id)
