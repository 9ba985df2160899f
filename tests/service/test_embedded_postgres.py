"""The PostgreSQL that comes along: private, durable, one for each folder, gone with its parent."""

import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service.embedded_postgres import (
    EmbeddedPostgres,
    EmbeddedPostgresError,
    find_binaries,
    major_version,
    running_dsn,
)

ROOT = Path(__file__).parent.parent.parent

PARENT = """
import os, signal, sys
from pathlib import Path
from service.embedded_postgres import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1])).start()
import psycopg
with psycopg.connect(server.dsn(), autocommit=True) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
    connection.execute("INSERT INTO kept VALUES (1)")
print(server.process.pid, flush=True)
signal.pause()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ledger-pg-") as made:
        Path(made).chmod(0o755)  # as root, the server runs under another account and has to get in
        yield Path(made)


def start_parent(folder: Path) -> "tuple[subprocess.Popen[str], int]":
    """A process that runs a server on the folder; its process id and the server's."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


def wait_for_end(pid: int) -> None:
    """Returns when the process has ended; fails after a time that is long for it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended, _, _ = select.select([descriptor], [], [], 30)
    os.close(descriptor)
    assert ended, f"process {pid} still runs"


def test_it_keeps_what_was_written_and_always_syncs(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        settings = {
            name: connection.execute(f"SHOW {name}".encode()).fetchone()
            for name in ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses")
        }
        assert settings == {
            "fsync": ("on",), "synchronous_commit": ("on",), "full_page_writes": ("on",), "listen_addresses": ("",),
        }  # fmt: skip
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_nobody_else_can_enter_its_folders(folder: Path) -> None:
    with EmbeddedPostgres(folder / "data"):
        for private in (folder / "data", folder / "data" / "socket", folder / "data" / "cluster"):
            assert stat.S_IMODE(private.stat().st_mode) == 0o700, private


def test_a_second_process_on_the_same_folder_is_refused(folder: Path) -> None:
    with EmbeddedPostgres(folder), pytest.raises(EmbeddedPostgresError, match="in use by another process"):
        EmbeddedPostgres(folder, start_seconds_max=0.05).start()


def test_a_folder_with_a_long_name_works(folder: Path) -> None:
    long = folder / ("x" * 100)
    with EmbeddedPostgres(long) as server, psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a process to its parent")
def test_it_ends_when_its_parent_is_killed_and_the_next_start_finds_everything(folder: Path) -> None:
    parent, server = start_parent(folder)
    with parent:
        parent.send_signal(signal.SIGKILL)
    with EmbeddedPostgres(folder) as again, psycopg.connect(again.dsn()) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1,)
    wait_for_end(server)


def test_it_recovers_from_a_power_cut(folder: Path) -> None:
    server = EmbeddedPostgres(folder).start()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    server.kill()
    with EmbeddedPostgres(folder) as again, psycopg.connect(again.dsn()) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_data_of_another_version_is_refused_with_what_to_do(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        pass
    (folder / "cluster" / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedPostgresError, match="dump it with 14"):
        EmbeddedPostgres(folder).start()


def test_a_start_that_fails_says_why_and_leaves_the_folder_free(folder: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="shared_buffers"):
        EmbeddedPostgres(folder, settings={"shared_buffers": "nonsense"}).start()
    with EmbeddedPostgres(folder):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to leave its account")
def test_root_is_told_of_a_folder_that_the_server_could_not_enter(folder: Path) -> None:
    closed = folder / "closed" / "data"
    closed.parent.mkdir(mode=0o700)
    with pytest.raises(EmbeddedPostgresError, match="choose a data folder outside it"):
        EmbeddedPostgres(closed).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to leave its account")
def test_root_copies_binaries_that_the_server_could_not_reach(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = folder / "hidden"
    hidden.mkdir(mode=0o700)
    installation = find_binaries().parent
    package = hidden / installation.parent.name
    package.mkdir()
    (package / installation.name).symlink_to(installation)
    libraries = installation.parent.with_name(f"{installation.parent.name}.libs")
    if libraries.exists():
        (hidden / libraries.name).symlink_to(libraries)
    monkeypatch.setattr("service.embedded_postgres.find_binaries", lambda: package / installation.name / "bin")
    monkeypatch.setattr("service.embedded_postgres.BINARIES_CACHE", folder / "cache")
    data = folder / "data"
    with EmbeddedPostgres(data) as server, psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert any((folder / "cache").iterdir())


def test_the_binaries_are_new_enough() -> None:
    assert major_version(find_binaries()) >= 15


def test_a_server_is_visited_only_if_it_stays(folder: Path) -> None:
    """A short-lived process would end it under its visitors; whoever stays says so, and no longer when it ends."""
    with EmbeddedPostgres(folder), pytest.raises(EmbeddedPostgresError, match="in use by another process"):
        running_dsn(folder, wait_seconds_max=0.05)
    with EmbeddedPostgres(folder, visitors=True):
        dsn = running_dsn(folder)
        assert dsn is not None
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert running_dsn(folder) is None
    server = EmbeddedPostgres(folder, visitors=True).start()
    server.kill()
    with EmbeddedPostgres(folder), pytest.raises(EmbeddedPostgresError, match="in use by another process"):
        running_dsn(folder, wait_seconds_max=0.05)
