"""The page for finance, carried out from the first command to the last: it shows what is printed."""

from difflib import unified_diff

from ledger.store.database import Database
from tests.stories.finance import PAGE, executed


def test_the_page_for_finance_shows_what_its_commands_print(database: Database) -> None:
    page = PAGE.read_text()
    real = executed(page, database)
    difference = unified_diff(page.splitlines(), real.splitlines(), "the page", "the run", n=4, lineterm="")
    assert real == page, "\n".join(difference)
