"""What all commands share: an example first in --help, --json, tables, and what is said of a command that fails."""

import functools
import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, ParamSpec, TypeVar

import click
import psycopg

from ledger.application import SettleDue
from ledger.domain.instants import Instant, instant_from_text, instant_text
from ledger.domain.values import Actor, ActorKind, Kind, text_of
from ledger.store.database import Database, UnusableDatabase
from projections.lots.queries import LotsFilter, LotStatus
from service.access import IdentityForbidden
from service.bootstrap import RunningLedger, open_ledger
from service.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError, running_dsn
from service.refusals import Exit, Told, told
from service.settings import Settings, SettingsError, read_settings

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")
UNUSABLE = (SettingsError, UnusableDatabase, EmbeddedPostgresError)
SETTLED_POOLS_MAX = 1000
NO_ROLE = "permission denied to set role"
"""What the server says to an account that may not take a role of the ledger."""
CLI_WORDS = {
    "holder": "--customer",
    "currency": "--currency",
    "resource": "--resource",
    "amount": "--amount",
    "cost": "--cost",
    "costCurrency": "--cost-currency",
    "displayName": "--name",
    "grantType": "--type",
    "priority": "--priority",
    "comment": "--comment",
    "reason": "--reason",
    "effectiveAt": "--effective-at",
    "expireAt": "--expire-at",
    "useAt": "--used-at",
    "idempotencyKey": "--key",
    "accountGroups": "--account-group",
    "accountGroupIds": "--account-group",
    "transactionId": "TRANSACTION",
    "id": "GRANT",
    "role": "--role",
    "name": "--name",
    "holders": "--holder",
    "keyId": "KEY-ID",
    "creditGrantId": "GRANT",
    "paymentCollection": "--state",
    "paymentCollectionMethod": "--payment",
    "invoice": "--invoice",
    "invoice.billingId": "--invoice",
    "schedule": "SCHEDULE",
    "amountPerPeriod": "--amount",
    "billingPeriod": "--period",
    "cadence": "--cadence",
    "anchorAt": "--anchor-at",
    "rollover.maxAmount": "--rollover-max",
    "rollover.expiresAfterPeriods": "--rollover-periods",
    "thresholdValue": "--threshold",
    "targetBalance": "--target",
    "maxSpendLimit": "--max-spend",
    "grantExpirationPeriod": "--lasts",
    "unitPrice": "--unit-price",
    "unitPrice.currency": "--price-currency",
    "companyId": "--company",
    "companyLabel": "--label",
    "creditType": "--type",
    "rollupType": "--rollup",
    "credits": "--credits",
    "periodAnchor": "--anchor-at",
    "projectId": "--project",
    "executionCreditId": "CREDIT",
    "url": "--url",
    "description": "--description",
    "types": "--type",
    "currencies": "--currency",
    "first": "--from",
    "endpoint": "ENDPOINT",
    "to": "--to",
    "against": "--against",
}
"""What the command line calls the fields of commands."""


class WithExample(click.Command):
    """A command whose help begins with an example."""

    def __init__(self, *arguments: Any, example: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.example = example

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(f"Example: {self.example}\n\n")
        super().format_help(ctx, formatter)


class ExampledGroup(WithExample, click.Group):
    """A group whose help begins with an example; its commands and groups bring theirs."""

    command_class = WithExample
    group_class = type  # groups below are of this class as well


def with_json(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Gives a command --json; its function gets `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def with_ledger(function: Callable[..., Returned]) -> Callable[..., Returned]:
    """Opens the ledger that the settings name, for a command; its function gets it first."""

    @functools.wraps(function)
    def opened(*arguments: Any, **options: Any) -> Returned:
        with ledger_here() as running:
            return function(running, *arguments, **options)

    return opened


@contextmanager
def database_here(settings: Settings) -> Iterator[Database]:
    """The settings' database. An embedded server that a service already runs is visited, any other is started here."""
    with ExitStack() as stack:
        dsn = settings.database_url or running_dsn(settings.data_dir)
        if dsn is None:
            dsn = stack.enter_context(EmbeddedPostgres(settings.data_dir)).dsn()
        yield Database(dsn, settings.schema_name)


@contextmanager
def ledger_here() -> Iterator[RunningLedger]:
    """The settings' ledger; an embedded one is brought up to date."""
    settings = read_settings()
    with (
        database_here(settings) as database,
        open_ledger(
            database.dsn,
            schema=database.schema,
            clock=settings.clock(),
            migrating=settings.database_url is None,
        ) as running,
    ):
        yield running


def now_of(running: RunningLedger) -> Instant:
    with running.ledger.connection() as connection:
        return running.ledger.clock.now(connection)


def operator() -> Actor:
    """Whoever runs the command, by his account's name."""
    try:
        return Actor(ActorKind.OPERATOR, getpass.getuser())
    except (KeyError, OSError):
        return Actor(ActorKind.OPERATOR, str(os.getuid()))


def settle(running: RunningLedger, holder: str, kind: Kind = Kind.CREDIT_GRANT) -> None:
    """Have written what is due on a customer's or company's pools, so that it shows, worker or no worker."""
    due = running.ledger.due_pools(SETTLED_POOLS_MAX, kind=kind, holder=holder)
    running.ledger.execute_many_blocking([SettleDue(due_pool=pool) for pool in due])


def lots_filter(customer: str, currency: str | None, resource: str | None, status: str | None = None) -> LotsFilter:
    """A customer's grants, as options name them. Refuses: InvalidArgument."""
    return LotsFilter(
        Kind.CREDIT_GRANT,
        text_of(customer, field="holder"),
        None if resource is None else text_of(resource, field="resource"),
        None if currency is None else text_of(currency, field="currency"),
        None if status is None else LotStatus(status),
    )


def instant(text: str | None, field: str) -> Instant | None:
    return None if text is None else instant_from_text(text, field=field)


def show(data: object, as_json: bool, lines: Callable[[], Iterator[str]]) -> None:
    """Print data: as JSON, or as lines for people."""
    if as_json:
        click.echo(json.dumps(data, default=_plain, indent=2))
    else:
        for line in lines():
            click.echo(line)


def table(titles: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> Iterator[str]:
    """Aligned columns; those named in `right` to the right, as numbers are read."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(titles, *cells, strict=True)]
    for row in [list(titles), *cells]:
        placed = [
            text.rjust(width) if title in right else text.ljust(width)
            for text, width, title in zip(row, widths, titles, strict=True)
        ]
        yield "  ".join(placed).rstrip()


def run(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code. What went wrong is said on stderr, as JSON if --json was given."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in given
    try:
        with command.make_context("credit-ledger", given) as context:
            result = command.invoke(context)
        sys.stdout.flush()
        return result if isinstance(result, int) else Exit.DONE
    except click.exceptions.Exit as ended:  # after --help, say
        return ended.exit_code
    except click.ClickException as error:
        if not as_json:
            error.show()
            return Exit.USAGE
        return _complain("Usage", error.format_message(), {}, Exit.USAGE, as_json)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        _write_no_more()  # whoever read us has gone, as `head` does
        return Exit.DONE
    except OSError as error:  # a disk that is full, say
        _write_no_more()
        return _complain("Fault", str(error), {}, Exit.FAULT, as_json)
    except Exception as error:
        return complain(error, as_json)


def complain(error: Exception, as_json: bool) -> int:
    """Say what went wrong; returns the exit code. A fault of ours is raised again."""
    if isinstance(error, UNUSABLE):
        return _complain("Unusable", str(error), {}, Exit.USAGE, as_json)
    problem = _told(error)
    if problem is None:
        raise error
    return _complain(problem.code, problem.message, problem.facts, problem.answer.exit, as_json)


def _write_no_more() -> None:
    """Let what is still to be printed go nowhere, or Python would fail over it at the very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told(error: Exception) -> Told | None:
    problem = told(error, CLI_WORDS)
    if problem is not None and isinstance(error, psycopg.OperationalError) and NO_ROLE in str(error):
        reason = f"this account may not do that: {str(error).strip().splitlines()[-1].strip()}"
        return Told(IdentityForbidden.code, reason, {}, problem.answer._replace(exit=Exit.FORBIDDEN))
    if problem is not None and isinstance(error, psycopg.OperationalError):
        return problem._replace(message=f"{problem.message}: {str(error).strip()}")
    return problem


def _complain(code: str, message: str, facts: dict[str, Any], ends: Exit, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"error": {**facts, "code": code, "message": message}}), err=True)
    else:
        mark = "error:" if os.environ.get("NO_COLOR") else click.style("error:", fg="red")
        click.echo(f"{mark} {message}", err=True)  # without a terminal, click leaves the colour out
    return ends


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return instant_text(value) if isinstance(value, datetime) else printable(str(value))


def printable(text: str) -> str:
    """A text on one line of a terminal: what would move or clear it is told by its escape."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"{value!r} is not for JSON")
