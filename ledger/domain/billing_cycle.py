"""Billing cycles: from an anchor by calendar months, in UTC, the day clamped to the month's end, without drift."""

from typing import NamedTuple

from ledger.domain.instants import LAST_YEAR, Instant, add_months, months_between
from ledger.domain.values import MONTHS_PER_PERIOD, RollupType


class BillingCycle(NamedTuple):
    """How an execution credit renews: a period begins `first_month` months after the anchor, and at each step from it.

    Every boundary is counted from the anchor itself, so 31 January is followed by 28 February and 31 March. An ADDON
    has one period, without an end.
    """

    anchor_at: Instant
    rollup_type: RollupType
    first_month: int = 0

    def period_start(self, instant: Instant) -> Instant:
        """The beginning of the billing period that `instant` falls in; of a cycle that renews."""
        return add_months(self.anchor_at, self._month_of_period(instant))

    def period_end(self, instant: Instant) -> Instant | None:
        """The end of the billing period that `instant` falls in. None: it has none, or it lies beyond the calendar."""
        if self.rollup_type is RollupType.ADDON:
            return None
        month = self._month_of_period(instant) + MONTHS_PER_PERIOD[self.rollup_type]
        if self.anchor_at.year * 12 + self.anchor_at.month + month > LAST_YEAR * 12 + 12:
            return None
        return add_months(self.anchor_at, month)

    def turned(self, rollup_type: RollupType | None, at: Instant) -> "BillingCycle":
        """The cycle from a renewal on: with another rollup type, a whole period of that begins there. None: the same.

        `at` is a boundary of this cycle. The anchor stays, and with it the day of the month.
        """
        if rollup_type is None:
            return self
        return BillingCycle(self.anchor_at, rollup_type, months_between(self.anchor_at, at))

    def _month_of_period(self, instant: Instant) -> int:
        months = months_between(self.anchor_at, instant) - self.first_month
        return months - months % MONTHS_PER_PERIOD[self.rollup_type] + self.first_month
