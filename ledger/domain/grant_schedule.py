"""The aggregate of a grant schedule: SUBSCRIPTION grants at calendar steps from an anchor, each part once.

A part covers one step: a billing period, or with the cadence MONTHLY a month of it. It is granted at its beginning and
ends with the step; what is left then may roll over once. Steps are counted from the anchor, so that they never drift.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from ledger.domain.credit_grant import details_of, issue
from ledger.domain.credits import Credits, credits_decimal, credits_of
from ledger.domain.events import Expired, GrantScheduleDefined, Rollover, SchedulePlan
from ledger.domain.grant_details import Cost, GrantDetails, Origin, ScheduledPart, cost_share, readable_grant_id
from ledger.domain.instants import FOREVER, Instant, add_months, months_between
from ledger.domain.lots import LawBroken, Lot, check_version
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import (
    MONTHS_PER_BILLING_PERIOD,
    Cadence,
    Cause,
    DocumentReference,
    GrantType,
    StreamId,
    Terms,
)

if TYPE_CHECKING:
    from ledger.domain.decision import Decision


@dataclass(slots=True)
class GrantSchedule:
    """The state of a schedule that still grants; `next_part` is the first that it has not granted yet."""

    stream_id: StreamId
    version: int
    plan: SchedulePlan
    texts: DocumentReference | None
    next_part: int

    @property
    def next_at(self) -> Instant:
        return due_at(self.plan, self.next_part)

    def granted(self, part: int) -> None:
        """Take in one of its grants. Raises LawBroken unless it is the next part."""
        if part != self.next_part:
            raise LawBroken(f"schedule {self.stream_id}: part {part} was granted, not {self.next_part}")
        self.next_part += 1


def part_begins(plan: SchedulePlan, part: int) -> Instant:
    """When a part begins, which is when the one before it ends."""
    return add_months(plan.anchor_at, part * _months_per_part(plan), field="anchorAt")


def due_at(plan: SchedulePlan, part: int) -> Instant:
    """When a part is granted; FOREVER for one that would end beyond the calendar, which never is."""
    try:
        part_begins(plan, part + 1)
    except InvalidArgument:
        return FOREVER
    return part_begins(plan, part)


def next_grant_at(plan: SchedulePlan, instant: Instant) -> Instant | None:
    """When a schedule grants next after `instant`; None once it has ended."""
    next_at = due_at(plan, max(0, part_at(plan, instant) + 1))
    return None if plan.ended_at is not None or next_at == FOREVER else next_at


def part_at(plan: SchedulePlan, instant: Instant) -> int:
    """The part that an instant falls in; negative before the anchor."""
    return months_between(plan.anchor_at, instant) // _months_per_part(plan)


def define(decision: "Decision", stream_id: StreamId, plan: SchedulePlan) -> None:
    """Create a schedule and grant the part that has begun, if one has; those before it were never promised.

    Refuses: InvalidArgument (an amount too small to be parted, an anchor whose first part has no end).
    """
    if plan.cadence is Cadence.MONTHLY and plan.amount < MONTHS_PER_BILLING_PERIOD[plan.billing_period]:
        raise InvalidArgument("amountPerPeriod", "is too small to be parted by months")
    first_part = max(0, part_at(plan, decision.now))
    part_begins(plan, first_part + 1)
    plan = plan.model_copy(update={"first_part": first_part})
    decision.define(GrantScheduleDefined, stream_id, plan=plan)
    if part_begins(plan, first_part) <= decision.now:
        grant_part(decision, stream_id, plan, first_part)


def end(decision: "Decision", schedule: GrantSchedule) -> None:
    """Stop a schedule's grants from now on, also those of what is left of the last one."""
    decision.begin(decision.transaction._replace(document=schedule.texts))
    plan = schedule.plan.model_copy(update={"ended_at": decision.now})
    decision.define(GrantScheduleDefined, schedule.stream_id, plan=plan)


def grant_part(decision: "Decision", stream_id: StreamId, plan: SchedulePlan, part: int) -> Lot:
    """Issue one part as a SUBSCRIPTION grant, dated at its beginning."""
    amount, cost = _share(plan, part)
    terms = Terms(
        effective_at=part_begins(plan, part),
        expires_at=part_begins(plan, part + 1),
        created_at=decision.now,
        priority=plan.priority,
    )
    grant_id = StreamId(decision.new_id())
    details = GrantDetails(
        readable_id=readable_grant_id(grant_id),
        cost=Cost(amount=cost, currency=plan.cost.currency),
        scheduled=ScheduledPart(schedule_id=stream_id, part=part),
    )
    return issue(decision, grant_id, GrantType.SUBSCRIPTION, amount, terms, details, Cause.SCHEDULED)


def roll_over(decision: "Decision", lot: Lot, plan: SchedulePlan, left: Credits) -> tuple[Lot, Credits]:
    """Carry what is `left` of a part that has ended into a ROLLOVER grant, with its share of the cost, up to the cap.

    Returns the new lot and what is lost to the cap.
    """
    rollover = plan.rollover
    assert rollover is not None
    details, granted = details_of(lot), decision.present(lot).granted
    carried = left if rollover.max_amount is None else min(left, rollover.max_amount)
    gone = granted - left
    grant_id = StreamId(decision.new_id())
    decision.take_out(
        Expired, lot, carried, cause=Cause.ROLLED_OVER, effective_at=lot.expires_at, rolled_over_to=grant_id
    )
    terms = Terms(
        effective_at=lot.expires_at,
        expires_at=rollover_ends(plan, rollover, lot.expires_at),
        created_at=decision.now,
        priority=lot.terms.priority,
    )
    share = cost_share(details.cost.amount, granted, gone, gone + carried)
    carrying = GrantDetails(
        readable_id=readable_grant_id(grant_id),
        cost=Cost(amount=share, currency=details.cost.currency),
        rolled_over_from=Origin(grant_id=lot.stream_id, readable_id=details.readable_id),
    )
    target = issue(decision, grant_id, GrantType.ROLLOVER, carried, terms, carrying, Cause.ROLLED_OVER)
    return target, left - carried


def rollover_ends(plan: SchedulePlan, rollover: Rollover, begins_at: Instant) -> Instant | None:
    """When a ROLLOVER grant that begins then ends: so many whole billing periods later.

    They are counted from the schedule's anchor, so that they do not drift; from the grant's own beginning where its
    origin was made to end at another instant than its part does. None: beyond the calendar.
    """
    months = rollover.expires_after_periods * MONTHS_PER_BILLING_PERIOD[plan.billing_period]
    gone = months_between(plan.anchor_at, begins_at)
    try:
        if add_months(plan.anchor_at, gone) == begins_at:
            return add_months(plan.anchor_at, gone + months)
        return add_months(begins_at, months)
    except InvalidArgument:
        return None


def evolve(schedule: GrantSchedule | None, event: GrantScheduleDefined) -> GrantSchedule:
    """Apply a definition of this schedule."""
    if schedule is None:
        texts = event.transaction.document
        return GrantSchedule(event.originator_id, event.originator_version, event.plan, texts, event.plan.first_part)
    check_version(schedule.version, event)
    schedule.version, schedule.plan = event.originator_version, event.plan
    return schedule


def _months_per_part(plan: SchedulePlan) -> int:
    return 1 if plan.cadence is Cadence.MONTHLY else MONTHS_PER_BILLING_PERIOD[plan.billing_period]


def _share(plan: SchedulePlan, part: int) -> tuple[Credits, Decimal]:
    """A part's credits and cost: equal parts of the billing period's, the last one takes the remainder."""
    parts = MONTHS_PER_BILLING_PERIOD[plan.billing_period] // _months_per_part(plan)
    last = part % parts == parts - 1
    cost = _parted(credits_of(plan.cost.amount), parts, last=last)
    return _parted(plan.amount, parts, last=last), credits_decimal(cost)


def _parted(whole: int, parts: int, *, last: bool) -> int:
    return whole - whole // parts * (parts - 1) if last else whole // parts
