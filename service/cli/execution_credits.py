"""Execution credits from the command line."""

from typing import Any

import click

from ledger.application import (
    ConsumeCredits,
    DeleteExecutionCredit,
    OpenExecutionCredit,
    Receipt,
    RefundDebit,
    UpdateExecutionCredit,
)
from ledger.application.execution_credit_commands import project_dimensions
from ledger.application.inputs import id_of
from ledger.domain.credits import credits_text
from ledger.domain.events import Debited, Refunded
from ledger.domain.refusals import ExecutionCreditNotFound, Refusal
from ledger.domain.values import CreditType, Kind, PoolKey, RollupType, text_of
from projections.execution_credits.queries import (
    CreditVersion,
    ExecutionCreditRow,
    ExecutionCreditsFilter,
    TransactionRow,
    execution_credits_as_of,
    execution_credits_by_id,
    page_of_execution_credits,
    transactions_of,
)
from projections.lots.queries import lots_of_pool
from projections.paging import NumberedPage
from projections.reading import Snapshot
from service.bootstrap import RunningLedger
from service.cli.execution_credit_rows import (
    PERIOD_COLUMNS,
    credit_shown,
    credits_table,
    labelled,
    period_shown,
    transactions_shown,
    transactions_table,
)
from service.cli.frame import ExampledGroup, instant, operator, settle, show, table, with_json, with_ledger
from service.refusals import EXECUTION_WORDS, in_words

WORDS = EXECUTION_WORDS | {"id": "executionCreditId"}
LIMIT_MAX = 10_000
OPEN = "credit-ledger execution-credits open --company acme --type AI_PENTEST --credits 10 --rollup MONTHLY"
DEBIT = "credit-ledger execution-credits debit --company acme --type AI_PENTEST --credits 2 --key run-1"
REFUND = "credit-ledger execution-credits refund 018f6e2a-0000-7000-8000-000000000001 --credits 1 --key r-1"
UPDATE = "credit-ledger execution-credits update 018f6e2a-0000-7000-8000-000000000001 --credits 20 --rollup QUARTERLY"
CREDIT_TYPE = click.Choice(list(CreditType))
ROLLUP_TYPE = click.Choice(list(RollupType))


class ExecutionCreditsGroup(ExampledGroup):
    """A group in which a refusal calls fields as the contract of execution credits does."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            raise in_words(refusal, WORDS) from None


@click.group(
    "execution-credits",
    cls=ExecutionCreditsGroup,
    example="credit-ledger execution-credits list --company acme",
)
def execution_credits_group() -> None:
    """Execution credits of companies: open them, use them, look at their billing periods."""


@execution_credits_group.command("open", example=OPEN)
@click.option("--company", required=True, help="Whose credits they are.")
@click.option("--type", "credit_type", required=True, type=CREDIT_TYPE, help="What they are for.")
@click.option("--credits", required=True, help="The allotment of a billing period, a whole number.")
@click.option("--rollup", required=True, type=ROLLUP_TYPE, help="The billing cycle; ADDON never renews.")
@click.option("--anchor-at", help="Periods step from here, ISO 8601 with zone, not in the future; default: now.")
@click.option("--label", help="The company's name for people; default: its id.")
@click.option("--key", help="Idempotency key: the same command again changes nothing.")
@with_json
@with_ledger
def open_credit(running: RunningLedger, as_json: bool, **given: Any) -> None:
    """Give a company credits of one type, from now on."""
    receipt = running.blocking.execute(
        OpenExecutionCredit(
            company=given["company"],
            credit_type=given["credit_type"],
            credits=given["credits"],
            rollup_type=given["rollup"],
            period_anchor=instant(given["anchor_at"], "periodAnchor"),
            company_label=given["label"],
            idempotency_key=given["key"],
            actor=operator(),
        )
    )
    _show_defined(running, receipt, as_json)


@execution_credits_group.command("update", example=UPDATE)
@click.argument("credit", metavar="CREDIT")
@click.option("--credits", help="The allotment, at once in the present billing period.")
@click.option("--rollup", type=ROLLUP_TYPE, help="The billing cycle, from the next renewal on; never to or from ADDON.")
@click.option("--key", help="Idempotency key.")
@with_json
@with_ledger
def update(running: RunningLedger, credit: str, as_json: bool, **given: Any) -> None:
    """Change how many credits there are, or the billing cycle."""
    receipt = running.blocking.execute(
        UpdateExecutionCredit(
            credit=credit,
            credits=given["credits"],
            rollup_type=given["rollup"],
            idempotency_key=given["key"],
            actor=operator(),
        )
    )
    _show_defined(running, receipt, as_json)


@execution_credits_group.command(
    "delete", example="credit-ledger execution-credits delete 018f6e2a-0000-7000-8000-000000000001"
)
@click.argument("credit", metavar="CREDIT")
@click.option("--key", help="Idempotency key.")
@with_json
@with_ledger
def delete(running: RunningLedger, credit: str, key: str | None, as_json: bool) -> None:
    """Take a credit out of use: what is left is void, its transactions stay."""
    receipt = running.blocking.execute(DeleteExecutionCredit(credit=credit, idempotency_key=key, actor=operator()))
    _show_defined(running, receipt, as_json)


@execution_credits_group.command("debit", example=DEBIT)
@click.option("--company", required=True, help="Whose credits.")
@click.option("--type", "credit_type", required=True, type=CREDIT_TYPE, help="Of which type.")
@click.option("--credits", required=True, help="How many, a whole number.")
@click.option("--key", required=True, help="Idempotency key: the same command again changes nothing.")
@click.option("--project", help="The project that they are used for.")
@click.option("--account-group", "groups", multiple=True, help="Count the use for this group; may be repeated.")
@with_json
@with_ledger
def debit(running: RunningLedger, as_json: bool, groups: tuple[str, ...], **given: Any) -> None:
    """Use credits, all or nothing: what ends soonest first, so ADDON last."""
    receipt = running.blocking.execute(
        ConsumeCredits(
            kind=Kind.EXECUTION_CREDIT,
            holder=given["company"],
            currency=given["credit_type"],
            amount=given["credits"],
            dimensions=project_dimensions(given["project"]),
            account_groups=groups or None,
            idempotency_key=given["key"],
            actor=operator(),
        )
    )
    _show_receipt(running, receipt, as_json)


@execution_credits_group.command("refund", example=REFUND)
@click.argument("transaction", metavar="TRANSACTION")
@click.option("--credits", help="How many; default: all that is left to refund.")
@click.option("--key", required=True, help="Idempotency key.")
@with_json
@with_ledger
def refund(running: RunningLedger, transaction: str, credits: str | None, key: str, as_json: bool) -> None:
    """Give back a debit or a part of it, last drawn first."""
    receipt = running.blocking.execute(
        RefundDebit(
            kind=Kind.EXECUTION_CREDIT,
            transaction_id=transaction,
            amount=credits,
            idempotency_key=key,
            actor=operator(),
        )
    )
    _show_receipt(running, receipt, as_json)


@execution_credits_group.command("list", example="credit-ledger execution-credits list --type DAST --rollup YEARLY")
@click.option("--company", help="Only of this company.")
@click.option("--type", "credit_type", type=CREDIT_TYPE, help="Only of this type.")
@click.option("--rollup", type=ROLLUP_TYPE, help="Only of this billing cycle.")
@click.option("--limit", type=click.IntRange(1, LIMIT_MAX), default=100, help="At most so many.")
@with_json
@with_ledger
def list_credits(running: RunningLedger, as_json: bool, limit: int, **given: Any) -> None:
    """The credits that are not deleted, in the order they were opened."""
    company, credit_type, rollup = given["company"], given["credit_type"], given["rollup"]
    wanted = ExecutionCreditsFilter(
        None if company is None else (text_of(company, field="companyId"),),
        None if credit_type is None else CreditType(credit_type),
        None if rollup is None else RollupType(rollup),
    )
    with running.reader.snapshot() as snapshot:
        page = page_of_execution_credits(snapshot, wanted, NumberedPage(1, limit))
        data = [credit_shown(row, label) for row, label in labelled(snapshot.connection, page.rows)]
    show(data, as_json, lambda: credits_table(data))
    if page.total > limit:
        click.echo(f"there are more than {limit}: give a larger --limit", err=True)


@execution_credits_group.command(
    "show", example="credit-ledger execution-credits show 018f6e2a-0000-7000-8000-000000000001"
)
@click.argument("credit", metavar="CREDIT")
@click.option("--limit", type=click.IntRange(1, LIMIT_MAX), default=100, help="At most so many transactions.")
@with_json
@with_ledger
def show_credit(running: RunningLedger, credit: str, limit: int, as_json: bool) -> None:
    """One credit, also a deleted one, with its debits and refunds, newest first."""
    with running.reader.snapshot() as snapshot:
        row = _credit_named(snapshot, credit)
        ((_, label),) = labelled(snapshot.connection, [row])
        page = NumberedPage(1, limit + 1)
        moved = transactions_of(snapshot.connection, [row.as_of], page, rows_max=page.limit)[row.as_of]
        transactions = transactions_shown(snapshot.connection, moved[:limit])
    data = credit_shown(row, label) | {"transactions": transactions}
    show(data, as_json, lambda: iter([*credits_table([data]), "", *transactions_table(transactions)]))
    if len(moved) > limit:
        click.echo(f"there are more than {limit}: give a larger --limit", err=True)


@execution_credits_group.command(
    "periods", example="credit-ledger execution-credits periods 018f6e2a-0000-7000-8000-000000000001"
)
@click.argument("credit", metavar="CREDIT")
@with_json
@with_ledger
def periods(running: RunningLedger, credit: str, as_json: bool) -> None:
    """Each billing period of a credit, oldest first, and what became of its credits."""
    with running.reader.snapshot() as snapshot:
        row = _credit_named(snapshot, credit)
    settle(running, row.company, Kind.EXECUTION_CREDIT)
    pool = PoolKey(Kind.EXECUTION_CREDIT, row.company, row.credit_type, None)
    with running.reader.snapshot(at_least=running.ledger.writer.head) as snapshot:
        data = [period_shown(lot) for lot in lots_of_pool(snapshot, pool) if lot.stream_id == row.credit]
    lines = [list(period.values()) for period in data]
    show(data, as_json, lambda: table(PERIOD_COLUMNS, lines, right=PERIOD_COLUMNS[2:]))


def _credit_named(snapshot: Snapshot, name: str) -> ExecutionCreditRow:
    """A credit by its id. Refuses: ExecutionCreditNotFound."""
    name = id_of(name, field="id")
    for row in execution_credits_by_id(snapshot, [name]).values():
        return row
    raise ExecutionCreditNotFound(name)


def _show_defined(running: RunningLedger, receipt: Receipt, as_json: bool) -> None:
    """The credit as the command's last event left it: so a replay shows the same."""
    last = receipt.events[-1]
    as_of = CreditVersion(last.originator_id, last.originator_version)
    with running.reader.connection() as connection:
        row = execution_credits_as_of(connection, [as_of])[as_of]
        ((_, label),) = labelled(connection, [row])
    data = credit_shown(row, label)
    show(data, as_json, lambda: credits_table([data]))


def _show_receipt(running: RunningLedger, receipt: Receipt, as_json: bool) -> None:
    moved = [TransactionRow.of(event) for event in receipt.events if isinstance(event, Debited | Refunded)]
    with running.reader.connection() as connection:
        transactions = transactions_shown(connection, moved)
    data = {
        "transactionId": receipt.transaction_id,
        "credits": credits_text(sum(part.credits for part in moved)),
        "transactions": transactions,
        "recordedAt": receipt.recorded_at,
        "position": str(receipt.position),
        "replayed": receipt.replayed,
    }
    click.echo(f"transaction {receipt.transaction_id}, position {receipt.position}", err=True)
    show(data, as_json, lambda: transactions_table(transactions))
