"""Servers to kill, and programs to kill."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.embedded_postgres import EmbeddedPostgres
from tests.faults.programs import Programs


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    with Programs() as programs:
        yield programs


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """The data folder of a server that this test alone uses, on a path short enough for its socket."""
    with tempfile.TemporaryDirectory(prefix="ledger-faults-") as folder:
        yield Path(folder)


@pytest.fixture
def own_server(server_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server that this test may kill."""
    with EmbeddedPostgres(server_folder) as server:
        yield server
