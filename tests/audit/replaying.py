"""The audit replay as an auditor meets it: the command, what it prints as JSON, and what it finds."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from ledger.store.database import Database
from service.cli.frame import run
from service.cli.main import cli
from service.refusals import Exit
from tests.service.test_doctor import answer, kept, superuser

NOWHERE = "postgresql://127.0.0.1:1/none", "none"


class Replayed(NamedTuple):
    """A report that was printed, and how the command ended."""

    ends: int
    data: dict[str, Any]

    @property
    def failed(self) -> dict[str, dict[str, Any]]:
        """What did not pass, by check, read model or `earlier-replay`."""
        checks = {check["check"]: check for check in self.data["checks"] if not check["passed"]}
        models = {each["projection"]: each for each in self.data["comparisons"] if each["passed"] is False}
        earlier = self.data["earlierReplay"]
        told = {} if earlier is None or earlier["passed"] else {"earlier-replay": earlier}
        return checks | models | told


class Auditor:
    """Runs `credit-ledger audit replay` on a ledger."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def at(self, database: Database | None) -> "Auditor":
        """None: no ledger can be reached."""
        dsn, schema = NOWHERE if database is None else (database.dsn, database.schema)
        self._monkeypatch.setenv("LEDGER_DATABASE_URL", dsn)
        self._monkeypatch.setenv("LEDGER_SCHEMA", schema)
        return self

    def replay(self, *options: str) -> Replayed:
        ends, out, err = self.printed(*options, "--json")
        assert out, err
        return Replayed(ends, json.loads(out))

    def printed(self, *options: str) -> tuple[int, str, str]:
        """The exit code, and what was printed."""
        self._capsys.readouterr()
        ends = run(cli, ["audit", "replay", *options])
        out, err = self._capsys.readouterr()
        return ends, out, err


class Planted(NamedTuple):
    """A fault in the log. `row` selects the position to harm, which `{row}` in `harm` is; the replay names it by
    `check` at that position, or at the one that `at` selects, says `says` of it, and finds `also` and nothing else."""

    check: str
    row: str
    harm: str
    says: str
    also: tuple[str, ...] = ()
    at: str = "{row}"

    @contextmanager
    def in_log_of(self, database: Database) -> Iterator[int]:
        """Plant it; yields the position that is to be named. Afterwards the log is whole again."""
        with superuser(database) as connection, kept(connection, "events"):
            row = answer(connection, f"SELECT {self.row} LIMIT 1")
            named = int(answer(connection, f"SELECT {self.at.format(row=row)}"))
            connection.execute(self.harm.format(row=row).encode())
            yield named

    def is_found(self, replayed: Replayed, position: int) -> None:
        failed = replayed.failed
        assert replayed.ends == Exit.FAULT
        assert set(failed) - {"lots", "balances", "execution_credits"} == {self.check, *self.also}, failed
        first = failed[self.check]["first"]
        assert first["position"] == position, first
        assert self.says in f"{first['says']}; should be {first['should']}"
