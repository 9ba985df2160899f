"""Schedules and recharges written a second time: parts off a list, the calendar day by day, money as fractions."""

from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from ledger.domain.events import AutoRechargeDefined, SchedulePlan
from ledger.domain.values import BillingPeriod, Cadence

UNIT = 10**9


def stepped(anchor: datetime, months: int) -> datetime:
    """So many months later, on the same day or the last one that the month has."""
    years, month = divmod(anchor.month - 1 + months, 12)
    for day in range(anchor.day, 0, -1):
        try:
            return anchor.replace(year=anchor.year + years, month=month + 1, day=day)
        except ValueError:
            continue
    raise AssertionError("a month without days")


def steps_until(anchor: datetime, instant: datetime) -> int:
    """How many whole months have gone by at an instant; below zero before the anchor."""
    months = 0
    while stepped(anchor, months + 1) <= instant:
        months += 1
    while stepped(anchor, months) > instant:
        months -= 1
    return months


def units_of(amount: object) -> int:
    """Billionths; to have more places than nine is an error."""
    units = Fraction(str(amount)) * UNIT
    assert units.denominator == 1
    return int(units)


@dataclass
class NaiveSchedule:
    plan: SchedulePlan
    next_part: int
    live: bool = True

    @property
    def months(self) -> int:
        """What one part covers."""
        return 12 if (self.plan.billing_period, self.plan.cadence) == (BillingPeriod.YEAR, AT_ONCE) else 1

    @property
    def period(self) -> int:
        return 12 if self.plan.billing_period is BillingPeriod.YEAR else 1

    def begins(self, part: int) -> datetime:
        return stepped(self.plan.anchor_at, part * self.months)

    def amount(self, part: int) -> int:
        return self._of(self.plan.amount, part)

    def cost(self, part: int) -> int:
        return self._of(units_of(self.plan.cost.amount), part)

    def carried(self, left: int) -> int:
        """What of a remainder rolls over."""
        rollover = self.plan.rollover
        if rollover is None or not self.live:
            return 0
        return left if rollover.max_amount is None else min(left, rollover.max_amount)

    def rollover_ends(self, part_ends: datetime) -> datetime:
        assert self.plan.rollover is not None
        lasts = self.plan.rollover.expires_after_periods * self.period
        whole = steps_until(self.plan.anchor_at, part_ends)
        if stepped(self.plan.anchor_at, whole) != part_ends:
            return stepped(part_ends, lasts)
        return stepped(self.plan.anchor_at, whole + lasts)

    def due(self, now: datetime) -> list[int]:
        """The parts that are to be granted by now."""
        parts: list[int] = []
        while self.live and self.begins(self.next_part + len(parts)) <= now:
            parts.append(self.next_part + len(parts))
        return parts

    def _of(self, whole: int, part: int) -> int:
        count = self.period // self.months
        shares = [whole // count] * count
        shares[-1] += whole - sum(shares)
        return shares[part % count]


AT_ONCE = Cadence.BEGINNING_OF_BILLING_PERIOD


@dataclass
class NaiveRecharge:
    """One configuration and what its grants have cost by month."""

    last: AutoRechargeDefined
    grants: int = 0
    spent: dict[tuple[int, int], int] = field(default_factory=dict)

    def wanted(self, balance: int, now: datetime) -> tuple[int, int] | None:
        """The amount and the cost of the recharge that is due, if one is."""
        settings = self.last.settings
        if not settings.enabled or settings.threshold is None or settings.target is None:
            return None
        if not balance < settings.threshold:
            return None
        amount = settings.target - balance
        cost = round(Fraction(units_of(settings.unit_price.amount) * amount, UNIT))
        if settings.max_spend is not None and self.spent.get((now.year, now.month), 0) + cost > settings.max_spend:
            return None
        return amount, cost
