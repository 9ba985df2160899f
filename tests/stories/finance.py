"""Runs docs/finance.md; `python -m tests.stories.finance` writes what a real run prints into it.

The page's commands run as those of the operators' page do, on a service whose test clock stands still. Ids are new in
each run, and so are times, rates, hashes and the account's name: where nothing else differs, the page keeps its own.
"""

import re
import tempfile
from pathlib import Path

from ledger.store.database import Database
from service.embedded_postgres import EmbeddedPostgres
from tests.service.forking import command_folder
from tests.service.serving import Service, serving
from tests.stories import runbook

PAGE = Path(__file__).parent.parent.parent / "docs" / "finance.md"
BEGINNING = "2026-03-01T00:00:00Z"
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
NEW_EACH_TIME = re.compile(
    rf"{UUID}|\bcg-[0-9a-z]{{16}}|\b[0-9a-f]{{64}}\b|[\d,.]+(?:/s| s\b)|\d+ process(?:es)?|(?<=API_KEY:)[\w-]+"
    r"|(?<=OPERATOR:)[\w-]+|[\d,]+(?= bytes)|(?<=\"bytes\": )\d+| +"
)


class Run(runbook.Run):
    """One run of the page, which prints what the page shows where only what is new each time differs."""

    def __init__(
        self, page: str, service: Service, settings: dict[str, str], folder: Path, programs: Path, database: Database
    ) -> None:
        super().__init__(service, settings, folder, programs, database)
        self._shown = {piece.command: piece.printed for piece in runbook.pieces_of(page)}

    def printed_by(self, command: str) -> str:
        printed, shown = super().printed_by(command), self._shown[command]
        same = shown is not None and NEW_EACH_TIME.sub("~", printed) == NEW_EACH_TIME.sub("~", shown)
        return shown if same and shown is not None else printed


def executed(page: str, database: Database) -> str:
    """The page, carried out on an empty ledger."""
    settings = {"database_url": database.dsn, "schema": database.schema, "test_clock": "1"}
    with (
        tempfile.TemporaryDirectory(prefix="ledger-finance-") as folder,
        command_folder() as programs,
        serving(cwd=None, **settings) as service,
    ):
        service.set_clock(BEGINNING).raise_for_status()
        return runbook.carried_out(page, Run(page, service, settings, Path(folder), programs, database))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ledger-page-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder)) as server:
            PAGE.write_text(executed(PAGE.read_text(), Database(server.dsn())))


if __name__ == "__main__":
    main()
