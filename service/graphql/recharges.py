"""Automatic recharge: its settings, how they are saved and read."""

from datetime import datetime
from decimal import Decimal
from enum import Enum
from uuid import UUID

import strawberry

from ledger.application import SaveAutoRecharge
from ledger.domain.credits import Credits, credits_decimal, credits_of
from ledger.domain.events import AutoRechargeDefined
from ledger.domain.instants import Instant
from ledger.domain.values import ExpirationPeriod, PaymentMethod, text_of
from projections.recharges.queries import RechargeRow, recharge_as_defined, recharge_of
from service.graphql.context import Info
from service.graphql.fields import shows
from service.graphql.inputs import MoneyInput, money_of
from service.graphql.scalars import Currency, amount_given, exact_of, float_of, units_given
from service.graphql.types import Money, PaymentCollectionMethod
from service.reads import position_of


@strawberry.enum(description="How long the grants of a recharge last.")
class GrantExpirationPeriod(Enum):
    OneMonth = ExpirationPeriod.ONE_MONTH.value
    OneYear = ExpirationPeriod.ONE_YEAR.value


@strawberry.type(description="When a customer's own pool is recharged, and what that has cost this UTC month.")
class AutoRechargeSettings:
    row: strawberry.Private[RechargeRow]
    now: strawberry.Private[Instant]

    id: UUID = shows(lambda it: UUID(it.row.configuration), "The automaticRechargeConfigurationId of its grants.")
    customer_id: str = shows(lambda it: it.row.holder)
    currency_id: str = shows(lambda it: it.row.currency)
    is_enabled: bool = shows(lambda it: it.row.settings.enabled)
    threshold_value: float | None = shows(lambda it: _float(it.row.settings.threshold))
    threshold_value_exact: Decimal | None = shows(lambda it: _exact(it.row.settings.threshold))
    target_balance: float | None = shows(lambda it: _float(it.row.settings.target))
    target_balance_exact: Decimal | None = shows(lambda it: _exact(it.row.settings.target))
    max_spend_limit: float | None = shows(
        lambda it: _float(it.row.settings.max_spend), "In the currency of unitPrice, for a UTC month; null: none."
    )
    max_spend_limit_exact: Decimal | None = shows(lambda it: _exact(it.row.settings.max_spend))
    grant_expiration_period: GrantExpirationPeriod | None = shows(
        lambda it: (
            None
            if it.row.settings.expiration_period is None
            else GrantExpirationPeriod(it.row.settings.expiration_period.value)
        ),
        "null: its grants never expire.",
    )
    unit_price: Money = shows(
        lambda it: Money(
            units=credits_of(it.row.settings.unit_price.amount), currency=Currency(it.row.settings.unit_price.currency)
        ),
        "The price of one credit.",
    )
    payment_collection_method: PaymentCollectionMethod = shows(
        lambda it: PaymentCollectionMethod(it.row.settings.payment_method.value)
    )
    current_monthly_spend: float = shows(
        lambda it: float_of(it.row.spent(it.now)), "What the recharges of this UTC month have cost."
    )
    current_monthly_spend_exact: Decimal = shows(lambda it: exact_of(it.row.spent(it.now)))
    created_at: datetime = shows(lambda it: it.row.created_at)
    updated_at: datetime = shows(lambda it: it.row.saved_at, "When the settings were saved last.")


@strawberry.input(description="The whole settings; what is absent is not kept from before.")
class SaveAutoRechargeSettingsInput:
    customer_id: str
    currency_id: str
    is_enabled: bool
    threshold_value: float | None = None
    threshold_value_exact: Decimal | None = None
    target_balance: float | None = None
    target_balance_exact: Decimal | None = None
    max_spend_limit: float | None = None
    max_spend_limit_exact: Decimal | None = None
    grant_expiration_period: GrantExpirationPeriod | None = None
    unit_price: MoneyInput | None = strawberry.field(default=None, description="Of one credit. Default: free.")
    payment_collection_method: PaymentCollectionMethod | None = strawberry.field(
        default=None, description="Default: NONE, active at once."
    )
    idempotency_key: str | None = None


@strawberry.input
class GetAutoRechargeSettingsInput:
    customer_id: str
    currency_id: str
    at_least: str | None = None


@strawberry.type
class RechargeMutations:
    @strawberry.mutation(description="Save when and how a customer's own pool is recharged.")
    async def save_auto_recharge_settings(
        self, info: Info, input: SaveAutoRechargeSettingsInput
    ) -> AutoRechargeSettings | None:
        receipt = await info.context.carry_out(lambda: settings_of(input))
        event = receipt.events[0]
        assert isinstance(event, AutoRechargeDefined)
        return AutoRechargeSettings(row=recharge_as_defined(event), now=event.transaction.recorded_at)


@strawberry.type
class RechargeQueries:
    @strawberry.field(description="A customer's automatic recharge in one currency; null if it was never saved.")
    async def get_auto_recharge_settings(
        self, info: Info, input: GetAutoRechargeSettingsInput
    ) -> AutoRechargeSettings | None:
        holder = text_of(input.customer_id, field="customerId")
        currency = text_of(input.currency_id, field="currencyId")
        at_least = None if input.at_least is None else position_of(input.at_least, field="atLeast")
        row, now = await info.context.ask(
            lambda snapshot: (recharge_of(snapshot, holder, currency), snapshot.now), holder=holder, at_least=at_least
        )
        return None if row is None else AutoRechargeSettings(row=row, now=now)


def settings_of(given: SaveAutoRechargeSettingsInput) -> SaveAutoRecharge:
    """The command of saveAutoRechargeSettings. Refuses: InvalidArgument."""
    price, price_currency = money_of(given.unit_price, field="unitPrice")
    limit = units_given(given.max_spend_limit, given.max_spend_limit_exact, field="maxSpendLimit")
    period, method = given.grant_expiration_period, given.payment_collection_method
    return SaveAutoRecharge(
        holder=given.customer_id,
        currency=given.currency_id,
        enabled=given.is_enabled,
        threshold=amount_given(given.threshold_value, given.threshold_value_exact, field="thresholdValue"),
        target=amount_given(given.target_balance, given.target_balance_exact, field="targetBalance"),
        max_spend=None if limit is None else credits_decimal(limit),
        expiration_period=None if period is None else ExpirationPeriod(period.value),
        unit_price=price,
        price_currency=price_currency,
        payment_method=PaymentMethod.NONE if method is None else PaymentMethod(method.value),
        idempotency_key=given.idempotency_key,
    )


def _float(units: Credits | None) -> float | None:
    return None if units is None else float_of(units)


def _exact(units: Credits | None) -> Decimal | None:
    return None if units is None else exact_of(units)
