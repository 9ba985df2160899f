"""The tests' side of `writing_program`: start its processes, read what they report, kill, stop and resume them."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ledger.store.database import Database

ROOT = Path(__file__).parents[2]
WAIT_SECONDS_MAX = 60.0


class Program:
    """One process that writes or tails; what it reported so far."""

    def __init__(self, report: int) -> None:
        self._report = report
        self._rest = b""
        self.ended = False
        self.pid = 0
        self.acknowledged: dict[str, str] = {}
        """Key to transaction id."""
        self.until(lambda: self.pid != 0)

    def read(self, seconds: float) -> None:
        """Take in what it reports, waiting up to `seconds` for the first of it."""
        readable, _, _ = select.select([self._report], [], [], max(seconds, 0))
        if self.ended or not readable:
            return
        piece = os.read(self._report, 1 << 20)
        self.ended = not piece
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._take(line.decode())

    def _take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        match word:
            case "pid":
                self.pid = int(rest)
            case "ack":
                key, _, transaction_id = rest.partition(" ")
                assert key not in self.acknowledged, f"{key} was acknowledged twice"
                self.acknowledged[key] = transaction_id
            case _:
                raise AssertionError(f"the program reports: {line}")

    def until(self, condition: Callable[[], bool], seconds: float = WAIT_SECONDS_MAX) -> None:
        """Read until `condition` holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert not self.ended, "the program has ended early"
            assert time.monotonic() < deadline, f"waited {seconds} seconds in vain"
            self.read(deadline - time.monotonic())

    def read_for(self, seconds: float) -> None:
        """Read whatever comes for so long."""
        deadline = time.monotonic() + seconds
        while not self.ended and time.monotonic() < deadline:
            self.read(deadline - time.monotonic())

    def read_to_the_end(self) -> None:
        """Read until the process is gone."""
        self.until(lambda: self.ended)

    def acknowledges_more(self, count: int) -> None:
        """Read until it has acknowledged `count` more commands."""
        wanted = len(self.acknowledged) + count
        self.until(lambda: len(self.acknowledged) >= wanted)

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once and read what it had still reported."""
        if not self.ended:
            os.kill(self.pid, signal.SIGKILL)
            self.read_to_the_end()

    def close(self) -> None:
        self.kill()
        os.close(self._report)


class Programs:
    """The parent of the processes; it has imported everything, so that one more costs a few milliseconds."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair()
        command = [sys.executable, "-m", "tests.faults.writing_program", str(theirs.fileno())]
        self._parent = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT)
        theirs.close()
        self._started: list[Program] = []

    def start(self, database: Database, work: str, **orders: Any) -> Program:
        """Start a process: `work` is write or tail, the orders are those of its function."""
        report, theirs = os.pipe()
        message = {"dsn": database.dsn, "schema": database.schema, "work": work, **orders}
        socket.send_fds(self._orders, [json.dumps(message).encode()], [theirs])
        os.close(theirs)
        program = Program(report)
        self._started.append(program)
        return program

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in self._started:
            program.close()
        self._orders.close()
        self._parent.wait(timeout=WAIT_SECONDS_MAX)
