"""Epochs from the command line: what an operator says after the log was restored."""

import click

from ledger.domain.instants import Instant
from ledger.domain.values import TEXT_CHARACTERS_MAX, text_of
from ledger.store.database import Database, Role
from ledger.store.epochs import Epoch, begin_epoch, identity
from service.cli.frame import ExampledGroup, operator, show, table, with_json
from service.cli.projections import with_database
from service.settings import read_settings

COLUMNS = ("epoch", "began_after", "began_at", "began_by", "reason")


@click.group("epochs", cls=ExampledGroup, example="credit-ledger epochs list")
def epochs_group() -> None:
    """Epochs of the log: what subscribers' cursors are of. A restored log begins a new one."""


@epochs_group.command("list", example="credit-ledger epochs list")
@with_json
@with_database
def epochs_list(database: Database, as_json: bool) -> None:
    """Every epoch there was, oldest first; the last one is the present one."""
    with database.connect(Role.READER) as connection:
        found = identity(connection).epochs
    _show(found, as_json)


@epochs_group.command("begin", example="credit-ledger epochs begin --reason 'restored the backup of Sunday'")
@click.option("--reason", required=True, help="What happened to the log.")
@click.option("--after", type=click.IntRange(min=0), help="The last position that is as it was; none: the head.")
@with_json
@with_database
def epochs_begin(database: Database, reason: str, after: int | None, as_json: bool) -> None:
    """Begin a new epoch: cursors of former ones are refused, and are told what to go back to. Then restart services."""
    said = text_of(reason, field="reason", characters_max=TEXT_CHARACTERS_MAX)
    begun = begin_epoch(database, _now(database), after=after, by=operator().key, reason=said)
    _show((begun,), as_json)


def _now(database: Database) -> Instant:
    with database.connect(Role.READER) as connection:
        return read_settings().clock().read(connection)


def _show(epochs: tuple[Epoch, ...], as_json: bool) -> None:
    show([each._asdict() for each in epochs], as_json, lambda: table(COLUMNS, epochs, right=("began_after",)))
