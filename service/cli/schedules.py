"""Grant schedules from the command line."""

from typing import Any

import click

from ledger.application import CreateGrantSchedule, EndGrantSchedule, Receipt
from ledger.domain.credits import credits_text
from ledger.domain.events import GrantScheduleDefined
from ledger.domain.instants import Instant
from ledger.domain.values import BillingPeriod, Cadence, text_of
from projections.schedules.queries import ScheduleRow, schedule_as_defined, schedules_of
from service.bootstrap import RunningLedger
from service.cli.frame import ExampledGroup, instant, operator, show, table, with_json, with_ledger

COLUMNS = ("schedule", "currency", "resource", "amount", "period", "cadence", "next grant", "ended")
EXAMPLE = "credit-ledger schedules create --customer acme --currency credits --amount 100 --period MONTH --name Plan"


@click.group("schedules", cls=ExampledGroup, example="credit-ledger schedules list --customer acme")
def schedules_group() -> None:
    """Grant schedules."""


@schedules_group.command("create", example=EXAMPLE)
@click.option("--customer", required=True, help="Whose credits they are.")
@click.option("--currency", required=True, help="The custom currency of the credits.")
@click.option("--amount", required=True, help="Credits of a billing period, an exact decimal.")
@click.option("--period", required=True, type=click.Choice(list(BillingPeriod)), help="The billing period.")
@click.option("--name", required=True, help="What the grants are called.")
@click.option(
    "--cadence",
    default=Cadence.BEGINNING_OF_BILLING_PERIOD,
    type=click.Choice(list(Cadence)),
    help="At the period's beginning, or in monthly parts.",
)
@click.option("--resource", help="Only for this resource; none: the customer's own pool.")
@click.option("--anchor-at", help="Periods step from here, ISO 8601 with zone; default: now.")
@click.option("--cost", default="0", help="Fiat cost of a billing period, in full units.")
@click.option("--cost-currency", default="USD", help="ISO 4217 code of the cost.")
@click.option("--priority", default="50", help="0 to 100; lower is used first.")
@click.option("--rollover-periods", type=int, help="What is left rolls over, for so many billing periods.")
@click.option("--rollover-max", help="At most so much of each grant.")
@click.option("--key", help="Idempotency key: the same command again changes nothing.")
@with_json
@with_ledger
def create(running: RunningLedger, as_json: bool, **given: Any) -> None:
    """Grant credits each billing period, or in monthly parts of it."""
    receipt = running.blocking.execute(
        CreateGrantSchedule(
            holder=given["customer"],
            currency=given["currency"],
            resource=given["resource"],
            display_name=given["name"],
            amount=given["amount"],
            billing_period=given["period"],
            cadence=given["cadence"],
            anchor_at=instant(given["anchor_at"], "anchorAt"),
            priority=given["priority"],
            cost=given["cost"],
            cost_currency=given["cost_currency"],
            rollover_max=given["rollover_max"],
            rollover_periods=given["rollover_periods"],
            idempotency_key=given["key"],
            actor=operator(),
        )
    )
    _show_defined(receipt, as_json)


@schedules_group.command("end", example="credit-ledger schedules end 018f6e2a-0000-7000-8000-000000000001")
@click.argument("schedule", metavar="SCHEDULE")
@click.option("--key", help="Idempotency key.")
@with_json
@with_ledger
def end(running: RunningLedger, schedule: str, key: str | None, as_json: bool) -> None:
    """Stop a schedule's future grants; those that there are stay."""
    receipt = running.blocking.execute(EndGrantSchedule(schedule=schedule, idempotency_key=key, actor=operator()))
    _show_defined(receipt, as_json)


@schedules_group.command("list", example="credit-ledger schedules list --customer acme --json")
@click.option("--customer", required=True, help="Whose schedules.")
@with_json
@with_ledger
def list_schedules(running: RunningLedger, customer: str, as_json: bool) -> None:
    """A customer's schedules, newest first."""
    holder = text_of(customer, field="holder")
    with running.reader.snapshot() as snapshot:
        _show(schedules_of(snapshot, holder), snapshot.now, as_json)


def _show_defined(receipt: Receipt, as_json: bool) -> None:
    event = receipt.events[0]
    assert isinstance(event, GrantScheduleDefined)
    _show([schedule_as_defined(event)], event.transaction.recorded_at, as_json, one=True)


def _show(rows: list[ScheduleRow], now: Instant, as_json: bool, *, one: bool = False) -> None:
    data = [_facts(row, now) for row in rows]
    names = ("id", "currencyId", "resourceId", "amountPerPeriod", "billingPeriod", "cadence", "nextGrantAt", "endedAt")
    lines = [[facts[name] for name in names] for facts in data]
    show(data[0] if one else data, as_json, lambda: table(COLUMNS, lines, right=("amount",)))


def _facts(row: ScheduleRow, now: Instant) -> dict[str, Any]:
    """A schedule by the contract's names; amounts as exact texts."""
    plan = row.plan
    rollover = plan.rollover
    return {
        "id": row.schedule,
        "customerId": row.holder,
        "currencyId": row.currency,
        "resourceId": row.resource,
        "amountPerPeriod": credits_text(plan.amount),
        "billingPeriod": plan.billing_period,
        "cadence": plan.cadence,
        "anchorAt": plan.anchor_at,
        "cost": {"amount": plan.cost.amount, "currency": plan.cost.currency},
        "rollover": None
        if rollover is None
        else {
            "maxAmount": None if rollover.max_amount is None else credits_text(rollover.max_amount),
            "expiresAfterPeriods": rollover.expires_after_periods,
        },
        "nextGrantAt": row.next_grant_at(now),
        "createdAt": plan.created_at,
        "endedAt": plan.ended_at,
    }
