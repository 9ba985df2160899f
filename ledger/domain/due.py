"""What is due comes first: lapses, renewals and scheduled grants, written before anything is decided on the pool."""

from heapq import heapify, heappop, heappush
from typing import NamedTuple

from ledger.domain.decision import Decision
from ledger.domain.events import Expired
from ledger.domain.execution_credit import renew
from ledger.domain.grant_schedule import GrantSchedule, due_at, grant_part, roll_over
from ledger.domain.instants import Instant
from ledger.domain.lots import Lot
from ledger.domain.values import Cause, Kind


def settle_due(decision: Decision) -> None:
    """Write what has fallen due on the pool by now, each thing once, dated at the instant it fell due."""
    now = decision.now
    if decision.pool.key.kind is Kind.EXECUTION_CREDIT:
        for credit in decision.pool.renewals_due(now):
            renew(decision, credit, now)
        return
    due = [DueAct(lot.expires_at, 0, lot.lot_id, lot, None) for lot in decision.pool.due_lots(now)]
    due += [
        DueAct(schedule.next_at, 1, schedule.stream_id, schedule, schedule.next_part)
        for schedule in decision.pool.schedules.values()
        if schedule.next_at <= now
    ]
    heapify(due)
    while due:
        for following in _write(decision, heappop(due)):
            if following.at <= now:
                heappush(due, following)


class DueAct(NamedTuple):
    """What falls due at an instant: a lot's end, or the beginning of a schedule's part. Ends come before beginnings."""

    at: Instant
    order: int
    name: str
    what: Lot | GrantSchedule
    part: int | None


def _write(decision: Decision, due: DueAct) -> list[DueAct]:
    """Write one thing that is due; returns what comes of it: the ends of new lots and a schedule's next part."""
    match due.what, due.part:
        case GrantSchedule() as schedule, int() as part:
            decision.begin_another(schedule.texts)
            lot = grant_part(decision, schedule.stream_id, schedule.plan, part)
            beginning = DueAct(due_at(schedule.plan, part + 1), 1, schedule.stream_id, schedule, part + 1)
            return [_end_of(lot), beginning]
        case Lot() as lot, _:
            return _lapse(decision, lot)
        case _:
            raise AssertionError(f"{due} is nothing that falls due")


def _lapse(decision: Decision, lot: Lot) -> list[DueAct]:
    """Take out what is left of a lot that has ended; that of a schedule's part rolls over, as far as it may."""
    left = decision.present(lot).balance
    scheduled = None if lot.details is None else lot.details.scheduled
    schedule = None if scheduled is None else decision.pool.schedules.get(scheduled.schedule_id)
    if schedule is None or schedule.plan.rollover is None:
        if decision.transaction.document is not None:
            decision.begin_another(None)
        decision.take_out(Expired, lot, left, cause=Cause.LAPSED, effective_at=lot.expires_at)
        return []
    decision.begin_another(schedule.texts)
    target, lost = roll_over(decision, lot, schedule.plan, left)
    if lost > 0:
        decision.take_out(Expired, lot, lost, cause=Cause.LAPSED, effective_at=lot.expires_at)
    return [_end_of(target)]


def _end_of(lot: Lot) -> DueAct:
    return DueAct(lot.expires_at, 0, lot.lot_id, lot, None)
