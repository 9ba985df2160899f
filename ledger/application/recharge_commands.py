"""Commands on the automatic recharge of a customer's own pool."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from ledger.application.commands import Command, Known
from ledger.application.inputs import Document, choice, currency_of, exact, flag, plain, positive
from ledger.domain import auto_recharge
from ledger.domain.credits import AMOUNT_MAX, Credits, credits_of, credits_text
from ledger.domain.decision import Decision
from ledger.domain.events import RechargeSettings
from ledger.domain.grant_details import Cost
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import (
    Actor,
    ActorKind,
    ExpirationPeriod,
    Kind,
    PaymentMethod,
    PoolKey,
    StreamId,
    text_of,
)

RECHARGER = Actor(ActorKind.SYSTEM, "auto-recharge")
DISPLAY_NAME = "Automatic recharge"


@dataclass(slots=True, kw_only=True)
class RechargeCommand(Command):
    """A command on a customer's automatic recharge in one currency."""

    kind: ClassVar[Kind] = Kind.CREDIT_GRANT

    holder: str
    currency: str

    def check_envelope(self) -> None:
        Command.check_envelope(self)
        self.holder = text_of(self.holder, field="holder")
        self.currency = text_of(self.currency, field="currency")
        self.pool = PoolKey(self.kind, self.holder, self.currency, None)

    @property
    def scope(self) -> str:
        return self.holder


@dataclass(slots=True, kw_only=True)
class SaveAutoRecharge(RechargeCommand):
    """Save the whole settings: below `threshold` credits, recharge to `target`, at `unit_price` for each credit.

    `max_spend` bounds what the recharges of a UTC calendar month cost together; None: nothing does.
    """

    operation: ClassVar[str] = "save_auto_recharge"

    enabled: bool
    threshold: Any = None
    target: Any = None
    max_spend: Any = None
    expiration_period: ExpirationPeriod | None = None
    unit_price: str | int | Decimal = 0
    price_currency: str = "USD"
    payment_method: PaymentMethod = PaymentMethod.NONE

    def __post_init__(self) -> None:
        self.check_envelope()
        self.enabled = flag(self.enabled, field="isEnabled")
        self.threshold = None if self.threshold is None else positive(self.threshold, field="thresholdValue")
        self.target = None if self.target is None else positive(self.target, field="targetBalance")
        self.max_spend = None if self.max_spend is None else credits_of(self.max_spend, field="maxSpendLimit")
        if self.expiration_period is not None:
            self.expiration_period = choice(ExpirationPeriod, self.expiration_period, field="grantExpirationPeriod")
        self.unit_price = exact(self.unit_price, field="unitPrice")
        self.price_currency = currency_of(self.price_currency, field="unitPrice.currency")
        self.payment_method = choice(PaymentMethod, self.payment_method, field="paymentCollectionMethod")
        if self.enabled:
            self._check_whole()

    def normalised(self) -> dict[str, object]:
        return {
            "currency": self.currency,
            "isEnabled": self.enabled,
            "thresholdValue": _text(self.threshold),
            "targetBalance": _text(self.target),
            "maxSpendLimit": _text(self.max_spend),
            "grantExpirationPeriod": self.expiration_period,
            "unitPrice": plain(self.unit_price),
            "unitPrice.currency": self.price_currency,
            "paymentMethod": self.payment_method.value,
        }

    def decide(self, decision: Decision, known: Known) -> None:
        settings = RechargeSettings(
            enabled=self.enabled,
            threshold=self.threshold,
            target=self.target,
            max_spend=self.max_spend,
            expiration_period=self.expiration_period,
            unit_price=self._price(),
            payment_method=self.payment_method,
        )
        auto_recharge.save(decision, decision.pool.recharge, StreamId(decision.new_id()), settings)

    def _price(self) -> Cost:
        return Cost(amount=Decimal(self.unit_price), currency=self.price_currency)

    def _check_whole(self) -> None:
        """What an enabled recharge cannot do without."""
        for field, value in (("thresholdValue", self.threshold), ("targetBalance", self.target)):
            if value is None:
                raise InvalidArgument(field, "must be given for a recharge that is enabled")
        if self.target < self.threshold:
            raise InvalidArgument("targetBalance", "must not be below thresholdValue")
        if self.max_spend is not None and self._price().amount == 0:
            raise InvalidArgument("unitPrice", "must be given where maxSpendLimit is: else nothing is ever spent")
        if auto_recharge.cost_units(self._price(), self.target) > AMOUNT_MAX:
            raise InvalidArgument("unitPrice", "makes a recharge cost more than 19 digits before the point")


@dataclass(slots=True, kw_only=True)
class RechargePool(RechargeCommand):
    """Recharge a customer's own pool if its balance is below the threshold; else nothing happens."""

    operation: ClassVar[str] = "recharge_pool"

    def __post_init__(self) -> None:
        self.actor = RECHARGER
        self.check_envelope()

    def normalised(self) -> dict[str, object]:
        return {"currency": self.currency}

    def document(self, known: Known) -> Document | None:
        return Document.of(display_name=DISPLAY_NAME)

    def decide(self, decision: Decision, known: Known) -> None:
        auto_recharge.recharge(decision, decision.pool.recharge)


def _text(amount: Credits | None) -> str | None:
    return None if amount is None else credits_text(amount)
