"""One service on the test clock for all tests of a module; each test keeps to customers of its own."""

import secrets
from collections.abc import Iterator

import pytest

from ledger.store.database import Database
from tests.service.serving import Service, serving


@pytest.fixture(scope="module")
def service(schema: Database) -> Iterator[Service]:
    """A service on the test clock, which stands at 2026-01-31T12:00Z unless a test sets it."""
    with serving(database_url=schema.dsn, schema=schema.schema, test_clock="1") as running:
        assert running.set_clock("2026-01-31T12:00:00Z").status_code == 200
        yield running


@pytest.fixture
def customer() -> str:
    """A customer whom no other test knows."""
    return f"customer-{secrets.token_hex(6)}"
