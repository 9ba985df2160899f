"""Random moves on one pool: what a customer, an operator or the calendar may do next, sensible or not."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from hypothesis import strategies as st

from ledger.domain.credits import AMOUNT_MAX, Credits, credits_text
from ledger.domain.events import LedgerEvent
from ledger.domain.refusals import Refusal
from ledger.domain.values import GrantType, PoolKey, RollupType
from tests.domain import scenario
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
        return book.decide(step.name, step.act)
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
    unpaid: bool

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
                unpaid=self.unpaid,
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
class Delete:
    which: int

    def make(self, book: Book) -> Outcome:
        name = _one_of(book, self.which)
        return [] if name is None else take(book, scenario.delete(name))


Move: TypeAlias = Wait | Issue | Consume | GiveBack | Void | Settle | Open | Resize | Delete

allotments = st.integers(3, 12) | st.sampled_from([10**9 + 1, AMOUNT_MAX])
uses = st.integers(1, 9) | st.sampled_from([10**9, AMOUNT_MAX])
which = st.integers(0, 7)

waits = st.builds(Wait, st.integers(0, 3), st.sampled_from([0, 0, 0, 1]))
long_waits = st.builds(Wait, st.sampled_from([0, 1, 9, 28, 31, 70]), st.integers(0, 1))
issues = st.builds(
    Issue,
    letter=st.sampled_from("abc"),
    amount=allotments,
    grant_type=st.sampled_from(GrantType),
    priority=st.sampled_from(["9", "10", "10.5"]),
    begins=st.integers(-2, 2),
    lasts=st.none() | st.integers(1, 4),
    unpaid=st.sampled_from([False, False, False, True]),
)
consumes = st.builds(Consume, uses, st.integers(0, 3))
gifts_back = st.builds(GiveBack, which, st.none() | st.integers(1, 6))
voids = st.builds(Void, which)
settles = st.builds(Settle)
opens = st.builds(Open, allotments, st.sampled_from(RollupType), st.integers(-1, 40))
resizes = st.builds(Resize, which, st.integers(1, 14))
deletes = st.builds(Delete, which)

MOVES: dict[PoolKey, st.SearchStrategy[Move]] = {
    GRANTS: st.one_of(
        *(issues, issues, issues, consumes, consumes, consumes, consumes, gifts_back, gifts_back),
        *(voids, waits, waits, settles),
    ),
    EXECUTIONS: st.one_of(
        *(opens, opens, consumes, consumes, consumes, consumes, gifts_back, gifts_back, gifts_back),
        *(resizes, deletes, long_waits, settles),
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
