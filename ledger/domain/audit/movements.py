"""Debits, refunds, voids and lapses, each held to what the books say it should be."""

from contextlib import suppress
from typing import TYPE_CHECKING

from ledger.domain.audit import ends
from ledger.domain.audit.books import AuditedLot, AuditedPool, Debit, Draw, OwedEnd, Stream
from ledger.domain.audit.lines import (
    DOCUMENT_ALONE,
    NO_DATA,
    Line,
    credits_of_text,
    is_instant,
    unescaped,
)
from ledger.domain.credits import Credits, credits_text
from ledger.domain.events import Debited, Event, Expired, Refunded, Voided
from ledger.domain.values import Cause

if TYPE_CHECKING:
    from ledger.domain.audit.fold import Fold

CAUSES: dict[type[Event], frozenset[str]] = {
    Debited: frozenset({Cause.CONSUMED}),
    Refunded: frozenset({Cause.REFUNDED}),
    Voided: frozenset({Cause.VOIDED, Cause.RESIZED, Cause.DELETED, Cause.REFUND}),
    Expired: frozenset({Cause.LAPSED, Cause.ROLLED_OVER, Cause.REFUND}),
}
USES = frozenset({Debited, Refunded})
WHEN_DUE = frozenset({Cause.LAPSED, Cause.ROLLED_OVER, Cause.REFUND})
"""The causes of events that come because something is due, or owed."""


def follow(fold: "Fold", line: Line, stream: Stream, event_type: type[Event]) -> None:
    """Hold a movement of a lot that there is to every law; then move the lot."""
    _check_data(fold, line, event_type)
    lot = fold.lots.get(line.lot)
    if lot is None:
        pass_over(fold, line)
        return
    check_facts(fold, line, lot)
    pool, amount = lot.books, credits_of_text(line.amount)
    check_sign(fold, line, event_type, amount, CAUSES[event_type])
    check_terms(fold, line, str(lot.terms_version))
    if line.cause not in WHEN_DUE and line.recorded_at >= pool.next_due:
        check_settled(fold, line, pool)
    if pool.owed is not None or pool.rolling is not None:
        check_nothing_owed(fold, pool, line)
    if event_type is Debited:
        _check_debit(fold, line, lot, -amount)
    elif event_type is Refunded:
        _check_refund(fold, line, lot, amount)
    else:
        ends.check(fold, line, lot, -amount)
    granted, used, balance = lot.granted, lot.used, lot.balance + amount
    if event_type in USES:
        used -= amount
    move(fold, line, lot, event_type, amount, (granted, used, balance))


def move(
    fold: "Fold", line: Line, lot: AuditedLot, event_type: type[Event], amount: Credits, state: tuple[int, int, int]
) -> None:
    """Law 1: hold the line to the state that its movement leaves behind, and go on from what it says."""
    said = credits_of_text(line.lot_granted), credits_of_text(line.lot_used), credits_of_text(line.lot_balance)
    if said != state or min(state) < 0:
        fold.findings.fault("lot-law", line, _state_text(*said), _state_text(*state))
    pool = lot.books
    hold(lot, *said)
    lot.last_position = line.position
    follow_pool(fold, line, pool, amount)
    if event_type is Debited:
        pool.debited -= amount
    elif event_type is Refunded:
        pool.refunded += amount
    elif event_type is Voided:
        pool.voided -= amount
        lot.voided_amount -= amount
    elif event_type is Expired:
        pool.expired -= amount
        lot.expired_amount -= amount
    else:
        pool.granted += amount


def follow_pool(fold: "Fold", line: Line, pool: AuditedPool, amount: Credits) -> None:
    """Law 1, for the pool."""
    balance, said = pool.balance + amount, credits_of_text(line.pool_balance)
    if said != balance:
        fold.findings.fault(
            "pool-law", line, f"pool balance {credits_text(said)}", f"pool balance {credits_text(balance)}"
        )
    pool.balance = said
    if line.amount != r"\N":
        pool.position = line.position


def adopt(fold: "Fold", line: Line) -> None:
    """Go on from what a line says, of which nothing else could be made."""
    lot = fold.lots.get(line.lot)
    with suppress(ValueError):
        if lot is None:
            fold.passed_over.add(line.lot)
            pool = fold.pool_of(line)
        else:
            pool = lot.books
            hold(
                lot,
                credits_of_text(line.lot_granted),
                credits_of_text(line.lot_used),
                credits_of_text(line.lot_balance),
            )
        pool.balance = credits_of_text(line.pool_balance)


def hold(lot: AuditedLot, granted: Credits, used: Credits, balance: Credits) -> None:
    """A lot is in this state from now on, and open as long as it has a balance."""
    was_open = lot.balance > 0
    lot.hold(granted, used, balance)
    if was_open != (balance > 0):
        (lot.books.leave if was_open else lot.books.enter)(lot)


def pass_over(fold: "Fold", line: Line) -> None:
    """A line about a lot that nobody has heard of: it is told once, and the pool is what the line says."""
    if line.lot not in fold.passed_over:
        fold.passed_over.add(line.lot)
        fold.findings.fault("lot-law", line, f"is about lot {line.lot}", "a lot that was granted before")
    fold.pool_of(line).balance = credits_of_text(line.pool_balance)


def check_facts(fold: "Fold", line: Line, lot: AuditedLot) -> None:
    """A lot stays in its stream and its pool."""
    facts = (line.stream_id, *line.pool, line.grant_type)
    if facts != lot.facts:
        fold.findings.fault("pool-law", line, _facts_text(facts), _facts_text(lot.facts))


def check_sign(fold: "Fold", line: Line, event_type: type[Event], amount: Credits, causes: frozenset[str]) -> None:
    if amount * event_type.SIGN <= 0:
        fold.findings.fault("signs", line, f"moves by {credits_text(amount)}", f"the sign {event_type.SIGN:+d}")
    if line.cause not in causes:
        fold.findings.fault("signs", line, f"cause {line.cause}", f"one of {', '.join(sorted(causes))}")


def check_terms(fold: "Fold", line: Line, version: str) -> None:
    if line.terms_version != version:
        fold.findings.fault("terms", line, f"terms of version {line.terms_version}", f"terms of version {version}")


def check_settled(fold: "Fold", line: Line, pool: AuditedPool) -> None:
    """Law 5: what is due by the time of recording came before. Each thing that did not is told once."""
    for at, what in pool.due(line.recorded_at):
        pool.overdue.add(what)
        fold.findings.fault("due-first", line, f"comes before {what}", f"what was due at {at} first")


def check_nothing_owed(fold: "Fold", pool: AuditedPool, line: Line | None = None) -> None:
    """What a refund or a rollover left open is done by the pool's next event: this one. None: there is none."""
    owed, rolling = pool.owed, pool.rolling
    if owed is not None and not (line is not None and ends.settles(line, owed)):
        pool.owed = None
        fold.findings.fault(
            "refunds", line or owed.line, _owed_text(owed),
            "their end right after the refund",
        )  # fmt: skip
    if rolling is not None and not (line is not None and ends.receives(line, rolling)):
        pool.rolling = None
        fold.findings.fault(
            "rollovers", line or rolling.line, "is not where it arrives",
            f"grant {rolling.target} of {credits_text(rolling.amount)} in the same transaction",
        )  # fmt: skip


def check_date(fold: "Fold", line: Line, effective_at: str) -> None:
    if line.effective_at != effective_at:
        fold.findings.fault("dates", line, f"effective at {line.effective_at}", f"effective at {effective_at}")


def _check_data(fold: "Fold", line: Line, event_type: type[Event]) -> None:
    """What there is besides the columns is a document, or it is read as the event that it belongs to."""
    if line.data != NO_DATA and DOCUMENT_ALONE(line.data) is None:
        fold.read_event(line)
    if event_type not in USES and (line.use_at, line.debit_id, line.account_groups) != (r"\N",) * 3:
        fold.findings.fault("topics", line, f"{line.type} of a use", "no use, debit or account groups")


def _check_debit(fold: "Fold", line: Line, lot: AuditedLot, part: Credits) -> None:
    """Laws 2 and 5. A debit goes on with another lot where it has emptied one."""
    findings, pool = fold.findings, lot.books
    if not lot.usable(line.recorded_at):
        findings.fault("usable", line, f"draws from lot {lot.lot_id}", "a lot that is usable")
    elif (first := pool.first_usable(line.recorded_at)) is not lot:
        should = "no draw" if first is None else f"lot {first.lot_id}, which comes first"
        findings.fault("burn-down", line, f"draws from lot {lot.lot_id}", should)
    use = line.debit_id, line.use_at, line.account_groups
    if line.debit_id == pool.last_debit and use != pool.emptied:
        says = "draws on, with another use or from where something is left"
        findings.fault("burn-down", line, says, "one use, from lot to lot as each is emptied")
    if line.debit_id != line.transaction_id:
        findings.fault("burn-down", line, f"is of debit {line.debit_id}", f"debit {line.transaction_id}")
    if not line.use_at <= line.recorded_at or not is_instant(line.use_at):
        findings.fault("dates", line, f"used at {line.use_at}", f"used by {line.recorded_at}")
    check_date(fold, line, max(line.use_at, lot.begins))
    if line.debit_id in fold.refunded:
        _remember(fold, line, lot, part)
    pool.last_debit = line.debit_id
    if part == lot.balance:
        pool.emptied = use


def _remember(fold: "Fold", line: Line, lot: AuditedLot, part: Credits) -> None:
    known = fold.debits.setdefault(line.debit_id, Debit(lot.books, line.use_at, line.account_groups, []))
    known.draws.append(Draw(lot, part))


def _check_refund(fold: "Fold", line: Line, lot: AuditedLot, part: Credits) -> None:
    """Law 4: to the draw that was the last of those of which something is left, and no more than that."""
    findings = fold.findings
    debit = fold.debits.get(line.debit_id)
    if debit is None or debit.pool is not lot.books:
        findings.fault("refunds", line, f"refunds debit {line.debit_id}", "a debit of the same pool")
    else:
        if (debit.use_at, debit.account_groups) != (line.use_at, line.account_groups):
            says = f"used at {line.use_at}, {unescaped(line.account_groups)}"
            findings.fault("refunds", line, says, f"used at {debit.use_at}, {unescaped(debit.account_groups)}")
        last = debit.last_open()
        if last is None or last.lot is not lot:
            should = "nothing: all of it came back" if last is None else f"lot {last.lot.lot_id}, drawn last"
            findings.fault("refunds", line, f"refunds to lot {lot.lot_id}", should)
        draw = next((draw for draw in reversed(debit.draws) if draw.lot is lot), None)
        if draw is not None:
            draw.refunded += part
            if draw.refunded > draw.debited:
                says = f"{credits_text(draw.refunded)} came back to lot {lot.lot_id}"
                findings.fault("refunds", line, says, f"at most {credits_text(draw.debited)}, as was drawn")
    check_date(fold, line, max(line.recorded_at, lot.begins))
    if lot.ended(line.recorded_at):
        lot.books.owed = OwedEnd(lot, part, line)


def _state_text(granted: Credits, used: Credits, balance: Credits) -> str:
    return f"granted {credits_text(granted)}, used {credits_text(used)}, balance {credits_text(balance)}"


def _owed_text(owed: OwedEnd) -> str:
    return f"leaves {credits_text(owed.amount)} on lot {owed.lot.lot_id}, which has ended"


def _facts_text(facts: tuple[str, ...]) -> str:
    stream, *others = facts
    return f"stream {stream}, " + ", ".join("-" if text == r"\N" else unescaped(text) for text in others)
