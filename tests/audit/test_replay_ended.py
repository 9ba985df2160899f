"""A replay that does not come to its end says so: its exit code is that of a fault, and no process of it is left."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from ledger.store.database import Database
from projections.audit.folding import FoldingEnded, ProcessFolder
from service.refusals import Exit
from tests.service.load import assert_they_end, eventually
from tests.service.serving import ANSWER_SECONDS_MAX, environment

IN_PROCESSES = """
import sys, projections.audit.folding as work, service.cli.main as line
sys.executable, work.ALONE_EVENTS_MAX = {!r}, 0
line.main()
"""
STANDS_STILL = f"""#!/bin/sh
kill -STOP $$
exec {sys.executable} "$@"
"""
SECONDS_MAX = 30
BEGUN_BYTES = 10_000
"""More than a folding process is sent before there are lines for it, and less than these lines are."""


@pytest.fixture
def standing(tmp_path: Path) -> str:
    """A Python that begins once it is told to go on."""
    program = tmp_path / "python"
    program.write_text(STANDS_STILL)
    program.chmod(0o755)
    return str(program)


def folders_of(pid: int) -> list[int]:
    """The processes that fold for another one."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def unread_bytes(pid: int) -> int:
    """What was sent to a process that it has not taken yet."""
    with suppress(OSError), Path(f"/proc/{pid}/fd/0").open("rb") as orders:
        return int.from_bytes(fcntl.ioctl(orders, termios.FIONREAD, b"\0" * 4), sys.byteorder)
    return 0


@contextmanager
def replaying(database: Database, standing: str) -> Iterator[tuple["subprocess.Popen[str]", list[int]]]:
    """`credit-ledger audit replay` in the midst of the log, and the two processes that are to fold for it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # one that is ignored is inherited
    process = subprocess.Popen(
        [sys.executable, "-c", IN_PROCESSES.format(standing), "audit", "replay", "--processes", "3"],
        env=environment(database_url=database.dsn, schema=database.schema) | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    folders: list[int] = []
    with process:
        try:
            assert eventually(lambda: sum(map(unread_bytes, folders_of(process.pid))) > BEGUN_BYTES, SECONDS_MAX)
            folders = folders_of(process.pid)
            yield process, folders
        except BaseException:
            for pid in (*folders, process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise


def test_a_replay_whose_processes_are_killed_ends_with_a_fault(lived: Database, standing: str) -> None:
    with replaying(lived, standing) as (process, folders):
        for pid in folders:
            os.kill(pid, signal.SIGKILL)
        said, log = process.communicate(timeout=ANSWER_SECONDS_MAX)
    assert (process.returncode, said) == (Exit.FAULT, "")
    assert log.endswith("FoldingEnded: a process that folds has ended: -9\n")


def test_ctrl_c_ends_a_replay_and_leaves_no_process_behind(lived: Database, standing: str) -> None:
    with replaying(lived, standing) as (process, folders):
        process.send_signal(signal.SIGINT)
        said, log = process.communicate(timeout=ANSWER_SECONDS_MAX)
        assert_they_end(folders)
    assert (process.returncode, said) == (130, "")
    assert "Traceback" not in log


@pytest.mark.parametrize("moment", ["before it is told", "before it answers"])
def test_a_process_that_is_killed_is_no_reader_who_has_gone(
    monkeypatch: pytest.MonkeyPatch, standing: str, moment: str
) -> None:
    """Somebody who reads what is printed may have had enough, as `head` has; a broken pipe of ours is a fault."""
    monkeypatch.setattr(sys, "executable", standing)
    others = set(folders_of(os.getpid()))
    with ProcessFolder() as started:
        folder = started.begun(frozenset())
        (pid,) = set(folders_of(os.getpid())) - others
        if moment == "before it is told":
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        else:
            Thread(target=kill_once_told, args=[pid, unread_bytes(pid)]).start()
        with pytest.raises(FoldingEnded, match="has ended: -9"):
            folder.finish()


def kill_once_told(pid: int, before: int) -> None:
    eventually(lambda: unread_bytes(pid) > before, SECONDS_MAX)
    os.kill(pid, signal.SIGKILL)
