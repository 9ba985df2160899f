"""Definitions: execution credits, schedules, recharges and rules become what their events say, by their own laws."""

from typing import TYPE_CHECKING

from ledger.domain import allocation_rule, auto_recharge, execution_credit, grant_schedule
from ledger.domain.allocation_rule import AllocationRule
from ledger.domain.audit import movements
from ledger.domain.audit.books import AuditedPool, Stream
from ledger.domain.audit.lines import Line, text_of_instant
from ledger.domain.auto_recharge import AutoRecharge
from ledger.domain.credits import credits_text
from ledger.domain.events import (
    AllocationRuleChanged,
    AllocationRuleDefined,
    AllocationRuleEvent,
    AllocationRuleRemoved,
    AutoRechargeDefined,
    ExecutionCreditDefined,
    GrantScheduleDefined,
    RuleEvent,
    ThresholdReached,
)
from ledger.domain.execution_credit import ExecutionCredit, cycle_of
from ledger.domain.grant_schedule import GrantSchedule
from ledger.domain.lots import LawBroken

if TYPE_CHECKING:
    from ledger.domain.audit.fold import Fold


def follow(fold: "Fold", line: Line, stream: Stream) -> None:
    """Hold a definition to what was before it, and take it in."""
    event, pool = fold.read_event(line), fold.pool_of(line)
    pool.front = None  # what is due, and who may pay, is another from now on
    if not isinstance(event, RuleEvent):
        movements.check_nothing_owed(fold, pool, line)
        if stream.turned is None:
            movements.check_settled(fold, line, pool)
    known, before = stream.aggregate, int(line.version) - 1
    if known is not None:
        known.version = before  # whether versions are gapless is a check of its own
    try:
        match event:
            case ExecutionCreditDefined():
                assert known is None or isinstance(known, ExecutionCredit)
                _define_credit(fold, line, stream, pool, known, event)
            case GrantScheduleDefined():
                assert known is None or isinstance(known, GrantSchedule)
                _define_schedule(fold, line, stream, pool, known, event)
            case AutoRechargeDefined():
                assert known is None or isinstance(known, AutoRecharge)
                stream.aggregate = pool.recharge = auto_recharge.evolve(known or pool.recharge, event)
            case AllocationRuleDefined() | AllocationRuleChanged() | AllocationRuleRemoved() | ThresholdReached():
                assert known is None or isinstance(known, AllocationRule)
                _follow_rule(fold, line, stream, known, event)
    except LawBroken as broken:
        fold.findings.fault("definitions", line, str(broken), "what follows from the state before it")


def _define_credit(
    fold: "Fold",
    line: Line,
    stream: Stream,
    pool: AuditedPool,
    known: ExecutionCredit | None,
    event: ExecutionCreditDefined,
) -> None:
    """A credit stays what it is, but for its allotment and, from a renewal on that was told of it, its cycle."""
    if known is None:
        stream.aggregate = credit = execution_credit.evolve(None, event)
        pool.credits.append(credit)
        if event.anchor_at > event.created_at or text_of_instant(event.created_at) != line.recorded_at:
            fold.findings.fault("renewals", line, f"created at {event.created_at}", f"created at {line.recorded_at}")
        return
    former = known.definition
    cycle = stream.turned or cycle_of(former)
    stream.turned = None
    if not known.live:
        fold.findings.fault("renewals", line, "goes on", f"nothing since it was deleted at {former.deleted_at}")
    if (event.rollup_type, event.first_month) != (cycle.rollup_type, cycle.first_month):
        says = f"{event.rollup_type} from month {event.first_month} on"
        fold.findings.fault("renewals", line, says, f"{cycle.rollup_type} from month {cycle.first_month} on")
    stays = former.credit_type, former.anchor_at, former.created_at, former.pool
    if (event.credit_type, event.anchor_at, event.created_at, event.pool) != stays:
        fold.findings.fault("definitions", line, "another type, anchor, creation or pool", "those that it had at first")
    if event.deleted_at is not None and text_of_instant(event.deleted_at) != line.recorded_at:
        fold.findings.fault("renewals", line, f"deleted at {event.deleted_at}", f"deleted at {line.recorded_at}")
    if known.present_lot_id is not None:
        lot = known.present_lot
        held = 0 if event.deleted_at is not None else event.credits - lot.used
        if lot.balance != held and cycle_of(event) == cycle_of(former):
            says = f"leaves {credits_text(lot.balance)} in the present billing period"
            fold.findings.fault("renewals", line, says, credits_text(held))
    execution_credit.evolve(known, event)


def _define_schedule(
    fold: "Fold",
    line: Line,
    stream: Stream,
    pool: AuditedPool,
    known: GrantSchedule | None,
    event: GrantScheduleDefined,
) -> None:
    """A schedule keeps its plan until it ends, once."""
    fold.findings.look("schedules")
    if known is not None:
        if known.plan.ended_at is not None:
            fold.findings.fault("schedules", line, "goes on", f"nothing since {known.plan.ended_at}")
        if event.plan.model_copy(update={"ended_at": known.plan.ended_at}) != known.plan:
            fold.findings.fault("schedules", line, "another plan", "the plan that it had at first")
        if pool.schedules.get(line.stream_id) is not known and known.plan.ended_at is None:
            fold.findings.fault("schedules", line, "another pool", "the pool that it had at first")
    stream.aggregate = schedule = grant_schedule.evolve(known, event)
    if event.plan.ended_at is None:
        pool.schedules[line.stream_id] = schedule
        pool.next_due = min(pool.next_due, text_of_instant(schedule.next_at))
    else:
        if text_of_instant(event.plan.ended_at) != line.recorded_at:
            fold.findings.fault("schedules", line, f"ended at {event.plan.ended_at}", f"ended at {line.recorded_at}")
        pool.schedules.pop(line.stream_id, None)


def _follow_rule(
    fold: "Fold", line: Line, stream: Stream, known: AllocationRule | None, event: AllocationRuleEvent
) -> None:
    """A rule that was removed changes no more; only a threshold that was reached before may still be recorded."""
    recorded = isinstance(event, ThresholdReached)
    if known is not None:
        if not known.live and not recorded:
            fold.findings.fault("definitions", line, "goes on", f"nothing since {known.details.removed_at}")
        if recorded and event.rule != known.details:
            fold.findings.fault("definitions", line, "another rule than was told before", "the rule as it was")
    if not recorded and (event.rule.removed_at is not None) != isinstance(event, AllocationRuleRemoved):
        fold.findings.fault("definitions", line, f"removed at {event.rule.removed_at}", "removal by its event alone")
    stream.aggregate = allocation_rule.evolve(known, event)
