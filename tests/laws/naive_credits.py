"""Execution credits written a second time: periods counted month by month, and what a definition may change."""

from dataclasses import dataclass
from datetime import datetime

from ledger.domain.events import ExecutionCreditDefined, Granted
from ledger.domain.values import RollupType
from tests.laws.naive_schedules import stepped, steps_until

MONTHS = {
    RollupType.MONTHLY: 1,
    RollupType.QUARTERLY: 3,
    RollupType.SEMIANNUAL: 6,
    RollupType.YEARLY: 12,
}
CHANGEABLE = {"credits", "next_rollup_type", "deleted_at"}
"""What an update or a delete may change; a renewal changes the rest."""


@dataclass
class NaiveCredit:
    """One execution credit: its last definition, and how many months after the anchor its present period ends."""

    last: ExecutionCreditDefined
    ends: int = 0

    @property
    def live(self) -> bool:
        return self.last.deleted_at is None

    @property
    def renewing(self) -> bool:
        return self.last.rollup_type is not RollupType.ADDON

    @property
    def coming(self) -> RollupType:
        """The rollup type that the next renewal begins a period of."""
        return self.last.next_rollup_type or self.last.rollup_type

    def begin(self, granted: Granted) -> None:
        """The first period runs from the creation to the end of the anchored one."""
        created = granted.transaction.recorded_at
        assert (granted.terms.effective_at, granted.amount) == (created, self.last.credits)
        if self.renewing:
            while stepped(self.last.anchor_at, self.ends) <= created:
                self.ends += MONTHS[self.last.rollup_type]
        assert granted.terms.expires_at == self._end()

    def renew(self, granted: Granted) -> None:
        """A period begins where the last one ended, whole, with the present allotment, and not before its time."""
        assert self.live
        assert self.renewing
        begins = self._end()
        assert begins is not None
        assert begins <= granted.transaction.recorded_at
        self.ends += MONTHS[self.coming]
        assert (granted.terms.effective_at, granted.terms.expires_at) == (begins, self._end())
        assert granted.amount == self.last.credits

    def turn(self, event: ExecutionCreditDefined, begins: datetime) -> None:
        """The renewal that another rollup type waited for has begun its first period: nothing else has changed."""
        turned = {
            "rollup_type": self.last.next_rollup_type,
            "next_rollup_type": None,
            "first_month": steps_until(self.last.anchor_at, begins),
        }
        assert told_by(event) == told_by(self.last) | turned
        self.last = event

    def change(self, event: ExecutionCreditDefined, used: int, booked: int) -> None:
        """It was updated or deleted: only what those may change is another, and it is true of the present lot."""
        assert self.live
        before, after = told_by(self.last), told_by(event)
        assert {name for name in after if after[name] != before[name]} <= CHANGEABLE
        if event.deleted_at is None:
            assert event.credits == used + booked
            assert event.next_rollup_type not in (event.rollup_type, RollupType.ADDON)
            assert self.renewing or event.next_rollup_type is None
        else:
            assert (event.deleted_at, booked) == (event.transaction.recorded_at, 0)
            assert {name for name in after if after[name] != before[name]} == {"deleted_at"}
        self.last = event

    def _end(self) -> datetime | None:
        return stepped(self.last.anchor_at, self.ends) if self.renewing else None


def told_by(event: ExecutionCreditDefined) -> dict[str, object]:
    """What a definition tells of its credit."""
    told = dict(event)
    for name in ("originator_id", "originator_version", "transaction", "pool"):
        del told[name]
    return told
