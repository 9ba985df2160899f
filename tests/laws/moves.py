"""Random moves on one pool: what a customer, an operator or the calendar may do next, sensible or not."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from hypothesis import strategies as st

from ledger.domain.credits import AMOUNT_MAX, Credits, credits_text
from ledger.domain.events import LedgerEvent
from ledger.domain.instants import Instant
from ledger.domain.refusals import Refusal
from ledger.domain.values import (
    BillingPeriod,
    Cadence,
    ExpirationPeriod,
    GrantType,
    PaymentCollection,
    PaymentMethod,
    PoolKey,
    RollupType,
)
from tests.domain import grant_steps, scenario
from tests.domain.scenario import EXECUTIONS, GRANTS, MICROSECOND, Book, Step, state_of

Outcome: TypeAlias = list[LedgerEvent] | Refusal


def take(book: Book, step: Step) -> Outcome:
    """Take one step; one that is refused must leave the pool exactly as it was."""
    before = state_of(book.pool)
    outcome = _decided(book, step)
    if isinstance(outcome, Refusal):
        assert state_of(book.pool) == before, f"{outcome} left something behind"
    return outcome


def _decided(book: Book, step: Step) -> Outcome:
    try:
        return book.decide(step.name, step.act, step.texts)
    except Refusal as refusal:
        return refusal


@dataclass(frozen=True)
class Wait:
    """Time goes by, down to the microsecond around the ends of lots."""

    days: int
    microseconds: int

    def make(self, book: Book) -> Outcome:
        book.now += timedelta(days=self.days) + self.microseconds * MICROSECOND
        return []


@dataclass(frozen=True)
class Issue:
    letter: str
    amount: Credits
    grant_type: GrantType
    priority: str
    begins: int
    lasts: int | None
    method: PaymentMethod
    cost: int

    def make(self, book: Book) -> Outcome:
        begins = book.now + timedelta(days=self.begins)
        ends = None if self.lasts is None else max(begins, book.now) + timedelta(days=self.lasts)
        name = f"{self.letter}{len(book.log)}"
        return take(
            book,
            scenario.issue(
                name,
                credits_text(self.amount),
                grant_type=self.grant_type,
                begins=begins,
                ends=ends,
                priority=self.priority,
                method=self.method,
                cost=self.cost,
            ),
        )


@dataclass(frozen=True)
class Consume:
    amount: Credits
    back: int

    def make(self, book: Book) -> Outcome:
        use_at = book.now - timedelta(days=self.back)
        return take(book, scenario.consume(credits_text(self.amount), f"d{len(book.log)}", use_at=use_at))


@dataclass(frozen=True)
class GiveBack:
    """Refund one of the debits so far."""

    which: int
    amount: Credits | None

    def make(self, book: Book) -> Outcome:
        if not book.debits:
            return []
        debit = list(book.debits)[self.which % len(book.debits)]
        return take(book, scenario.refund(debit, None if self.amount is None else credits_text(self.amount)))


@dataclass(frozen=True)
class Void:
    which: int

    def make(self, book: Book) -> Outcome:
        grants = list(book.pool.aggregates)
        return take(book, scenario.void(grants[self.which % len(grants)])) if grants else []


@dataclass(frozen=True)
class Settle:
    def make(self, book: Book) -> Outcome:
        return take(book, scenario.settle())


@dataclass(frozen=True)
class Open:
    credits: Credits
    rollup_type: RollupType
    anchored: int

    def make(self, book: Book) -> Outcome:
        anchor = book.now - timedelta(days=self.anchored)
        name = f"c{len(book.log)}"
        return take(book, scenario.open_credit(name, self.rollup_type, credits_text(self.credits), anchor=anchor))


@dataclass(frozen=True)
class Resize:
    which: int
    credits: Credits

    def make(self, book: Book) -> Outcome:
        name = _one_of(book, self.which)
        return [] if name is None else take(book, scenario.resize(name, credits_text(self.credits)))


@dataclass(frozen=True)
class Turn:
    """Ask for another rollup type, and perhaps for another allotment with it."""

    which: int
    rollup_type: RollupType
    credits: Credits | None

    def make(self, book: Book) -> Outcome:
        name = _one_of(book, self.which)
        size = None if self.credits is None else credits_text(self.credits)
        return [] if name is None else take(book, scenario.turn(name, self.rollup_type, size))


@dataclass(frozen=True)
class Delete:
    which: int

    def make(self, book: Book) -> Outcome:
        name = _one_of(book, self.which)
        return [] if name is None else take(book, scenario.delete(name))


@dataclass(frozen=True)
class Update:
    """Give a grant other terms; days count from now, `ends` 0 takes the end away."""

    which: int
    begins: int | None
    ends: int | None
    priority: str | None

    def make(self, book: Book) -> Outcome:
        grant = _one_of(book, self.which)
        if grant is None:
            return []
        begins, ends = self.wanted(book.now)
        endless = self.ends == 0
        return take(book, grant_steps.update(grant, begins=begins, ends=ends, endless=endless, priority=self.priority))

    def wanted(self, now: Instant) -> tuple[Instant | None, Instant | None]:
        """The beginning and the end that are asked for."""
        begins = None if self.begins is None else now + timedelta(days=self.begins)
        return begins, now + timedelta(days=self.ends) if self.ends else None


@dataclass(frozen=True)
class Pay:
    """Record how far the payment of a grant has come; None: its invoice is marked as paid."""

    which: int
    collection: PaymentCollection | None

    def make(self, book: Book) -> Outcome:
        grant = _one_of(book, self.which)
        if grant is None:
            return []
        if self.collection is None:
            return take(book, grant_steps.mark_paid(grant))
        return take(book, grant_steps.pay(grant, self.collection))


@dataclass(frozen=True)
class Plan:
    """Create a schedule; days of the anchor count from now."""

    amount: Credits
    cadence: Cadence
    period: BillingPeriod
    anchored: int
    cost: str
    priority: str
    rolls_for: int | None
    rolls_at_most: Credits | None

    def make(self, book: Book) -> Outcome:
        return take(
            book,
            grant_steps.schedule(
                f"s{len(book.log)}-",
                credits_text(self.amount),
                cadence=self.cadence,
                period=self.period,
                anchor=book.now + timedelta(days=self.anchored),
                cost=self.cost,
                priority=self.priority,
                rolls_for=self.rolls_for,
                rolls_at_most=None if self.rolls_at_most is None else credits_text(self.rolls_at_most),
            ),
        )


@dataclass(frozen=True)
class EndPlan:
    """End one of the schedules there ever were."""

    which: int

    def make(self, book: Book) -> Outcome:
        made = list(dict.fromkeys(event.originator_id for event in book.log if "schedule" in event.TOPIC))
        return take(book, grant_steps.end_schedule(made[self.which % len(made)])) if made else []


@dataclass(frozen=True)
class SaveRecharge:
    threshold: Credits
    above: Credits
    price: str
    cap: Credits | None
    enabled: bool
    lasts: ExpirationPeriod | None
    method: PaymentMethod

    def make(self, book: Book) -> Outcome:
        return take(
            book,
            grant_steps.save_recharge(
                f"r{len(book.log)}-",
                below=credits_text(self.threshold),
                to=credits_text(self.threshold + self.above),
                price=self.price,
                cap=None if self.cap is None else credits_text(self.cap),
                enabled=self.enabled,
                lasts=self.lasts,
                method=self.method,
            ),
        )


@dataclass(frozen=True)
class Recharge:
    def make(self, book: Book) -> Outcome:
        return take(book, grant_steps.recharge())


Move: TypeAlias = (
    Wait | Issue | Consume | GiveBack | Void | Settle | Open | Resize | Turn | Delete
    | Update | Pay | Plan | EndPlan | SaveRecharge | Recharge
)  # fmt: skip

allotments = st.integers(3, 12) | st.sampled_from([10**9 + 1, AMOUNT_MAX])
uses = st.integers(1, 9) | st.sampled_from([10**9, AMOUNT_MAX])
which = st.integers(0, 7)

waits = st.builds(Wait, st.sampled_from([0, 1, 2, 3, 3, 30, 70]), st.sampled_from([0, 0, 0, 1]))
long_waits = st.builds(Wait, st.sampled_from([0, 1, 9, 28, 31, 70, 400, 1000]), st.integers(0, 1))
issues = st.builds(
    Issue,
    letter=st.sampled_from("abc"),
    amount=allotments,
    grant_type=st.sampled_from(GrantType),
    priority=st.sampled_from(["9", "10", "10.5"]),
    begins=st.integers(-2, 2),
    lasts=st.none() | st.integers(1, 4),
    method=st.sampled_from([PaymentMethod.NONE, PaymentMethod.NONE, PaymentMethod.INVOICE, PaymentMethod.CHARGE]),
    cost=st.integers(0, 3),
)
consumes = st.builds(Consume, uses, st.integers(0, 3))
gifts_back = st.builds(GiveBack, which, st.none() | st.integers(1, 6))
voids = st.builds(Void, which)
settles = st.builds(Settle)
opens = st.builds(Open, allotments, st.sampled_from(RollupType), st.integers(-1, 40))
resizes = st.builds(Resize, which, st.integers(1, 14))
turns = st.builds(Turn, which, st.sampled_from(RollupType), st.none() | st.integers(1, 14))
deletes = st.builds(Delete, which)
updates = st.builds(
    Update,
    which,
    begins=st.none() | st.none() | st.integers(-2, 3),
    ends=st.none() | st.integers(-1, 5),
    priority=st.none() | st.sampled_from(["9", "10", "10.5"]),
)
payments = st.builds(Pay, which, st.none() | st.sampled_from(PaymentCollection))
plans = st.builds(
    Plan,
    amount=st.integers(11, 30) | st.sampled_from([10**9 + 1, AMOUNT_MAX]),
    cadence=st.sampled_from(Cadence),
    period=st.sampled_from(BillingPeriod),
    anchored=st.integers(-70, 3),
    cost=st.sampled_from(["0", "0.000000005", "10"]),
    priority=st.sampled_from(["9", "10"]),
    rolls_for=st.none() | st.integers(1, 3),
    rolls_at_most=st.none() | st.integers(1, 9),
)
ends_of_plans = st.builds(EndPlan, which)
savings = st.builds(
    SaveRecharge,
    threshold=st.integers(1, 10),
    above=st.integers(0, 10),
    price=st.sampled_from(["0", "0.5", "100000000"]),
    cap=st.none() | st.integers(0, 10**9),
    enabled=st.sampled_from([True, True, True, False]),
    lasts=st.none() | st.sampled_from(ExpirationPeriod),
    method=st.sampled_from(PaymentMethod),
)
recharges = st.builds(Recharge)

MOVES: dict[PoolKey, st.SearchStrategy[Move]] = {
    GRANTS: st.one_of(
        *(issues, issues, issues, consumes, consumes, consumes, consumes, gifts_back, gifts_back),
        *(voids, waits, waits, settles, updates, updates, payments, plans, ends_of_plans, savings, recharges),
    ),
    EXECUTIONS: st.one_of(
        *(opens, opens, consumes, consumes, consumes, consumes, gifts_back, gifts_back, gifts_back),
        *(resizes, turns, turns, deletes, long_waits, long_waits, settles),
    ),
}


@st.composite
def books(draw: st.DrawFn) -> Book:
    """A pool of either kind after a random history."""
    key = draw(st.sampled_from([GRANTS, EXECUTIONS]))
    book = Book(key)
    for move in draw(st.lists(MOVES[key], min_size=25, max_size=60)):
        move.make(book)
    return book


def _one_of(book: Book, which: int) -> str | None:
    known = list(book.pool.aggregates)
    return known[which % len(known)] if known else None
