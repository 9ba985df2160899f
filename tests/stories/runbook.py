"""Runs docs/operations.md; `python -m tests.stories.runbook` writes what a real run prints into it.

Each `sh` block is run in a shell, in one folder, with ADDRESS, KEY and the service's settings in its environment,
beside a running service; where a `text` block follows, it shows what was printed. A comment that HAPPENINGS knows is
something that happens to the ledger at that place, by an account that may do anything.

Versions, times and rates are others in each run: where nothing else differs, the page keeps its own.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import sql

from ledger.store.database import Database
from service.embedded_postgres import EmbeddedPostgres
from tests.service.forking import command_folder
from tests.service.load import eventually
from tests.service.serving import COMMAND, Service, environment, serving

PAGE = Path(__file__).parent.parent.parent / "docs" / "operations.md"
PIECE = re.compile(
    r"^<!-- (?P<happening>[^\n]*) -->$|^```sh\n(?P<command>.*?)^```$(?:\n\n```text\n(?P<printed>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)
VOLATILE = re.compile(r"[0-9a-f]{12}|\d{4}-\d\d-\d\d|[\d,.]+(?:/s| s\b)|(?<=\()\w+(?=\):)| +|(?<=\s)-(?=\s)")
SECONDS_MAX = 20.0
POISON = """
INSERT INTO events
SELECT (jsonb_populate_record(told, jsonb_build_object(
    'position', told.position + 1, 'transaction_last', told.position + 1, 'version', told.version + 1,
    'amount', -1000000, 'transaction_id', gen_random_uuid(), 'debit_id', gen_random_uuid()
))).*
FROM events AS told ORDER BY position DESC LIMIT 1
"""


class Piece(NamedTuple):
    """Something that happens, or a command with what it prints, and where in the page that stands."""

    happening: str | None
    command: str | None
    printed: str | None
    start: int
    end: int


def pieces_of(page: str) -> Iterator[Piece]:
    for found in PIECE.finditer(page):
        yield Piece(found["happening"], found["command"], found["printed"], *found.span("printed"))


class Run:
    """One run of the page, on a service and the ledger that it serves."""

    def __init__(
        self, service: Service, settings: dict[str, str], folder: Path, programs: Path, database: Database
    ) -> None:
        self._service = service
        self._folder = folder
        self._database = database
        self._environment = environment(**settings) | {"ADDRESS": service.url, "KEY": service.key}
        self._environment["PATH"] = os.pathsep.join([str(programs), str(COMMAND.parent), self._environment["PATH"]])

    def printed_by(self, command: str) -> str:
        self._settle()
        done = subprocess.run(
            ["bash", "-uc", command],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"

    def happen(self, what: str) -> None:
        self._settle()
        with psycopg.connect(self._database.conninfo(None), autocommit=True) as connection:
            HAPPENINGS[what](connection)

    def _settle(self) -> None:
        """What was written is folded, as far as it can be."""
        assert eventually(lambda: all(map(self._settled, self._projections())), SECONDS_MAX)

    def _projections(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self._service.http.get("/ops/projections").json()["projections"]
        return found

    @staticmethod
    def _settled(projection: dict[str, object]) -> bool:
        return projection["lagEvents"] == 0 or projection["state"] in {"paused", "failed", "kept", "rebuilding"}


def _change_a_balance(connection: "psycopg.Connection[tuple[str, str]]") -> None:
    serving_build = "SELECT name, version FROM projections WHERE name = 'balances' AND stage = 'serving'"
    row = connection.execute(serving_build).fetchone()
    assert row is not None
    table = sql.Identifier("_".join(row))
    connection.execute(sql.SQL("UPDATE {} SET granted = granted + 5, balance = balance + 5").format(table))


def _write_poison(connection: "psycopg.Connection[tuple[str, str]]") -> None:
    connection.execute(POISON)


HAPPENINGS: dict[str, Callable[["psycopg.Connection[tuple[str, str]]"], None]] = {
    "somebody changes a balance": _change_a_balance,
    "the log gets an event that balances cannot fold": _write_poison,
}


def carried_out(page: str, run: Run) -> str:
    """The page with what its commands print; what it shows already stays where only what is volatile differs."""
    parts, end = [], 0
    for piece in pieces_of(page):
        if piece.happening is not None:
            run.happen(piece.happening)
            continue
        assert piece.command is not None
        printed = run.printed_by(piece.command)
        assert (piece.printed is None) == (printed == "\n"), (piece.command, printed)
        if piece.printed is not None:
            same = VOLATILE.sub("~", printed) == VOLATILE.sub("~", piece.printed)
            parts += [page[end : piece.start], piece.printed if same else printed]
            end = piece.end
    return "".join([*parts, page[end:]])


def executed(page: str, database: Database) -> str:
    """The page, carried out on an empty ledger."""
    settings = {"database_url": database.dsn, "schema": database.schema}
    with (
        tempfile.TemporaryDirectory(prefix="ledger-runbook-") as folder,
        command_folder() as programs,
        serving(cwd=None, **settings) as service,
    ):
        return carried_out(page, Run(service, settings, Path(folder), programs, database))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ledger-page-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder)) as server:
            PAGE.write_text(executed(PAGE.read_text(), Database(server.dsn())))


if __name__ == "__main__":
    main()
