"""Allocation rules and their usage told naively, from the contract alone: every use is looked at for every question."""

import calendar
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
INT32_MAX = 2**31 - 1
LENGTHS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
MONTHS = {"month": 1, "year": 12}
Window = tuple[datetime, datetime]
"""From the first instant to the one after the last."""


@dataclass
class Use:
    at: datetime
    currency: str
    groups: frozenset[str]
    left: Decimal


@dataclass
class Lot:
    granted: Decimal
    begins: datetime
    ends: datetime


@dataclass
class Books:
    """All that was made and used; `rules` by id, as their answers had them."""

    now: datetime
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    uses: dict[str, Use] = field(default_factory=dict)
    lots: dict[str, Lot] = field(default_factory=dict)

    def listed(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        """The whole list that a request means now."""
        window = window_of(wanted["timeRange"], self.now)
        alarm = wanted["thresholdFilter"]
        found = []
        for rule in sorted(self.rules.values(), key=lambda rule: (rule["name"], rule["id"])):
            used = self._used(rule, window)
            named = not wanted["ruleNames"] or rule["name"] in wanted["ruleNames"]
            grouped = not wanted["accountGroupIds"] or not set(rule["accountGroups"]).isdisjoint(
                wanted["accountGroupIds"]
            )
            if named and grouped and (alarm is None or (alarm == "AboveThreshold") == _is_above(rule, used)):
                found.append(rule | _told(rule, used))
        return found

    def summed(self, time_range: dict[str, Any] | None) -> tuple[Fraction, Fraction]:
        """What a summary tells: purchased and used."""
        start, end = window = window_of(time_range, self.now)
        lots = (lot for lot in self.lots.values() if max(lot.begins, start) < min(lot.ends, end))
        uses = (use for use in self.uses.values() if _within(window, use.at))
        return _sum(lot.granted for lot in lots), _sum(use.left for use in uses)

    def _used(self, rule: dict[str, Any], window: Window) -> Fraction:
        groups, currency = set(rule["accountGroups"]), rule["currencyId"]
        counted = (
            use.left
            for use in self.uses.values()
            if _within(window, use.at) and use.groups & groups and currency in (None, use.currency)
        )
        return _sum(counted)


def window_of(time_range: dict[str, Any] | None, now: datetime) -> Window:
    """What a range of time means at an instant."""
    time_range = time_range or {"type": "relative", "value": {"unit": "month", "amount": 1}}
    value = time_range["value"]
    match time_range["type"]:
        case "relative":
            return _back(now, value["unit"], value["amount"]), now + TICK
        case "absolute":
            start, end = (EPOCH + timedelta(milliseconds=value[name]) for name in ("startTime", "endTime"))
            return start, end
        case kind:
            unit = value if isinstance(value, str) else value["unit"]
            begun = datetime(now.year, 1 if unit == "year" else now.month, 1, tzinfo=UTC)
            if unit in ("day", "hour"):
                begun = begun.replace(day=now.day, hour=now.hour if unit == "hour" else 0)
            return (begun, now + TICK) if kind == "to_now" else (now + TICK, forth(begun, unit))


def forth(instant: datetime, unit: str, amount: int = 1) -> datetime:
    """Some units later, the day clamped to the month's end."""
    if unit in LENGTHS:
        return instant + LENGTHS[unit] * amount
    year, month = divmod(instant.year * 12 + instant.month - 1 + MONTHS[unit] * amount, 12)
    return instant.replace(year=year, month=month + 1, day=min(instant.day, calendar.monthrange(year, month + 1)[1]))


def _back(instant: datetime, unit: str, amount: int) -> datetime:
    return max(forth(instant, unit, -amount), EPOCH)


def _sum(amounts: Iterable[Decimal]) -> Fraction:
    return sum(map(Fraction, amounts), Fraction(0))


def _within(window: Window, instant: datetime) -> bool:
    start, end = window
    return start <= instant < end


def _is_above(rule: dict[str, Any], used: Fraction) -> bool:
    if rule["allocatedCredits"] == 0:
        return used > 0 or bool(rule["alarmThreshold"] == 0)
    return used * 100 >= Fraction(rule["alarmThreshold"] * rule["allocatedCredits"])


def _told(rule: dict[str, Any], used: Fraction) -> dict[str, int]:
    allocated = rule["allocatedCredits"]
    percentage = 100 * used // allocated if allocated else 100 * (used > 0)
    return {"usedCredits": min((used + Fraction(1, 2)) // 1, INT32_MAX), "percentage": min(percentage, INT32_MAX)}
