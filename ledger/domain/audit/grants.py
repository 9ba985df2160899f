"""What gives a lot its terms: grants, and the events by which a grant becomes another."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from ledger.domain.audit import movements
from ledger.domain.audit.books import AuditedLot, Rolling, Stream
from ledger.domain.audit.lines import Line, text_of_instant
from ledger.domain.auto_recharge import cost_units
from ledger.domain.credits import Credits, credits_decimal, credits_of, credits_text
from ledger.domain.events import Granted, GrantPaymentRecorded, GrantUpdated, SchedulePlan
from ledger.domain.execution_credit import ExecutionCredit, cycle_of
from ledger.domain.grant_details import GrantDetails, cost_share
from ledger.domain.grant_schedule import GrantSchedule, part_begins, rollover_ends
from ledger.domain.values import MONTHS_PER_BILLING_PERIOD, Cadence, Cause, GrantType, Kind, PaymentCollection

if TYPE_CHECKING:
    from ledger.domain.audit.fold import Fold

CAUSES = frozenset({Cause.ISSUED, Cause.SCHEDULED, Cause.ROLLED_OVER, Cause.RECHARGED, Cause.RENEWED, Cause.RESIZED})
WHEN_DUE = frozenset({Cause.SCHEDULED, Cause.ROLLED_OVER, Cause.RENEWED})


def follow(fold: "Fold", line: Line, stream: Stream) -> None:
    """Hold a grant, or what became of one, to the laws; then open the lot, or give it its terms."""
    event = fold.read_event(line)
    if isinstance(event, Granted):
        _follow_granted(fold, line, stream, event)
    elif isinstance(event, GrantUpdated | GrantPaymentRecorded):
        lot = fold.lots.get(line.lot)
        if lot is None:
            movements.pass_over(fold, line)
            return
        movements.check_facts(fold, line, lot)
        movements.check_settled(fold, line, lot.books)
        movements.check_nothing_owed(fold, lot.books, line)
        movements.check_terms(fold, line, line.version)
        movements.check_date(fold, line, line.recorded_at)
        _check_change(fold, line, lot, event)
        take_terms(lot, event, int(line.version))
        state = lot.granted, lot.used, lot.balance
        movements.move(fold, line, lot, type(event), 0, state)


def _check_change(fold: "Fold", line: Line, lot: AuditedLot, event: GrantUpdated | GrantPaymentRecorded) -> None:
    """A grant stays what it is: an update may change its terms, a payment its payment, both its texts. Void, none."""
    was, now, details = lot.terms, event.terms, lot.details
    if details is None:
        return
    payment, recorded_at = event.grant.payment, event.transaction.recorded_at
    if isinstance(event, GrantUpdated):
        begins_at = now.effective_at if was.effective_at > recorded_at else was.effective_at
        expires_at = now.expires_at if lot.expires_at > recorded_at else was.expires_at
        terms = {"effective_at": begins_at, "expires_at": expires_at, "priority": now.priority}
        should, stays = was.model_copy(update=terms), details.payment
    else:
        paid = payment.collection is PaymentCollection.NOT_REQUIRED
        should = was.model_copy(update={"awaiting_payment": False}) if paid else was
        paid_at = details.payment.paid_at or (recorded_at if paid else None)
        stays = payment.model_copy(update={"method": details.payment.method, "paid_at": paid_at})
    same_grant = details.model_copy(update={"payment": stays, "texts": event.grant.texts})
    if lot.voided or (now, event.grant) != (should, same_grant):
        fold.findings.fault("terms", line, "another grant than it was", "what such an event may change, and no more")


def take_terms(lot: AuditedLot, event: Granted | GrantUpdated | GrantPaymentRecorded, version: int) -> None:
    """Put an event's terms in force, and with them the lot's place among those of its pool."""
    pool, is_open = lot.books, lot.balance > 0
    if is_open:
        pool.leave(lot)
    lot.take_terms(event.terms, version)
    lot.details = event.grant
    if is_open:
        pool.enter(lot)


def _follow_granted(fold: "Fold", line: Line, stream: Stream, event: Granted) -> None:
    pool = fold.pool_of(line)
    lot = fold.lots.get(event.lot)
    amount = event.amount
    movements.check_sign(fold, line, Granted, amount, CAUSES)
    movements.check_terms(fold, line, line.version)
    if line.cause not in WHEN_DUE:
        movements.check_settled(fold, line, pool)
    rolling = pool.rolling
    movements.check_nothing_owed(fold, pool, line)
    _check_origin(fold, line, event, rolling if pool.rolling is not None else None)
    if pool.rolling is not None:
        pool.rolling = None
    resized = line.cause == Cause.RESIZED
    dated = line.recorded_at if resized else text_of_instant(event.terms.effective_at)
    movements.check_date(fold, line, dated)
    if lot is None:
        lot = AuditedLot(
            event.lot, event.originator_id, event.pool, event.grant_type, event.terms, int(line.version),
            details=event.grant, stream=stream, books=pool, first_position=line.position,
            facts=(line.stream_id, *line.pool, line.grant_type),
        )  # fmt: skip
        fold.lots[event.lot] = lot
    else:
        movements.check_facts(fold, line, lot)
        if not resized:
            fold.findings.fault("lot-law", line, f"opens lot {event.lot}", "a lot of its own")
        take_terms(lot, event, int(line.version))
    _follow_period(fold, line, event, lot)
    movements.move(fold, line, lot, Granted, amount, (lot.granted + amount, lot.used, lot.balance + amount))
    lot.books.next_due = min(lot.books.next_due, lot.ends)


def _check_origin(fold: "Fold", line: Line, event: Granted, rolling: Rolling | None) -> None:
    """A grant says where it comes from, if that is a schedule or another grant; it has what is its share."""
    details = event.grant
    if (event.pool.kind is Kind.CREDIT_GRANT) != (details is not None):
        fold.findings.fault("topics", line, f"is of kind {event.pool.kind}", "a grant's details on grants alone")
    if details is None:
        return
    if line.lot != line.stream_id:
        fold.findings.fault("lot-law", line, f"is about lot {event.lot}", f"lot {event.originator_id}, the grant's own")
    if details.scheduled is not None or line.cause == Cause.SCHEDULED:
        fold.findings.look("schedules")
        _check_part(fold, line, event, details)
    if details.recharge is not None or line.cause == Cause.RECHARGED:
        fold.findings.look("definitions")
        _check_recharge(fold, line, event, details)
    if details.rolled_over_from is not None or line.cause == Cause.ROLLED_OVER:
        fold.findings.look("rollovers")
        if rolling is None:
            fold.findings.fault("rollovers", line, "carries a remainder on", "a rollover right before it")
        else:
            _check_carried(fold, line, event, details, rolling)


def _check_recharge(fold: "Fold", line: Line, event: Granted, details: GrantDetails) -> None:
    """A recharge is the next one of its pool's configuration, at the price that is agreed there."""
    known, recharge = fold.pool_of(line).recharge, details.recharge
    if known is None or recharge is None or recharge.configuration_id != known.stream_id:
        fold.findings.fault("definitions", line, "is granted as a recharge", "one of its pool's configuration")
        return
    price = known.settings.unit_price
    cost = credits_decimal(cost_units(price, event.amount))
    if (recharge.number, details.cost.amount, details.cost.currency) != (known.done.grants + 1, cost, price.currency):
        says = f"recharge {recharge.number} costs {details.cost.amount:f} {details.cost.currency}"
        fold.findings.fault("definitions", line, says, f"recharge {known.done.grants + 1}: {cost:f} {price.currency}")


def _check_carried(fold: "Fold", line: Line, event: Granted, details: GrantDetails, rolling: Rolling) -> None:
    """The cost goes along, by cumulative rounding; the grant lasts as long as the schedule says."""
    origin = rolling.lot
    came_from = None if details.rolled_over_from is None else details.rolled_over_from.grant_id
    if came_from != origin.stream_id:
        fold.findings.fault("rollovers", line, f"carries on grant {came_from}", f"grant {origin.stream_id}")
    if origin.details is not None and origin.granted > 0:
        cost, gone = origin.details.cost, rolling.gone_before
        share = cost_share(cost.amount, origin.granted, gone, gone + rolling.amount)
        says = f"{details.cost.amount:f} {details.cost.currency}"
        if (details.cost.amount, details.cost.currency) != (share, cost.currency):
            fold.findings.fault("rollovers", line, f"costs {says}", f"its share, {share:f} {cost.currency}")
    plan = None if rolling.schedule is None else rolling.schedule.plan
    if plan is not None and plan.rollover is not None and origin.terms.expires_at is not None:
        ends_at = rollover_ends(plan, plan.rollover, origin.terms.expires_at)
        if (event.terms.expires_at, event.terms.priority) != (ends_at, origin.terms.priority):
            says = f"ends at {event.terms.expires_at}, priority {event.terms.priority}"
            fold.findings.fault("rollovers", line, says, f"{ends_at}, priority {origin.terms.priority}")


def _check_part(fold: "Fold", line: Line, event: Granted, details: GrantDetails) -> None:
    """A part is the next one, begins and ends with its step, and has its share of the plan."""
    scheduled = details.scheduled
    stream = None if scheduled is None else fold.streams.get(scheduled.schedule_id)
    schedule = None if stream is None else stream.aggregate
    if scheduled is None or not isinstance(schedule, GrantSchedule):
        fold.findings.fault("schedules", line, "is granted as a part", "a part of a schedule that was defined before")
        return
    plan, part = schedule.plan, scheduled.part
    if plan.ended_at is not None:
        fold.findings.fault("schedules", line, f"grants part {part}", f"nothing since {plan.ended_at}")
    if part != schedule.next_part:
        fold.findings.fault("schedules", line, f"grants part {part}", f"part {schedule.next_part}")
        schedule.next_part = part
    pool = fold.pool_of(line)
    if plan.ended_at is None and pool.schedules.get(schedule.stream_id) is not schedule:
        fold.findings.fault("schedules", line, "grants a part in another pool", "the schedule's pool")
    lasts = part_begins(plan, part), part_begins(plan, part + 1)
    if (event.terms.effective_at, event.terms.expires_at) != lasts:
        says = _from_to(event.terms.effective_at, event.terms.expires_at)
        fold.findings.fault("schedules", line, f"part {part} lasts {says}", _from_to(*lasts))
    if event.transaction.recorded_at < lasts[0]:
        fold.findings.fault("schedules", line, f"grants part {part}", f"nothing before {lasts[0]}")
    amount, cost = _share(plan, part)
    if (event.amount, details.cost.amount, details.cost.currency) != (amount, cost, plan.cost.currency):
        says = f"{credits_text(event.amount)} at {details.cost.amount:f}"
        fold.findings.fault("schedules", line, f"part {part} is {says}", f"{credits_text(amount)} at {cost:f}")
    if (line.cause, event.grant_type) != (Cause.SCHEDULED, GrantType.SUBSCRIPTION):
        says = f"{line.cause}, {event.grant_type}"
        fold.findings.fault("schedules", line, f"part {part} is {says}", "SCHEDULED, SUBSCRIPTION")
    schedule.next_part += 1
    pool.next_due = min(pool.next_due, text_of_instant(schedule.next_at))


def _share(plan: SchedulePlan, part: int) -> tuple[Credits, Decimal]:
    """A part's credits and cost: equal parts of a billing period's, of which the last takes what they leave."""
    parts = MONTHS_PER_BILLING_PERIOD[plan.billing_period] if plan.cadence is Cadence.MONTHLY else 1
    of_cost = credits_of(plan.cost.amount)
    if (part + 1) % parts:
        return plan.amount // parts, credits_decimal(of_cost // parts)
    before = parts - 1
    return plan.amount - plan.amount // parts * before, credits_decimal(of_cost - of_cost // parts * before)


def _follow_period(fold: "Fold", line: Line, event: Granted, lot: AuditedLot) -> None:
    """A billing period of an execution credit begins where the one before it ended, with the allotment in force."""
    credit = lot.stream.aggregate
    if event.pool.kind is not Kind.EXECUTION_CREDIT:
        return
    fold.findings.look("renewals")
    if not isinstance(credit, ExecutionCredit):
        fold.findings.fault("renewals", line, "grants a period", "a definition before it")
        return
    if not credit.live:
        fold.findings.fault(
            "renewals", line, "goes on", f"nothing since it was deleted at {credit.definition.deleted_at}"
        )
    former = None if credit.present_lot_id is None else credit.lots[credit.present_lot_id]
    if line.cause == Cause.RESIZED:
        if former is not lot:
            fold.findings.fault("renewals", line, f"resizes lot {lot.lot_id}", "the present billing period")
        return
    definition, cycle = credit.definition, cycle_of(credit.definition)
    renewed = line.cause == Cause.RENEWED
    begins_at = definition.created_at
    if renewed != (former is not None) or (former is not None and former.balance > 0):
        fold.findings.fault("renewals", line, f"a period by {line.cause}", "one after another, none with a remainder")
    if renewed and former is not None and former.terms.expires_at is not None:
        begins_at = former.terms.expires_at
        turned = cycle.turned(definition.next_rollup_type, begins_at)
        lot.stream.turned = turned if turned != cycle else None
        cycle = turned
    lasts = begins_at, cycle.period_end(begins_at)
    if (event.terms.effective_at, event.terms.expires_at) != lasts:
        says = _from_to(event.terms.effective_at, event.terms.expires_at)
        fold.findings.fault("renewals", line, f"a period {says}", _from_to(*lasts))
    if line.recorded_at < lot.begins:
        fold.findings.fault("renewals", line, "grants a period", f"nothing before {lot.begins}")
    if event.amount != definition.credits:
        fold.findings.fault(
            "renewals", line, f"grants {line.amount}", f"the allotment, {credits_text(definition.credits)}"
        )
    credit.lots, credit.present_lot_id = {lot.lot_id: lot}, lot.lot_id


def _from_to(begins_at: datetime, ends_at: datetime | None) -> str:
    return f"from {text_of_instant(begins_at)} to {text_of_instant(ends_at)}"
