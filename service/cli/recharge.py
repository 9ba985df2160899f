"""Automatic recharge from the command line."""

from typing import Any

import click

from ledger.application import SaveAutoRecharge
from ledger.domain.credits import Credits, credits_text
from ledger.domain.events import AutoRechargeDefined
from ledger.domain.instants import Instant
from ledger.domain.values import ExpirationPeriod, PaymentMethod, text_of
from projections.recharges.queries import RechargeRow, recharge_as_defined, recharge_of
from service.bootstrap import RunningLedger
from service.cli.frame import ExampledGroup, operator, show, table, with_json, with_ledger

COLUMNS = ("customer", "currency", "enabled", "threshold", "target", "price", "spent", "limit")
EXAMPLE = "credit-ledger recharge save --customer acme --currency credits --threshold 20 --target 100 --unit-price 0.1"


@click.group("recharge", cls=ExampledGroup, example="credit-ledger recharge show --customer acme --currency credits")
def recharge_group() -> None:
    """Automatic recharge."""


@recharge_group.command("save", example=EXAMPLE)
@click.option("--customer", required=True, help="Whose own pool.")
@click.option("--currency", required=True, help="The custom currency of the credits.")
@click.option("--enabled/--disabled", default=True, help="Whether it recharges; default: it does.")
@click.option("--threshold", help="Recharge when the balance falls below this.")
@click.option("--target", help="Recharge to this balance.")
@click.option("--unit-price", default="0", help="Fiat price of one credit, in full units.")
@click.option("--price-currency", default="USD", help="ISO 4217 code of the price.")
@click.option("--max-spend", help="At most so much money in a UTC month; default: without a limit.")
@click.option("--lasts", type=click.Choice(list(ExpirationPeriod)), help="How long its grants last; default: for ever.")
@click.option("--payment", default="NONE", type=click.Choice(list(PaymentMethod)), help="How the cost is collected.")
@click.option("--key", help="Idempotency key.")
@with_json
@with_ledger
def save(running: RunningLedger, as_json: bool, **given: Any) -> None:
    """Save the whole settings; what is not given is not kept from before."""
    receipt = running.blocking.execute(
        SaveAutoRecharge(
            holder=given["customer"],
            currency=given["currency"],
            enabled=given["enabled"],
            threshold=given["threshold"],
            target=given["target"],
            max_spend=given["max_spend"],
            expiration_period=given["lasts"],
            unit_price=given["unit_price"],
            price_currency=given["price_currency"],
            payment_method=given["payment"],
            idempotency_key=given["key"],
            actor=operator(),
        )
    )
    event = receipt.events[0]
    assert isinstance(event, AutoRechargeDefined)
    _show(recharge_as_defined(event), event.transaction.recorded_at, as_json)


@recharge_group.command("show", example="credit-ledger recharge show --customer acme --currency credits --json")
@click.option("--customer", required=True, help="Whose own pool.")
@click.option("--currency", required=True, help="The custom currency of the credits.")
@with_json
@with_ledger
def show_recharge(running: RunningLedger, customer: str, currency: str, as_json: bool) -> None:
    """The settings, and what recharges have cost this month."""
    holder, currency = text_of(customer, field="holder"), text_of(currency, field="currency")
    with running.reader.snapshot() as snapshot:
        _show(recharge_of(snapshot, holder, currency), snapshot.now, as_json)


def _show(row: RechargeRow | None, now: Instant, as_json: bool) -> None:
    data = None if row is None else _facts(row, now)
    names = (
        *("customerId", "currencyId", "isEnabled", "thresholdValue", "targetBalance", "unitPrice"),
        *("currentMonthlySpend", "maxSpendLimit"),
    )
    lines = [] if data is None else [[data[name] for name in names]]
    show(data, as_json, lambda: table(COLUMNS, lines, right=("threshold", "target", "price", "spent", "limit")))


def _facts(row: RechargeRow, now: Instant) -> dict[str, Any]:
    """The settings by the contract's names; amounts as exact texts."""
    settings = row.settings
    return {
        "id": row.configuration,
        "customerId": row.holder,
        "currencyId": row.currency,
        "isEnabled": settings.enabled,
        "thresholdValue": _text(settings.threshold),
        "targetBalance": _text(settings.target),
        "maxSpendLimit": _text(settings.max_spend),
        "grantExpirationPeriod": settings.expiration_period,
        "unitPrice": settings.unit_price.amount,
        "unitPriceCurrency": settings.unit_price.currency,
        "paymentCollectionMethod": settings.payment_method,
        "currentMonthlySpend": credits_text(row.spent(now)),
        "createdAt": row.created_at,
        "updatedAt": row.saved_at,
    }


def _text(units: Credits | None) -> str | None:
    return None if units is None else credits_text(units)
