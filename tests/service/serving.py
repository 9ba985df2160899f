"""A service as users meet it: the command `credit-ledger serve` in a process of its own, asked over HTTP."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

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
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=cwd,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=ANSWER_SECONDS_MAX,
    )


class Service:
    """A running service."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path, key: str) -> None:
        self.process = process
        self.key = key
        self._log = log
        self.said: list[str] = []
        self.url = self._address()
        self.http = httpx.Client(base_url=self.url, headers={"X-API-KEY": key}, timeout=ANSWER_SECONDS_MAX)

    def _address(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
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
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=ANSWER_SECONDS_MAX)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "http"):
            self.http.close()
        self.end()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def serving(*arguments: str, key: str = KEY, cwd: Path | None = None, **settings: str) -> Iterator[Service]:
    """A service with these settings, on a port of its own, ended in good order afterwards."""
    given = {"port": "0", "admin_key": key} | settings
    with tempfile.TemporaryDirectory(prefix="ledger-log-") as folder:
        log = Path(folder, "log")
        with log.open("ab") as stderr:  # a pipe that nobody reads would stop the service when it is full
            process = subprocess.Popen(
                [COMMAND, "serve", *arguments],
                cwd=cwd,
                env=environment(**given),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        with Service(process, log, key) as service:
            yield service
