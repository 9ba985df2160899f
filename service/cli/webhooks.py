"""Webhooks from the command line: where events are sent, how that is getting on, and what operators do about it."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import click

from ledger.store.database import Database
from service.cli.frame import ExampledGroup, Returned, show, table, with_json
from service.cli.projections import with_database
from service.feed.messages import Filter
from service.settings import read_settings
from service.webhooks import endpoints as webhooks
from service.webhooks.endpoints import OVERLAP_HOURS_MAX, LoggedAttempt, ParkedMessage, Standing
from service.webhooks.signatures import Secret

COLUMNS = ("id", "url", "state", "lag", "waiting", "parked", "failing", "error")
COUNTS = ("position", "lag", "waiting", "parked", "failing")
EXAMPLE = "webhook-0123456789ab"
SHOWN_MAX = 1000
ONCE = "the secret of {}; this is the only time that it is shown:"


def with_endpoint(function: Callable[..., Returned]) -> Callable[..., Returned]:
    """Gives a command ENDPOINT; its function gets `endpoint_id`."""
    return click.argument("endpoint_id", metavar="ENDPOINT")(function)


def with_limit(function: Callable[..., Returned]) -> Callable[..., Returned]:
    """Gives a command --limit; its function gets `limit`."""
    says = f"How many to show, at most {SHOWN_MAX}."
    bounds = click.IntRange(1, SHOWN_MAX)
    return click.option("--limit", type=bounds, default=100, show_default=True, help=says)(function)


@click.group("webhooks", cls=ExampledGroup, example="credit-ledger webhooks list")
def webhooks_group() -> None:
    """Webhooks: events sent to other services, signed, at least once, for each holder in order."""


@webhooks_group.command(
    "create", example="credit-ledger webhooks create --url https://example.com/ledger --type ledger.granted"
)
@click.option("--url", required=True, help="Where to send events to: https, a public address.")
@click.option("--type", "types", multiple=True, help="Send events of this type; may be repeated. None: all.")
@click.option("--holder", "holders", multiple=True, help="Send events of this holder; may be repeated. None: all.")
@click.option("--currency", "currencies", multiple=True, help="Send events of this currency; may be repeated.")
@click.option("--description", default="", help="What it is for.")
@click.option("--from", "first", type=int, help="Begin with the event at this position; else with what comes next.")
@click.option("--from-beginning", "from_beginning", is_flag=True, help="Begin with the first event there is.")
@with_json
@with_database
def create(
    database: Database,
    url: str,
    types: tuple[str, ...],
    holders: tuple[str, ...],
    currencies: tuple[str, ...],
    description: str,
    first: int | None,
    from_beginning: bool,
    as_json: bool,
) -> None:
    """Send events to a URL from now on, and print the secret that they are signed with, once."""
    if from_beginning and first is not None:
        raise click.UsageError("say --from or --from-beginning, not both")
    made, secret = webhooks.create_endpoint(
        database,
        url=url,
        wanted=Filter(frozenset(types), frozenset(holders), frozenset(currencies)),
        description=description,
        first=1 if from_beginning else first,
        private_targets=read_settings().webhook_private_targets,
    )
    _show_secret(made, secret, as_json)


@webhooks_group.command("list", example="credit-ledger webhooks list")
@with_json
@with_database
def list_command(database: Database, as_json: bool) -> None:
    """Every endpoint, how far it is behind, what waits for it, and what it does not take."""
    found = webhooks.endpoints(database)
    rows = [[getattr(each, column) for column in COLUMNS] for each in found]
    show([_data(each) for each in found], as_json, lambda: table(COLUMNS, rows, right=COUNTS))
    if not webhooks.somebody_delivers(database):
        click.echo("nobody delivers: start credit-ledger worker, or serve", err=True)


@webhooks_group.command("show", example=f"credit-ledger webhooks show {EXAMPLE}")
@with_endpoint
@with_json
@with_database
def show_command(database: Database, endpoint_id: str, as_json: bool) -> None:
    """Everything about one endpoint but its secrets."""
    standing, secrets = webhooks.endpoint(database, endpoint_id)
    signing = [{"created_at": each.created_at, "good_until": each.good_until} for each in secrets]
    show(_data(standing) | {"secrets": signing}, as_json, lambda: _lines(standing, secrets))


@webhooks_group.command("rotate", example=f"credit-ledger webhooks rotate {EXAMPLE} --overlap 48")
@with_endpoint
@click.option(
    "--overlap",
    type=click.IntRange(0, OVERLAP_HOURS_MAX),
    default=24,
    show_default=True,
    help="Hours in which the former secret signs as well.",
)
@with_json
@with_database
def rotate(database: Database, endpoint_id: str, overlap: int, as_json: bool) -> None:
    """Sign with a new secret, and print it, once; receivers have the overlap to take it over. Five sign at most."""
    changed, secret = webhooks.rotate_secret(database, endpoint_id, overlap=timedelta(hours=overlap))
    _show_secret(changed, secret, as_json)


@webhooks_group.command("disable", example=f"credit-ledger webhooks disable {EXAMPLE}")
@with_endpoint
@with_json
@with_database
def disable(database: Database, endpoint_id: str, as_json: bool) -> None:
    """Send nothing more; nothing is lost: it goes on there when it is enabled."""
    _show(webhooks.disable_endpoint(database, endpoint_id), as_json)


@webhooks_group.command("enable", example=f"credit-ledger webhooks enable {EXAMPLE}")
@with_endpoint
@with_json
@with_database
def enable(database: Database, endpoint_id: str, as_json: bool) -> None:
    """Go on where it was disabled."""
    _show(webhooks.enable_endpoint(database, endpoint_id), as_json)


@webhooks_group.command("delete", example=f"credit-ledger webhooks delete {EXAMPLE}")
@with_endpoint
@with_json
@with_database
def delete(database: Database, endpoint_id: str, as_json: bool) -> None:
    """Forget an endpoint, with what waits, what is parked, and its log."""
    deleted = webhooks.delete_endpoint(database, endpoint_id)
    show(_data(deleted), as_json, lambda: iter([f"{deleted.id} is deleted"]))


@webhooks_group.command("parked", example=f"credit-ledger webhooks parked {EXAMPLE}")
@with_endpoint
@with_limit
@with_json
@with_database
def parked(database: Database, endpoint_id: str, limit: int, as_json: bool) -> None:
    """The events that were given up after days of trying, and why."""
    found = webhooks.parked_messages(database, endpoint_id, limit)
    rows = [each._asdict() for each in found]
    show(rows, as_json, lambda: table(ParkedMessage._fields, found, right=("position", "attempts")))


@webhooks_group.command("replay", example=f"credit-ledger webhooks replay {EXAMPLE} --from 4711")
@with_endpoint
@click.option("--from", "first", type=int, help="Everything that is wanted from this position on.")
@click.option("--parked", "only_parked", is_flag=True, help="What is parked, before what waits for the same holder.")
@with_json
@with_database
def replay(database: Database, endpoint_id: str, first: int | None, only_parked: bool, as_json: bool) -> None:
    """Send events again, in order; each has the id that it had."""
    if only_parked == (first is not None):
        raise click.UsageError("say --from or --parked")
    if first is not None:
        _show(webhooks.replay_from(database, endpoint_id, first), as_json)
        return
    standing, count = webhooks.replay_parked(database, endpoint_id)
    data = _data(standing) | {"replayed": count}
    show(data, as_json, lambda: iter([f"{count} parked messages of {standing.id} are sent again"]))


@webhooks_group.command("deliveries", example=f"credit-ledger webhooks deliveries {EXAMPLE} --failed")
@with_endpoint
@click.option("--failed", is_flag=True, help="Only attempts that failed.")
@with_limit
@with_json
@with_database
def deliveries(database: Database, endpoint_id: str, failed: bool, limit: int, as_json: bool) -> None:
    """The last attempts, newest first: what was sent when, and what the endpoint answered. Kept for a week."""
    found = webhooks.logged_attempts(database, endpoint_id, limit, failed=failed)
    right = ("position", "attempt", "status", "milliseconds")
    show([each._asdict() for each in found], as_json, lambda: table(LoggedAttempt._fields, found, right=right))


def _show(standing: Standing, as_json: bool) -> None:
    row = [getattr(standing, column) for column in COLUMNS]
    show(_data(standing), as_json, lambda: table(COLUMNS, [row], right=COUNTS))


def _show_secret(standing: Standing, secret: str, as_json: bool) -> None:
    click.echo(ONCE.format(standing.id), err=True)
    show(_data(standing) | {"secret": secret}, as_json, lambda: iter([secret]))


def _data(standing: Standing) -> dict[str, Any]:
    return {"id": standing.id, "state": standing.state, **standing._asdict()}


def _lines(standing: Standing, secrets: Sequence[Secret]) -> Iterator[str]:
    for name, value in _data(standing).items():
        told = (", ".join(value) or "all") if isinstance(value, list) else "-" if value is None else value
        yield f"{name + ':':14}{told}"
    for each in secrets:
        until = "" if each.good_until is None else f", signs until {each.good_until:%Y-%m-%d %H:%M} UTC"
        yield f"{'secret:':14}of {each.created_at:%Y-%m-%d %H:%M} UTC{until}"
