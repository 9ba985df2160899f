"""The aggregate of an automatic recharge: a PAID grant whenever the customer's own pool falls below a threshold.

Whether one is due is decided on the state under the writers' lock, open recharges counted in, and a recharge brings
the balance to the target, which is not below the threshold. So there is never a second one for the same crossing,
whoever asks and however often.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from ledger.domain.credit_grant import issue, payment_of
from ledger.domain.credits import UNITS_PER_CREDIT, Credits, credits_decimal, credits_of
from ledger.domain.events import AutoRechargeDefined, RechargesDone, RechargeSettings, Spend
from ledger.domain.grant_details import Cost, GrantDetails, Recharge, half_even, readable_grant_id
from ledger.domain.instants import Instant, add_months
from ledger.domain.lots import LawBroken, Lot, check_version
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import MONTHS_PER_EXPIRATION_PERIOD, Cause, GrantType, PoolKey, StreamId, Terms

if TYPE_CHECKING:
    from ledger.domain.decision import Decision


@dataclass(slots=True)
class AutoRecharge:
    """The state of one configuration."""

    stream_id: StreamId
    version: int
    pool: PoolKey
    settings: RechargeSettings
    done: RechargesDone
    created_at: Instant
    saved_at: Instant


def month_of(instant: Instant) -> str:
    """The UTC calendar month that spend is counted in."""
    return f"{instant.year:04}-{instant.month:02}"


def spent(done: RechargesDone, now: Instant) -> int:
    """What the recharges of this month have cost, in billionths of the price's currency."""
    return done.spend.amount if done.spend is not None and done.spend.month == month_of(now) else 0


def save(decision: "Decision", known: AutoRecharge | None, new_id: StreamId, settings: RechargeSettings) -> None:
    """Save the settings whole; what was done so far stays. The first time, a configuration with `new_id` begins.

    Refuses: InvalidArgument (another currency in a month in which something was spent already).
    """
    now = decision.now
    if known is None:
        done, created_at, stream_id = RechargesDone(), now, new_id
    else:
        done, created_at, stream_id = known.done, known.created_at, known.stream_id
        currency = known.settings.unit_price.currency
        if spent(done, now) > 0 and settings.unit_price.currency != currency:
            reason = f"must stay {currency} this month: recharges were paid for in it"
            raise InvalidArgument("unitPrice.currency", reason)
    decision.define(AutoRechargeDefined, stream_id, settings=settings, done=done, created_at=created_at, saved_at=now)


def recharge(decision: "Decision", known: AutoRecharge | None) -> None:
    """Issue one grant of target - balance, if the balance is strictly below the threshold; else nothing happens.

    What would take the month's spend past its cap is not issued, not even in part.
    """
    if known is None or not known.settings.enabled:
        return
    settings, now = known.settings, decision.now
    assert settings.threshold is not None
    assert settings.target is not None
    balance = sum(lot.balance for lot in decision.lots() if _counts(lot, now))
    if balance >= settings.threshold:
        return
    amount = settings.target - balance
    cost = cost_units(settings.unit_price, amount)
    total = spent(known.done, now) + cost
    if settings.max_spend is not None and total > settings.max_spend:
        return
    spend = Spend(month=month_of(now), amount=total, currency=settings.unit_price.currency)
    done = RechargesDone(grants=known.done.grants + 1, spend=spend)
    _issue(decision, known, amount, credits_decimal(cost), done.grants)
    created_at, saved_at = known.created_at, known.saved_at
    decision.define(
        AutoRechargeDefined, known.stream_id, settings=settings, done=done, created_at=created_at, saved_at=saved_at
    )


def cost_units(unit_price: Cost, amount: Credits) -> int:
    """What so many credits cost, in billionths of the price's currency: price times credits, half to even."""
    return half_even(credits_of(unit_price.amount) * amount, UNITS_PER_CREDIT)


def evolve(known: AutoRecharge | None, event: AutoRechargeDefined) -> AutoRecharge:
    """Apply one event of this configuration, which tells it whole."""
    if known is not None:
        if known.stream_id != event.originator_id:
            raise LawBroken(f"pool {event.pool} has two automatic recharges: {known.stream_id}, {event.originator_id}")
        check_version(known.version, event)
    return AutoRecharge(
        event.originator_id,
        event.originator_version,
        event.pool,
        event.settings,
        event.done,
        event.created_at,
        event.saved_at,
    )


def _issue(decision: "Decision", known: AutoRecharge, amount: Credits, money: Decimal, number: int) -> None:
    settings, now = known.settings, decision.now
    payment, awaited = payment_of(settings.payment_method, money, awaiting_confirmation=True)
    period = settings.expiration_period
    expires_at = (
        None if period is None else add_months(now, MONTHS_PER_EXPIRATION_PERIOD[period], field="grantExpirationPeriod")
    )
    terms = Terms(effective_at=now, expires_at=expires_at, created_at=now, awaiting_payment=awaited)
    grant_id = StreamId(decision.new_id())
    details = GrantDetails(
        readable_id=readable_grant_id(grant_id),
        cost=Cost(amount=money, currency=settings.unit_price.currency),
        payment=payment,
        recharge=Recharge(configuration_id=known.stream_id, number=number),
    )
    issue(decision, grant_id, GrantType.PAID, amount, terms, details, Cause.RECHARGED)


def _counts(lot: Lot, now: Instant) -> bool:
    """Usable lots count, and recharges that only wait for their payment."""
    if lot.usable_at(now):
        return True
    waits = lot.terms.awaiting_payment and lot.effective_at <= now < lot.expires_at
    return waits and lot.details is not None and lot.details.recharge is not None
