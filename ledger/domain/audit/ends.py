"""How credits leave a lot unused: voids, lapses, what rolls over, and the end of what a refund brought too late."""

from typing import TYPE_CHECKING

from ledger.domain.audit import movements
from ledger.domain.audit.books import AuditedLot, OwedEnd, Rolling
from ledger.domain.audit.lines import Line, credits_of_text
from ledger.domain.credits import Credits, credits_text
from ledger.domain.events import Expired, Granted, Voided
from ledger.domain.execution_credit import ExecutionCredit
from ledger.domain.grant_schedule import GrantSchedule
from ledger.domain.values import Cause

if TYPE_CHECKING:
    from ledger.domain.audit.fold import Fold


def check(fold: "Fold", line: Line, lot: AuditedLot, part: Credits) -> None:
    """Hold an end, or a smaller allotment, to its cause."""
    now_or_beginning = max(line.recorded_at, lot.begins)
    match line.cause:
        case Cause.REFUND:
            movements.check_date(fold, line, now_or_beginning)
            if lot.books.owed is None:
                fold.findings.fault("refunds", line, f"ends lot {lot.lot_id} for a refund", "a refund right before it")
            lot.books.owed = None
        case Cause.LAPSED | Cause.ROLLED_OVER:
            movements.check_date(fold, line, lot.ends)
            if line.recorded_at < lot.ends:
                fold.findings.fault("due-first", line, f"ends lot {lot.lot_id}", f"nothing before {lot.ends}")
            if line.cause == Cause.LAPSED:
                _check_lapse(fold, line, lot, part)
            else:
                _check_rollover(fold, line, lot, part)
        case Cause.RESIZED:
            movements.check_date(fold, line, now_or_beginning)
            credit = lot.stream.aggregate
            if not isinstance(credit, ExecutionCredit) or credit.present_lot_id != lot.lot_id:
                fold.findings.fault("renewals", line, f"resizes lot {lot.lot_id}", "the present billing period")
        case Cause.VOIDED | Cause.DELETED:
            movements.check_date(fold, line, now_or_beginning)
            _check_whole(fold, line, lot, part, "voids")
            lot.voided = True


def settles(line: Line, owed: OwedEnd) -> bool:
    """Whether this is the end that a refund to a lot that had ended has to be followed by."""
    due = Voided if owed.lot.voided else Expired
    return (line.type, line.cause, line.lot, line.transaction_id) == (
        due.TOPIC, Cause.REFUND, owed.lot.lot_id, owed.line.transaction_id,
    ) and -credits_of_text(line.amount) == owed.amount  # fmt: skip


def receives(line: Line, rolling: Rolling) -> bool:
    """Whether this is the grant that a rollover has to be followed by."""
    return (
        (line.type, line.cause, line.stream_id, line.grant_type) == (
            Granted.TOPIC, Cause.ROLLED_OVER, rolling.target, "ROLLOVER",
        )
        and (line.transaction_id, line.effective_at) == (rolling.line.transaction_id, rolling.line.effective_at)
        and credits_of_text(line.amount) == rolling.amount
    )  # fmt: skip


def schedule_of(lot: AuditedLot) -> GrantSchedule | None:
    """The schedule whose part a lot is, as long as it grants."""
    scheduled = None if lot.details is None else lot.details.scheduled
    return None if scheduled is None else lot.books.schedules.get(scheduled.schedule_id)


def _check_whole(fold: "Fold", line: Line, lot: AuditedLot, part: Credits, how: str) -> None:
    if part != lot.balance:
        should = f"all {credits_text(lot.balance)} of lot {lot.lot_id}"
        fold.findings.fault("lot-law", line, f"{how} {credits_text(part)}", should)


def _check_lapse(fold: "Fold", line: Line, lot: AuditedLot, part: Credits) -> None:
    _check_whole(fold, line, lot, part, "lapses")
    schedule = schedule_of(lot)
    if schedule is not None and schedule.plan.rollover is not None and not lot.rolled:
        fold.findings.fault("rollovers", line, f"lot {lot.lot_id} lapses", "what may roll over to do so first")


def _check_rollover(fold: "Fold", line: Line, lot: AuditedLot, part: Credits) -> None:
    fold.findings.look("rollovers")
    schedule = schedule_of(lot)
    rollover = None if schedule is None else schedule.plan.rollover
    if rollover is None or lot.rolled or line.grant_type != "SUBSCRIPTION":
        should = "one part of a schedule that rolls over, once"
        fold.findings.fault("rollovers", line, f"lot {lot.lot_id} rolls over", should)
    elif part != (most := min(lot.balance, rollover.max_amount or lot.balance)):
        fold.findings.fault("rollovers", line, f"rolls over {credits_text(part)}", credits_text(most))
    lot.rolled = True
    target = getattr(fold.read_event(line), "rolled_over_to", None)
    gone = lot.granted - lot.balance
    lot.books.rolling = Rolling(lot, part, gone, schedule, target or "of its own", line)
