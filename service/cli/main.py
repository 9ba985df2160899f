"""The command `credit-ledger`: its groups, and the commands that run or look after a ledger."""

import sys

import click

from ledger.store.database import Role
from ledger.store.migrate import migrate as bring_up_to_date
from service.api_keys import ApiKey, create_key, list_keys, revoke_key
from service.bootstrap import RunningLedger
from service.cli.credits import credits_group
from service.cli.epochs import epochs_group
from service.cli.execution_credits import execution_credits_group
from service.cli.finance import audit_group, report_group
from service.cli.frame import ExampledGroup, database_here, now_of, run, show, table, with_json, with_ledger
from service.cli.grants import grants_group
from service.cli.projections import projections_group
from service.cli.recharge import recharge_group
from service.cli.rules import rules_group
from service.cli.schedules import schedules_group
from service.cli.verification import verify_command
from service.cli.webhooks import webhooks_group
from service.demo import tell_demo
from service.doctor import Finding, examine
from service.refusals import Exit
from service.settings import read_settings, shown


@click.group(cls=ExampledGroup, example="credit-ledger serve")
@click.version_option(package_name="credit-ledger")
def cli() -> None:
    """A ledger of credits on PostgreSQL.

    Settings come from the environment: see credit-ledger config show. Exit codes: 0 done, 1 a fault of ours, 2 bad
    usage or argument, 3 refused, 4 not found, 5 no right to, 6 try again later.
    """


@cli.command(example="LEDGER_PORT=9000 credit-ledger serve")
@click.option("--no-worker", is_flag=True, help="Only answer requests: a worker follows the log elsewhere.")
@click.option("--no-migrate", is_flag=True, help="Refuse to start on a schema that is not up to date.")
@click.option("--show-key", is_flag=True, help="Print the admin key and a request to paste.")
@with_json
def serve(no_worker: bool, no_migrate: bool, show_key: bool, as_json: bool) -> None:
    """Answer requests, follow the log, act on what falls due; until SIGTERM."""
    from service import server  # loading the doors takes longer than most commands

    server.serve(
        read_settings(), working=not no_worker, migrating=not no_migrate, showing_key=show_key, as_json=as_json
    )


@cli.command(example="credit-ledger worker")
@click.option("--no-migrate", is_flag=True, help="Refuse to start on a schema that is not up to date.")
def worker(no_migrate: bool) -> None:
    """Follow the log and act on what falls due, beside serve --no-worker; until SIGTERM."""
    from service import server

    server.work(read_settings(), migrating=not no_migrate)


@cli.command(example="LEDGER_DATABASE_URL=postgresql://... credit-ledger migrate")
@with_json
def migrate(as_json: bool) -> None:
    """Bring the database's schema up to this version; again is fine."""
    settings = read_settings()
    with database_here(settings) as database:
        applied = bring_up_to_date(database)
    show({"applied": applied}, as_json, lambda: iter([*applied, "up to date"]))


@cli.group(example="credit-ledger config show")
def config() -> None:
    """What this process would run with."""


@config.command("show", example="credit-ledger config show --json")
@with_json
def config_show(as_json: bool) -> None:
    """Every setting, its value and where it is from; secrets are masked."""
    rows = list(shown(read_settings()))
    show([row._asdict() for row in rows], as_json, lambda: table(("name", "value", "source", "meaning"), rows))


@cli.group(example="credit-ledger keys create --name billing --role writer")
def keys() -> None:
    """API keys."""


KEY_COLUMNS = ("id", "name", "role", "holders", "created_at", "revoked_at")


def _key_row(key: ApiKey) -> list[object]:
    return [*key[:3], "all" if key.holders is None else ",".join(key.holders), *key[4:]]


@keys.command("create", example="credit-ledger keys create --name acme-portal --role reader --holder acme")
@click.option("--name", required=True, help="What the key is for.")
@click.option("--role", required=True, help="admin, writer, reader or auditor.")
@click.option("--holder", "holders", multiple=True, help="Bind it to this customer or company; may be repeated.")
@with_json
@with_ledger
def keys_create(running: RunningLedger, name: str, role: str, holders: tuple[str, ...], as_json: bool) -> None:
    """Make a key and print it, once: the ledger keeps its hash alone."""
    now = now_of(running)
    with running.database.connect(Role.OWNER) as connection:
        key, text = create_key(connection, now, name=name, role=role, holders=holders)
    click.echo(f"{key.role} key {key.id}; this is the only time that it is shown:", err=True)
    show({**key._asdict(), "key": text}, as_json, lambda: iter([text]))


@keys.command("list", example="credit-ledger keys list")
@with_json
@with_ledger
def keys_list(running: RunningLedger, as_json: bool) -> None:
    """Every key there ever was, without its secret."""
    with running.reader.connection() as connection:
        found = list_keys(connection)
    show([key._asdict() for key in found], as_json, lambda: table(KEY_COLUMNS, [_key_row(key) for key in found]))


@keys.command("revoke", example="credit-ledger keys revoke key-0123456789ab")
@click.argument("key_id", metavar="KEY-ID")
@with_json
@with_ledger
def keys_revoke(running: RunningLedger, key_id: str, as_json: bool) -> None:
    """Take a key out of use for good; services refuse it within a second."""
    now = now_of(running)
    with running.database.connect(Role.OWNER) as connection:
        key = revoke_key(connection, now, key_id)
    show(key._asdict(), as_json, lambda: table(KEY_COLUMNS, [_key_row(key)]))


@cli.command(example="credit-ledger doctor --quick")
@click.option("--quick", is_flag=True, help="Leave out what has to read the whole log.")
@with_json
def doctor(quick: bool, as_json: bool) -> int:
    """Examine the database, change nothing; exit code 1 if something is wrong."""
    settings = read_settings()
    found: list[Finding] = []
    with database_here(settings) as database:
        for finding in examine(database, clock=settings.clock(), deep=not quick):
            found.append(finding)
            if not as_json:
                click.echo(f"{'ok ' if finding.healthy else 'BAD'}  {finding.check:16}  {finding.says}")
    if as_json:
        show([finding._asdict() for finding in found], as_json, lambda: iter(()))
    return Exit.DONE if all(finding.healthy for finding in found) else Exit.FAULT


@cli.command(example="credit-ledger demo")
@with_json
def demo(as_json: bool) -> None:
    """A month in the life of one customer, on a ledger that is thrown away afterwards."""
    read_settings()  # none is used, but a wrong one is told here as everywhere
    told = tell_demo(lambda talk: click.echo(talk, err=True))
    show(told.data(), as_json, told.lines)


cli.add_command(grants_group)
cli.add_command(credits_group)
cli.add_command(schedules_group)
cli.add_command(recharge_group)
cli.add_command(execution_credits_group)
cli.add_command(rules_group)
projections_group.add_command(verify_command)
cli.add_command(projections_group)
cli.add_command(epochs_group)
cli.add_command(webhooks_group)
cli.add_command(audit_group)
cli.add_command(report_group)


def main() -> None:
    """The console script."""
    sys.exit(run(cli))
