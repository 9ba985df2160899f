"""Using credits from the command line, and looking at balances and ledgers."""

from typing import Any

import click

from ledger.application import ConsumeCredits, Receipt, RefundDebit
from ledger.domain.credits import credits_text
from projections.entries.queries import EntriesFilter, Entry, page_of_entries
from projections.lots.queries import lots_by_id, usable_by_currency
from projections.paging import Window
from service.bootstrap import RunningLedger
from service.cli.frame import ExampledGroup, instant, lots_filter, operator, settle, show, table, with_json, with_ledger

COLUMN_OF = {
    "position": "position",
    "effective": "timestamp",
    "what": "event",
    "cause": "cause",
    "currency": "creditCurrencyId",
    "amount": "signedAmount",
    "grant": "grantId",
    "left": "grantBalanceAfter",
    "balance": "balanceAfter",
    "by": "actor",
}
"""The columns of a ledger, and what each shows."""
BALANCE_COLUMNS = ("currency", "granted", "consumed", "available", "valid until")
LIMIT_MAX = 10_000


@click.group("credits", cls=ExampledGroup, example="credit-ledger credits balance --customer acme")
def credits_group() -> None:
    """Credits: use them, give them back, look at them."""


@credits_group.command(
    "consume", example="credit-ledger credits consume --customer acme --currency credits --amount 12.5 --key job-1"
)
@click.option("--customer", required=True, help="Whose credits.")
@click.option("--currency", required=True, help="Of which currency.")
@click.option("--amount", required=True, help="Credits, an exact decimal.")
@click.option("--key", required=True, help="Idempotency key: the same command again changes nothing.")
@click.option("--resource", help="Those of this resource; none: the customer's own pool.")
@click.option("--used-at", help="When they were used; default: now.")
@click.option("--account-group", "groups", multiple=True, help="Count the use for this group; may be repeated.")
@with_json
@with_ledger
def consume(running: RunningLedger, as_json: bool, used_at: str | None, groups: tuple[str, ...], **given: Any) -> None:
    """Use credits, all or nothing."""
    receipt = running.blocking.execute(
        ConsumeCredits(
            holder=given["customer"],
            currency=given["currency"],
            amount=given["amount"],
            resource=given["resource"],
            use_at=instant(used_at, "useAt"),
            account_groups=groups or None,
            idempotency_key=given["key"],
            actor=operator(),
        )
    )
    _show_receipt(receipt, as_json)


@credits_group.command(
    "refund", example="credit-ledger credits refund 018f6e2a-0000-7000-8000-000000000001 --amount 2.5 --key r-1"
)
@click.argument("transaction", metavar="TRANSACTION")
@click.option("--amount", help="Credits; default: all that is left to refund.")
@click.option("--key", required=True, help="Idempotency key.")
@click.option("--reason", help="Why; it stands in the ledger.")
@with_json
@with_ledger
def refund(
    running: RunningLedger, transaction: str, amount: str | None, key: str, reason: str | None, as_json: bool
) -> None:
    """Give back a consumption or a part of it, last drawn first."""
    receipt = running.blocking.execute(
        RefundDebit(transaction_id=transaction, amount=amount, reason=reason, idempotency_key=key, actor=operator())
    )
    _show_receipt(receipt, as_json)


@credits_group.command("balance", example="credit-ledger credits balance --customer acme --json")
@click.option("--customer", required=True, help="Whose credits.")
@click.option("--currency", help="Only of this currency.")
@click.option("--resource", help="Those of this resource; none: the customer's own pool.")
@with_json
@with_ledger
def balance(running: RunningLedger, customer: str, currency: str | None, resource: str | None, as_json: bool) -> None:
    """What can be used at this instant, by currency."""
    wanted = lots_filter(customer, currency, resource)
    settle(running, wanted.holder)
    with running.reader.snapshot() as snapshot:
        found = usable_by_currency(snapshot, wanted)
    rows = [
        [one.currency, credits_text(one.granted), credits_text(one.used), credits_text(one.available), one.valid_until]
        for one in found
    ]
    names = ("currencyId", "totalGranted", "totalConsumed", "currentBalance", "validUntil")
    show(
        [dict(zip(names, row, strict=True)) for row in rows],
        as_json,
        lambda: table(BALANCE_COLUMNS, rows, right=("granted", "consumed", "available")),
    )


@credits_group.command("ledger", example="credit-ledger credits ledger --customer acme --limit 20")
@click.option("--customer", required=True, help="Whose ledger.")
@click.option("--currency", help="Only of this currency.")
@click.option("--resource", help="That of this resource; none: of the customer's own pool.")
@click.option("--limit", type=click.IntRange(1, LIMIT_MAX), default=100, help="At most so many rows.")
@with_json
@with_ledger
def ledger(
    running: RunningLedger, customer: str, currency: str | None, resource: str | None, limit: int, as_json: bool
) -> None:
    """Every change of a customer's credits, newest first, with the balance after it."""
    lots = lots_filter(customer, currency, resource)
    wanted = EntriesFilter(lots.kind, lots.holder, lots.resource, lots.currency)
    settle(running, wanted.holder)
    with running.reader.snapshot() as snapshot:
        page = page_of_entries(snapshot, wanted, Window(limit))
        grants = lots_by_id(snapshot, {entry.lot for entry in page.rows})
    rows = [_facts(entry, grants[entry.lot].readable_id) for entry in page.rows]
    lines = [[row[name] for name in COLUMN_OF.values()] for row in rows]
    show(rows, as_json, lambda: table(list(COLUMN_OF), lines, right=("position", "amount", "left", "balance")))
    if page.has_next:
        click.echo(f"there are more than {limit}: give a larger --limit", err=True)


def _facts(entry: Entry, readable_id: str | None) -> dict[str, Any]:
    return {
        "position": entry.position,
        "timestamp": entry.effective_at,
        "recordedAt": entry.recorded_at,
        "event": entry.type.removeprefix("ledger."),
        "cause": entry.cause,
        "creditCurrencyId": entry.currency,
        "signedAmount": credits_text(entry.amount),
        "creditGrantId": entry.lot,
        "grantId": readable_id,
        "grantBalanceAfter": credits_text(entry.lot_balance),
        "balanceAfter": credits_text(entry.pool_balance),
        "transactionId": entry.transaction_id,
        "actor": f"{entry.actor_kind}:{entry.actor_key}",
    }


def _show_receipt(receipt: Receipt, as_json: bool) -> None:
    data = {
        "transactionId": receipt.transaction_id,
        "amount": credits_text(sum(units for _, units in receipt.draws)),
        "draws": [{"creditGrantId": lot, "amount": credits_text(units)} for lot, units in receipt.draws],
        "recordedAt": receipt.recorded_at,
        "position": str(receipt.position),
        "replayed": receipt.replayed,
    }
    lines = [[draw["creditGrantId"], draw["amount"]] for draw in data["draws"]]  # type: ignore[union-attr, index]
    click.echo(f"transaction {receipt.transaction_id}, position {receipt.position}", err=True)
    show(data, as_json, lambda: table(("grant", "amount"), lines, right=("amount",)))
