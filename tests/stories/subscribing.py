"""Runs docs/subscribing.md; `python -m tests.stories.subscribing` writes what a real run prints into it.

The page's programs are saved under the names that they begin with; its commands run as those of the operators' page do,
on a service whose test clock stands still, and with a database of the subscriber's own.
"""

import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger.store.database import Database
from service.embedded_postgres import EmbeddedPostgres
from tests.service.forking import command_folder
from tests.service.serving import Service, serving
from tests.stories import runbook

PAGE = Path(__file__).parent.parent.parent / "docs" / "subscribing.md"
NOW = "2026-03-10T09:30:00Z"
PROGRAM = re.compile(r"^```python\n# Save this as (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
CURSOR = r"(?<![\w-])[\w-]{32}(?![\w-])"
NEW_EACH_TIME = re.compile(rf"{UUID}|{CURSOR}|(?<=\"timestamp\": \")[^\"]*")


def programs_of(page: str) -> dict[str, str]:
    """The text of each program by its name."""
    return {found[1]: found[2] for found in PROGRAM.finditer(page)}


@contextmanager
def subscriber_database(server_dsn: str) -> Iterator[str]:
    """A place for a subscriber's own tables: the DSN of an empty schema."""
    name = f"subscriber_{secrets.token_hex(6)}"
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        yield make_conninfo(server_dsn, options=f"-c search_path={name}", application_name=name)
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


class Run(runbook.Run):
    """One run of the page, which prints what the page shows where only what is new each time differs."""

    def __init__(
        self, page: str, service: Service, settings: dict[str, str], folder: Path, programs: Path, database: Database
    ) -> None:
        super().__init__(service, settings, folder, programs, database)
        self._shown = {piece.command: piece.printed for piece in runbook.pieces_of(page)}
        for name, text in programs_of(page).items():
            (folder / name).write_text(text)

    def subscribe(self, dsn: str) -> None:
        self._environment["SUBSCRIBER_DATABASE_URL"] = dsn

    def printed_by(self, command: str) -> str:
        printed, shown = super().printed_by(command), self._shown[command]
        same = shown is not None and NEW_EACH_TIME.sub("~", printed) == NEW_EACH_TIME.sub("~", shown)
        return shown if same and shown is not None else printed


def executed(page: str, database: Database) -> str:
    """The page, carried out on an empty ledger."""
    settings = {"database_url": database.dsn, "schema": database.schema}
    settings |= {"test_clock": "1", "webhook_private_targets": "1"}
    with (
        tempfile.TemporaryDirectory(prefix="ledger-subscribing-") as folder,
        command_folder() as programs,
        subscriber_database(database.dsn) as subscriber,
        serving(cwd=None, **settings) as service,
    ):
        service.set_clock(NOW).raise_for_status()
        run = Run(page, service, settings, Path(folder), programs, database)
        run.subscribe(subscriber)
        return runbook.carried_out(page, run)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ledger-page-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder)) as server:
            PAGE.write_text(executed(PAGE.read_text(), Database(server.dsn())))


if __name__ == "__main__":
    main()
