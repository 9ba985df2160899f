"""A service as users meet it: the command `credit-ledger serve` in a process of its own, asked over HTTP."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import httpx

from tests.service.forking import forked

COMMAND = Path(sys.executable).with_name("credit-ledger")
KEY = "the-admin-key-of-the-tests"
START_SECONDS_MAX = 60
ANSWER_SECONDS_MAX = 60.0


def environment(**settings: str) -> dict[str, str]:
    """A clean environment with these settings; names without LEDGER_."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | {
        f"LEDGER_{name.upper()}": value for name, value in settings.items()
    }


def command(*arguments: str, cwd: Path | None = None, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run `credit-ledger` to its end."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = forked(arguments, environment(**settings), cwd=cwd, stdout=out.fileno(), stderr=err.fileno())
        code = exit_code(process)
        process.close()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


def client_of(url: str, key: str | None = None) -> httpx.Client:
    """A client with connections of its own.

    It speaks no TLS, as no service here does: to load the certificates for it takes longer than ten requests.
    """
    headers = {} if key is None else {"X-API-KEY": key}
    return httpx.Client(base_url=url, headers=headers, timeout=ANSWER_SECONDS_MAX, verify=False)


def exit_code(process: ForkServerProcess) -> int:
    """The exit code of a process, once it has ended; fails, and ends it, after a time that is long for it."""
    process.join(ANSWER_SECONDS_MAX)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"the process did not end in {ANSWER_SECONDS_MAX} s")
    return process.exitcode


class Service:
    """A running service."""

    def __init__(self, process: ForkServerProcess, stdout: TextIO, log: Path, key: str) -> None:
        self.key = key
        self._process = process
        self._stdout = stdout
        self._log = log
        self.said: list[str] = []
        self.url = self._address()
        self.http = client_of(self.url, key)
        self.stranger = client_of(self.url)

    def _address(self) -> str:
        for line in self._stdout:
            self.said.append(line.rstrip("\n"))
            if line.startswith("address:"):
                return line.split()[1]
        raise AssertionError(f"the service did not start: {self.end()}: {self.log()}")

    def log(self) -> str:
        """What it has written to stderr so far."""
        return self._log.read_text()

    def graphql(self, query: str, headers: dict[str, str] | None = None, **variables: Any) -> httpx.Response:
        """Send a document with its variables."""
        return self.http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)

    def data(self, query: str, headers: dict[str, str] | None = None, **variables: Any) -> Any:
        """The data of an answer that has no errors."""
        answer = self.graphql(query, headers, **variables)
        body = answer.json()
        assert answer.status_code == 200, body
        assert "errors" not in body, body
        return body["data"]

    def refusal(self, query: str, headers: dict[str, str] | None = None, **variables: Any) -> dict[str, Any]:
        """The extensions, with code and facts, of an answer's one error."""
        (error,) = self.graphql(query, headers, **variables).json()["errors"]
        extensions: dict[str, Any] = error["extensions"]
        return extensions

    def set_clock(self, now: str) -> httpx.Response:
        return self.http.post("/test/clock", json={"now": now})

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        if self._process.exitcode is None and self._process.pid is not None:
            with suppress(ProcessLookupError):  # it may just have ended by itself
                os.kill(self._process.pid, number)
        return exit_code(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "http"):
            self.http.close()
            self.stranger.close()
        self.end()
        self._process.close()


@contextmanager
def serving(*arguments: str, key: str = KEY, cwd: Path | None = None, **settings: str) -> Iterator[Service]:
    """A service with these settings, on a port of its own, ended in good order afterwards."""
    given = {"port": "0", "admin_key": key} | settings
    with tempfile.TemporaryDirectory(prefix="ledger-log-") as folder:
        log = Path(folder, "log")
        reading, writing = os.pipe()
        with open(reading) as stdout:
            with log.open("ab") as stderr:  # a pipe that nobody reads would stop the service when it is full
                process = forked(
                    ["serve", *arguments], environment(**given), cwd=cwd, stdout=writing, stderr=stderr.fileno()
                )
            os.close(writing)
            with Service(process, stdout, log, key) as service:
                yield service
