"""What a measurement costs the processors: of Python, of PostgreSQL, and of a client that is a process of its own."""

import os
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from scripts.benchmark.measure import Measurement, Processors

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PARENT, USER, SYSTEM, USER_OF_ENDED, SYSTEM_OF_ENDED = 1, 11, 12, 13, 14
"""Places in what Linux tells of a process, from its state on."""
LOOKS_MAX = 20


def children_seconds() -> float:
    """What those processes have used that this one started and waited for."""
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return of_children.ru_utime + of_children.ru_stime


def all_python_seconds() -> float:
    """What this process and those it waited for have used."""
    return time.process_time() + children_seconds()


def process_seconds(pid: int) -> float | None:
    """What one process has used so far; None where that cannot be read."""
    with suppress(OSError):
        told = _stat(Path("/proc", str(pid), "stat"))
        return (int(told[USER]) + int(told[SYSTEM])) / TICKS_PER_SECOND
    return None


@dataclass(frozen=True)
class Meter:
    """Takes the costs of a measurement. `postmaster` is the server's first process, None where it is not on this
    machine; `python` tells what the ledger's own process has used so far, `client` the same of who asks it."""

    postmaster: int | None
    python: Callable[[], float | None] = time.process_time
    client: Callable[[], float | None] | None = None

    def measure(self, work: Callable[[], Measurement]) -> Measurement:
        before = self.read()
        done = work()
        return replace(done, processors=self.since(before))

    def read(self) -> Processors:
        """What all have used so far."""
        server = None if self.postmaster is None else server_seconds(self.postmaster)
        return Processors(self.python(), server, None if self.client is None else self.client())

    def since(self, before: Processors) -> Processors:
        """A client that used nothing is not there."""
        now = self.read()
        python, server, client = (None if a is None or b is None else b - a for a, b in zip(before, now, strict=True))
        return Processors(python, server, client or None)


def find_postmaster(dsn: str) -> int | None:
    """The first process of the server behind a connection string; None where it does not run on this machine.

    By its socket the kernel names it. By TCP a session has a number that may be one of another machine: it is taken if
    the process of this number here serves the very port that we call from.
    """
    with psycopg.connect(dsn, connect_timeout=10) as connection, suppress(OSError, AttributeError):
        session, called_from = connection.info.backend_pid, _port(connection)
        if called_from is None:
            postmaster = _peer(connection)
        elif f"({called_from})" in Path("/proc", str(session), "cmdline").read_text():
            postmaster = int(_stat(Path("/proc", str(session), "stat"))[PARENT])
        else:
            return None
        return postmaster if "postgres" in Path("/proc", str(postmaster), "comm").read_text() else None
    return None


def server_seconds(postmaster: int) -> float | None:
    """What the server's processes have used so far, those that have ended included.

    The kernel counts those that have ended in ticks of 10 ms; those that live to the nanosecond, if it tells. Looks
    again while processes end, which would be in neither count.
    """
    try:
        ended = _ended(postmaster)
        for _ in range(LOOKS_MAX):
            alive = sum(map(_alive, _children(postmaster)))
            before, ended = ended, _ended(postmaster)
            if ended == before:
                break
    except OSError:
        return None
    return (process_seconds(postmaster) or 0.0) + ended / TICKS_PER_SECOND + alive


def _ended(postmaster: int) -> int:
    told = _stat(Path("/proc", str(postmaster), "stat"))
    return int(told[USER_OF_ENDED]) + int(told[SYSTEM_OF_ENDED])


def _children(parent: int) -> Iterator[Path]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            if int(_stat(folder / "stat")[PARENT]) == parent:
                yield folder


def _alive(folder: Path) -> float:
    with suppress(OSError, ValueError, IndexError):
        nanoseconds = int((folder / "schedstat").read_text().split()[0])
        if nanoseconds:
            return nanoseconds / 1e9
    return process_seconds(int(folder.name)) or 0.0


def _port(connection: "psycopg.Connection[tuple[object, ...]]") -> int | None:
    """The port that a connection comes from; None for one by a socket of the file system."""
    with socket.socket(fileno=os.dup(connection.fileno())) as ours:
        return None if ours.family == socket.AF_UNIX else int(ours.getsockname()[1])


def _peer(connection: "psycopg.Connection[tuple[object, ...]]") -> int:
    """The process that listens at the other end of a socket of the file system."""
    with socket.socket(fileno=os.dup(connection.fileno())) as ours:
        told = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", told)[0]
    return pid


def _stat(path: Path) -> list[str]:
    """What Linux tells of a process, from its state on."""
    return path.read_text().rpartition(")")[2].split()
