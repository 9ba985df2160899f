"""Projections from the command line: how they are getting on, and what operators can do about them."""

import functools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
import psycopg

from ledger.domain.instants import Instant
from ledger.domain.refusals import InvalidArgument, Refusal
from ledger.domain.values import text_of
from ledger.store.database import Database, Role, UnusableDatabase
from ledger.store.migrate import check_migrated, migrate
from projections import registry
from projections.pruning import prune
from projections.read_model import READ_MODELS, ReadModel
from projections.rebuild import Rebuilt, Step, rebuild, rehearse, roll_back
from projections.status import Overview, overview
from service.cli.frame import ExampledGroup, Returned, complain, database_here, operator, show, table, with_json
from service.cli.progress import Progress
from service.cli.projection_lines import comparison_data, comparison_lines, rebuilt_data, rebuilt_lines, status_lines
from service.embedded_postgres import EmbeddedPostgresError
from service.operations import overview_data
from service.refusals import Exit
from service.settings import read_settings

WATCH_SECONDS = 1.0


def with_database(function: Callable[..., Returned]) -> Callable[..., Returned]:
    """Gives a command the settings' database, migrated; nothing follows the log here."""

    @functools.wraps(function)
    def opened(*arguments: Any, **options: Any) -> Returned:
        settings = read_settings()
        with database_here(settings) as database:
            if settings.database_url is None:
                migrate(database)
            else:
                check_migrated(database)
            return function(database, *arguments, **options)

    return opened


def with_names(function: Callable[..., Returned]) -> Callable[..., Returned]:
    """Gives a command NAMEs or --all, one of which has to be said; its function gets `models`."""

    @functools.wraps(function)
    def named(*arguments: Any, names: tuple[str, ...], everything: bool, **options: Any) -> Returned:
        if everything == bool(names):
            raise click.UsageError("name projections, or say --all")
        return function(*arguments, models=READ_MODELS if everything else _models(names), **options)

    option = click.option("--all", "everything", is_flag=True, help="All there are.")
    return click.argument("names", metavar="NAME...", nargs=-1)(option(named))


def with_any_names(function: Callable[..., Returned]) -> Callable[..., Returned]:
    """Gives a command NAMEs, or else all there are; its function gets `models`."""

    @functools.wraps(function)
    def named(*arguments: Any, names: tuple[str, ...], **options: Any) -> Returned:
        return function(*arguments, models=_models(names) if names else READ_MODELS, **options)

    return click.argument("names", metavar="[NAME...]", nargs=-1)(named)


def with_rehearsal(function: Callable[..., Returned]) -> Callable[..., Returned | int]:
    """Gives a command --dry-run. Whatever that fails at once it has begun, it ends with 1: 2 is what would change."""

    @functools.wraps(function)
    def rehearsed(*arguments: Any, dry_run: bool, as_json: bool, **options: Any) -> Returned | int:
        try:
            return function(*arguments, dry_run=dry_run, as_json=as_json, **options)
        except (Refusal, psycopg.Error, UnusableDatabase, EmbeddedPostgresError) as error:
            if not dry_run:
                raise
            complain(error, as_json)
            return Exit.FAULT

    says = "Tell what would change, and change nothing: exit code 0, 2, or 1."
    return click.option("--dry-run", is_flag=True, help=says)(rehearsed)


def _models(names: Sequence[str]) -> Sequence[ReadModel]:
    read_settings()  # a wrong one is told first, as everywhere
    return tuple(dict.fromkeys(map(registry.model_named, names)))


@click.group("projections", cls=ExampledGroup, example="credit-ledger projections status")
def projections_group() -> None:
    """Projections: the read models that balances, ledgers and usage are read from."""


@projections_group.command("status", example="credit-ledger projections status --watch")
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
@with_json
@with_database
def status(database: Database, watch: bool, as_json: bool) -> None:
    """How far each has come, how fast it goes, and what stopped it."""
    clock = read_settings().clock()
    while True:
        try:
            with database.connect(Role.READER) as connection:
                seen = overview(connection, clock)
        except psycopg.OperationalError as error:
            if not watch:
                raise
            complain(error, as_json)  # and look again: it may come back
        else:
            _show_status(seen, watch, as_json)
        if not watch:
            return
        time.sleep(WATCH_SECONDS)


@projections_group.command("rebuild", example="credit-ledger projections rebuild balances --dry-run")
@with_names
@with_json
@with_rehearsal
@with_database
def rebuild_command(database: Database, models: Sequence[ReadModel], dry_run: bool, as_json: bool) -> int:
    """Fold the log again beside what serves, compare, and swap; readers and writers go on.

    Ctrl-C ends it, and the same command continues where it was. What was replaced is kept until it is pruned.
    With --dry-run: exit code 0 if nothing would change, 2 if something would, 1 if that could not be found out.
    """
    if dry_run:
        return _rehearse(database, models, as_json)
    done: list[Rebuilt] = []
    ends = int(Exit.DONE)
    try:
        for model in models:
            try:
                with _told(as_json) as told:
                    done.append(rebuild(database, model, told))
            except Refusal as refusal:  # of this one alone: the others go on
                ended = complain(refusal, as_json)
                ends = ends or ended
                continue
            if not as_json:
                show(None, as_json, functools.partial(rebuilt_lines, done[-1]))
    finally:  # what was done is told, whatever ends it
        if as_json and done:
            show([rebuilt_data(each) for each in done], as_json, lambda: iter(()))
    return ends


@projections_group.command("rollback", example="credit-ledger projections rollback balances")
@click.argument("name", metavar="NAME")
@with_json
@with_database
def rollback(database: Database, name: str, as_json: bool) -> None:
    """Let the one serve again that the last rebuild replaced, once it has caught up."""
    with _told(as_json) as told:
        done = roll_back(database, registry.model_named(name), told)
    show(rebuilt_data(done), as_json, lambda: rebuilt_lines(done))


@projections_group.command("prune", example="credit-ledger projections prune")
@with_any_names
@with_json
@with_database
def prune_command(database: Database, models: Sequence[ReadModel], as_json: bool) -> None:
    """Drop what was replaced, what was left unfinished, and what older versions of the code have read."""
    dropped = prune(database, models)
    rows = [each._asdict() for each in dropped]
    columns = ("name", "build", "stage", "position")
    show(rows, as_json, lambda: table(columns, dropped) if dropped else iter(["nothing to drop"]))


@projections_group.command("pause", example="credit-ledger projections pause usage")
@with_names
@with_json
@with_database
def pause(database: Database, models: Sequence[ReadModel], as_json: bool) -> None:
    """Follow and rebuild these no more until they are resumed, also after a restart; reads of them grow stale."""
    with _projector(database) as (connection, now):
        for model in models:
            registry.pause(connection, model.name, at=now, by=operator().key)
    _show_names("paused", models, as_json)


@projections_group.command("resume", example="credit-ledger projections resume usage")
@with_names
@with_json
@with_database
def resume(database: Database, models: Sequence[ReadModel], as_json: bool) -> None:
    """Follow these again."""
    with _projector(database) as (connection, _):
        for model in models:
            registry.resume(connection, model.name)
    _show_names("resumed", models, as_json)


@projections_group.command("skip", example='credit-ledger projections skip usage --position 4711 --reason "bug 42"')
@click.argument("name", metavar="NAME")
@click.option("--position", required=True, type=click.IntRange(min=1), help="The event that cannot be folded.")
@click.option("--reason", required=True, help="Why it may be left out; shown for ever.")
@with_json
@with_database
def skip(database: Database, name: str, position: int, reason: str, as_json: bool) -> None:
    """Leave out an event that a projection has failed at, for ever, and go on behind it."""
    model = registry.model_named(name)
    if not reason.strip():
        raise InvalidArgument("reason", "must say something")
    with _projector(database) as (connection, now):
        said = registry.Skip(model.name, position, text_of(reason, field="reason"), now, operator().key)
        registry.skip(connection, said)
        [serves] = registry.serving(connection, [model])
    lines = [f"{said.name} leaves out the event at position {said.position}: {said.reason}"]
    if serves.position >= said.position:
        lines.append(f"what serves has folded it before: credit-ledger projections rebuild {said.name}")
    show(said._asdict(), as_json, lambda: iter(lines))


@contextmanager
def _projector(database: Database) -> Iterator[tuple[psycopg.Connection[Any], Instant]]:
    with database.connect(Role.PROJECTOR) as connection:
        registry.prepare(connection, database)
        yield connection, read_settings().clock().read(connection)


@contextmanager
def _told(as_json: bool) -> Iterator[Callable[[Step], None]]:
    """Progress on stderr; where a program reads JSON, there is nothing but JSON."""
    progress = Progress(quiet=as_json)
    try:
        yield lambda step: progress.tell(step.name, step.phase, step.position, step.head, step.events_per_second)
    finally:
        progress.clear()


def _rehearse(database: Database, models: Sequence[ReadModel], as_json: bool) -> int:
    with _told(as_json) as told:
        found = [(model.name, rehearse(database, model, told)) for model in models]
    data = [{"name": name, **comparison_data(comparison)} for name, comparison in found]
    show(data, as_json, lambda: (line for name, each in found for line in comparison_lines(name, each)))
    return DIFFERENT if any(comparison.differing for _, comparison in found) else Exit.DONE


DIFFERENT = 2
"""The exit code of a rehearsal that would change something."""


def _show_names(what: str, models: Sequence[ReadModel], as_json: bool) -> None:
    names = [model.name for model in models]
    show({what: names}, as_json, lambda: (f"{name} {what}" for name in names))


def _show_status(seen: Overview, watch: bool, as_json: bool) -> None:
    if watch and as_json:
        click.echo(json.dumps(overview_data(seen)))
        return
    if watch:
        click.clear()
    show(overview_data(seen), as_json, functools.partial(status_lines, seen))
