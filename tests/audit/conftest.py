"""One ledger that has seen everything, and an auditor who replays it."""

from collections.abc import Iterator

import pytest

from ledger.store.database import Database
from tests.audit.replaying import Auditor
from tests.service.test_doctor import lived_ledger


@pytest.fixture(scope="module")
def lived(server_dsn: str) -> Iterator[Database]:
    with lived_ledger(server_dsn) as database:
        yield database


@pytest.fixture
def auditor(lived: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Auditor:
    return Auditor(monkeypatch, capsys).at(lived)
