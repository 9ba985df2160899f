"""`projections verify`: every row of the projections, held against the log."""

import gc
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from ledger.store.database import Database, Role
from projections.read_model import ReadModel
from projections.verification import Difference, Verified, verify_serving
from service.bootstrap import GC_ALLOCATIONS
from service.cli.frame import WithExample, show, with_json
from service.cli.progress import Progress
from service.cli.projections import with_any_names, with_database
from service.refusals import Exit


@click.command("verify", cls=WithExample, example="credit-ledger projections verify balances lots")
@with_any_names
@with_json
@with_database
def verify_command(database: Database, models: Sequence[ReadModel], as_json: bool) -> int:
    """Fold the log a second time, in Python, and compare every row; exit code 1 if any differs."""
    progress = Progress(quiet=as_json)
    begun = time.monotonic()

    def told(done: int, total: int) -> None:
        progress.tell("verify", "reading", done, total, done / max(time.monotonic() - begun, 0.001))

    gc.set_threshold(GC_ALLOCATIONS, 20, 20)  # the replay allocates for each event, and nothing in a cycle
    with database.connect(Role.READER) as connection:
        found = verify_serving(connection, models, told)
    progress.clear()
    show([_data(each) for each in found], as_json, lambda: (line for each in found for line in _lines(each)))
    return Exit.FAULT if any(each.differences for each in found) else Exit.DONE


def _data(found: Verified) -> dict[str, Any]:
    first = None if found.first is None else _first(found.first)
    return {"name": found.model, "rows": found.rows, "differences": found.differences, "first": first}


def _first(difference: Difference) -> dict[str, Any]:
    values = {"found": difference.shown(difference.found), "expected": difference.shown(difference.expected)}
    if difference.column is None:
        values = {name: None if value is None else "a row" for name, value in values.items()}
    return {"row": dict(difference.row), "column": difference.column, **values}


def _lines(found: Verified) -> Iterator[str]:
    if found.first is None:
        yield f"{found.model}: {found.rows:,} rows, each as the log says"
    else:
        yield f"{found.model}: {found.differences:,} of {found.rows:,} rows differ, first: {found.first}"
        yield f"  mend it with: credit-ledger projections rebuild {found.model}"
