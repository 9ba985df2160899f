"""Credit grants from the command line."""

from typing import Any

import click

from ledger.application import InvoiceTold, IssueGrant, MarkInvoicePaid, RecordGrantPayment, UpdateGrant, VoidGrant
from ledger.application.inputs import id_of
from ledger.domain.credits import credits_text
from ledger.domain.instants import Instant
from ledger.domain.refusals import CreditGrantNotFound, InvalidArgument
from ledger.domain.values import InvoiceStatus, PaymentCollection, PaymentMethod
from ledger.store.documents import load_documents
from projections.lots.queries import LotRow, LotStatus, grant_named, page_of_lots
from projections.paging import Window
from projections.reading import Snapshot
from service.bootstrap import RunningLedger
from service.cli.frame import ExampledGroup, instant, lots_filter, operator, settle, show, table, with_json, with_ledger

COLUMNS = ("grant", "type", "status", "currency", "resource", "amount", "consumed", "remaining", "expires", "name")
PAGE_MAX = 10_000


@click.group("grants", cls=ExampledGroup, example="credit-ledger grants list --customer acme")
def grants_group() -> None:
    """Credit grants."""


@grants_group.command(
    "issue",
    example="credit-ledger grants issue --customer acme --currency credits --amount 100 --type PAID --name March",
)
@click.option("--customer", required=True, help="Whose credits they are.")
@click.option("--currency", required=True, help="The custom currency of the credits.")
@click.option("--amount", required=True, help="Credits, an exact decimal.")
@click.option("--name", required=True, help="The grant's display name.")
@click.option("--type", "grant_type", required=True, type=click.Choice(["PROMOTIONAL", "PAID"]), help="Sort of grant.")
@click.option("--resource", help="Only for this resource; none: the customer's own pool.")
@click.option("--cost", default="0", help="Fiat cost of the whole grant, in full units.")
@click.option("--cost-currency", default="USD", help="ISO 4217 code of the cost.")
@click.option("--payment", default="NONE", type=click.Choice(list(PaymentMethod)), help="How the cost is collected.")
@click.option("--effective-at", help="When it begins, ISO 8601 with zone; default: now.")
@click.option("--expire-at", help="When it ends; default: never.")
@click.option("--priority", default="50", help="0 to 100; lower is used first.")
@click.option("--comment", help="For people.")
@click.option("--key", help="Idempotency key: the same command again changes nothing.")
@with_json
@with_ledger
def issue(running: RunningLedger, as_json: bool, effective_at: str | None, expire_at: str | None, **given: Any) -> None:
    """Give credits to a customer."""
    receipt = running.blocking.execute(
        IssueGrant(
            holder=given["customer"],
            currency=given["currency"],
            amount=given["amount"],
            display_name=given["name"],
            grant_type=given["grant_type"],
            resource=given["resource"],
            cost=given["cost"],
            cost_currency=given["cost_currency"],
            payment_method=given["payment"],
            effective_at=instant(effective_at, "effectiveAt"),
            expires_at=instant(expire_at, "expireAt"),
            priority=given["priority"],
            comment=given["comment"],
            idempotency_key=given["key"],
            actor=operator(),
        )
    )
    _show_grant(running, receipt.stream_id, as_json, receipt.position)


@grants_group.command("update", example="credit-ledger grants update cg-0123456789abcdef --priority 10 --no-expiry")
@click.argument("grant", metavar="GRANT")
@click.option("--name", help="The grant's display name.")
@click.option("--effective-at", help="When it begins; only before it has begun.")
@click.option("--expire-at", help="When it ends.")
@click.option("--no-expiry", is_flag=True, help="It never ends.")
@click.option("--priority", help="0 to 100; lower is used first.")
@click.option("--comment", help="For people.")
@click.option("--no-comment", is_flag=True, help="Take the comment away.")
@click.option("--key", help="Idempotency key.")
@with_json
@with_ledger
def update(running: RunningLedger, grant: str, as_json: bool, **given: Any) -> None:
    """Change a grant's terms and texts; its amount and cost never change."""
    clears = [name for name, option in (("expireAt", "no_expiry"), ("comment", "no_comment")) if given[option]]
    receipt = running.blocking.execute(
        UpdateGrant(
            grant=grant,
            display_name=given["name"],
            effective_at=instant(given["effective_at"], "effectiveAt"),
            expires_at=instant(given["expire_at"], "expireAt"),
            priority=given["priority"],
            comment=given["comment"],
            clears=tuple(clears),
            idempotency_key=given["key"],
            actor=operator(),
        )
    )
    _show_grant(running, receipt.stream_id, as_json, receipt.position)


@grants_group.command(
    "record-payment",
    example="credit-ledger grants record-payment cg-0123456789abcdef --state NOT_REQUIRED",
)
@click.argument("grant", metavar="GRANT")
@click.option("--state", required=True, type=click.Choice(list(PaymentCollection)), help="NOT_REQUIRED: it is paid.")
@click.option("--invoice", help="The latest invoice's id, where it is billed.")
@click.option("--invoice-status", type=click.Choice(list(InvoiceStatus)), help="Needed with --invoice.")
@click.option("--key", help="Idempotency key.")
@with_json
@with_ledger
def record_payment(
    running: RunningLedger,
    grant: str,
    state: str,
    invoice: str | None,
    invoice_status: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Record how far the payment of a grant has come, and its latest invoice."""
    told = None
    if invoice is not None and invoice_status is not None:
        told = InvoiceTold(billing_id=invoice, status=InvoiceStatus(invoice_status))
    elif invoice is not None or invoice_status is not None:
        raise InvalidArgument("invoice", "must be given with its status, and the status with the invoice")
    receipt = running.blocking.execute(
        RecordGrantPayment(
            grant=grant,
            collection=PaymentCollection(state),
            invoice=told,
            idempotency_key=key,
            actor=operator(),
        )
    )
    _show_grant(running, receipt.stream_id, as_json, receipt.position)


@grants_group.command("mark-invoice-paid", example="credit-ledger grants mark-invoice-paid cg-0123456789abcdef")
@click.argument("grant", metavar="GRANT")
@click.option("--key", help="Idempotency key.")
@with_json
@with_ledger
def mark_invoice_paid(running: RunningLedger, grant: str, key: str | None, as_json: bool) -> None:
    """Record a grant's latest invoice as paid; its credits can be used."""
    receipt = running.blocking.execute(MarkInvoicePaid(grant=grant, idempotency_key=key, actor=operator()))
    _show_grant(running, receipt.stream_id, as_json, receipt.position)


@grants_group.command("void", example="credit-ledger grants void cg-0123456789abcdef --reason 'contract ended'")
@click.argument("grant", metavar="GRANT")
@click.option("--reason", help="Why; it stands in the ledger.")
@click.option("--key", help="Idempotency key.")
@with_json
@with_ledger
def void(running: RunningLedger, grant: str, reason: str | None, key: str | None, as_json: bool) -> None:
    """End what is left of a grant; what was consumed stays consumed."""
    receipt = running.blocking.execute(VoidGrant(grant=grant, reason=reason, idempotency_key=key, actor=operator()))
    _show_grant(running, receipt.stream_id, as_json, receipt.position)


@grants_group.command("list", example="credit-ledger grants list --customer acme --status ACTIVE")
@click.option("--customer", required=True, help="Whose grants.")
@click.option("--currency", help="Only of this currency.")
@click.option("--resource", help="Those of this resource; none: of the customer's own pool.")
@click.option("--status", type=click.Choice([status.value for status in LotStatus]), help="Only of this status.")
@click.option("--limit", type=click.IntRange(1, PAGE_MAX), default=100, help="At most so many.")
@with_json
@with_ledger
def list_grants(running: RunningLedger, as_json: bool, limit: int, status: str | None, **given: Any) -> None:
    """A customer's grants, newest first."""
    wanted = lots_filter(given["customer"], given["currency"], given["resource"], status)
    settle(running, wanted.holder)
    with running.reader.snapshot() as snapshot:
        page = page_of_lots(snapshot, wanted, Window(limit))
        _show(snapshot, list(page.rows), as_json)
    if page.has_next:
        click.echo(f"there are more than {limit}: give a larger --limit", err=True)


@grants_group.command("show", example="credit-ledger grants show cg-0123456789abcdef")
@click.argument("grant", metavar="GRANT")
@with_json
@with_ledger
def show_grant(running: RunningLedger, grant: str, as_json: bool) -> None:
    """One grant, by its id or its readable id."""
    with running.reader.snapshot() as snapshot:
        row = grant_named(snapshot, id_of(grant, field="id"))
    if row is not None:
        settle(running, row.holder)
    _show_grant(running, grant, as_json)


def _show_grant(running: RunningLedger, name: str, as_json: bool, at_least: int | None = None) -> None:
    name = id_of(name, field="id")
    with running.reader.snapshot(at_least=at_least) as snapshot:
        row = grant_named(snapshot, name)
        if row is None:
            raise CreditGrantNotFound(name)
        _show(snapshot, [row], as_json, one=True)


def _show(snapshot: Snapshot, rows: list[LotRow], as_json: bool, *, one: bool = False) -> None:
    ids = [row.document_id for row in rows if row.document_id is not None]
    texts = load_documents(snapshot.connection, ids)
    data = [_facts(row, snapshot.now, texts.get(row.document_id, {})) for row in rows]  # type: ignore[arg-type]
    lines = [
        [
            facts["grantId"],
            facts["grantType"],
            facts["status"],
            facts["currencyId"],
            facts["resourceId"],
            facts["amount"],
            facts["consumedAmount"],
            facts["remainingAmount"],
            facts["expireAt"],
            facts["displayName"],
        ]
        for facts in data
    ]
    show(
        data[0] if one else data,
        as_json,
        lambda: table(COLUMNS, lines, right=("amount", "consumed", "remaining")),
    )


def _facts(row: LotRow, now: Instant, texts: dict[str, Any]) -> dict[str, Any]:
    """A grant by the contract's names; amounts as exact texts."""
    return {
        "id": row.stream_id,
        "grantId": row.readable_id,
        "displayName": texts.get("display_name"),
        "grantType": row.grant_type,
        "status": row.status(now),
        "amount": credits_text(row.granted),
        "consumedAmount": credits_text(row.used),
        "remainingAmount": credits_text(row.remaining(now)),
        "cost": {"amount": credits_text(row.cost_amount or 0), "currency": row.cost_currency},
        "customerId": row.holder,
        "resourceId": row.resource,
        "currencyId": row.currency,
        "effectiveAt": row.effective_at,
        "expireAt": row.expires_at,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "voidedAt": row.voided_at,
        "priority": credits_text(row.priority),
        "paymentCollection": None if row.details is None else row.details.payment.collection,
        "comment": texts.get("comment"),
        "additionalMetaData": texts.get("metadata"),
    }
