"""given(...).when(...).then(...) for one pool, in memory.

Steps are commands (`issue`, `consume`, ...; those on what grants become are in grant_steps.py, those on allocation
rules, whose pool is RULES, in rule_steps.py), moves of the clock
(`at`) or ready-made events. Grants are named by their stream's id, debits by their transaction's; lots of execution
credits are lot1, lot2, ... in the order they open. Grants that the ledger makes by itself are called after what made
them: part 0 of schedule S is S0, what rolls over from it is S0+, and the first recharge of configuration R is R1.
Amounts are written in whole credits or as text. A command first settles what is due, as the writer does; one that is
refused must leave the pool exactly as it was, and every `when` checks that it did.
"""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any, TypeAlias

from ledger.domain import credit_grant, execution_credit
from ledger.domain.allocation_rule import RuleBook
from ledger.domain.burn_down import RecordedDebit, RefundableDraw
from ledger.domain.credits import Credits, credits_of, credits_text
from ledger.domain.decision import Decision
from ledger.domain.due import settle_due
from ledger.domain.events import (
    DEFINITIONS,
    Debited,
    Event,
    GrantChange,
    Granted,
    LedgerEvent,
    Movement,
    Refunded,
)
from ledger.domain.execution_credit import ExecutionCredit
from ledger.domain.grant_details import Cost, GrantDetails
from ledger.domain.instants import Instant
from ledger.domain.lots import Lot
from ledger.domain.pool import Pool
from ledger.domain.refusals import Refusal
from ledger.domain.values import (
    RULES,
    SYSTEM,
    Cause,
    CreditType,
    DocumentId,
    DocumentReference,
    GrantType,
    Kind,
    LotId,
    PaymentMethod,
    PoolKey,
    RollupType,
    StreamId,
    Terms,
    Transaction,
    TransactionId,
)

GRANTS = PoolKey(Kind.CREDIT_GRANT, "acme", "tokens", None)
EXECUTIONS = PoolKey(Kind.EXECUTION_CREDIT, "acme", CreditType.DAST.value, None)
MICROSECOND = timedelta(microseconds=1)


def day(text: str) -> Instant:
    """An instant in UTC: `2026-09-01` or `2026-09-01T12:00:00.000001`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


START = day("2026-01-31")
"""Where the clock stands when a scenario begins."""


class Book:
    """One pool, its log and its debits, with a clock that stands where it was last put."""

    def __init__(self, key: PoolKey) -> None:
        self.pool = RuleBook() if key == RULES else Pool(key)
        self.now = START
        self.log: list[LedgerEvent] = []
        self.debits: dict[str, RecordedDebit] = {}
        self.names: dict[str, str] = {}
        """What a scenario calls the grants that the ledger made by itself, by their ids."""
        self._transactions = 0
        self._ids = 0

    def __repr__(self) -> str:
        return "\n".join(["Book of", *(f"  {event!r}" for event in self.log)])

    def decide(self, name: str | None, act: "Act", texts: DocumentReference | None = None) -> list[LedgerEvent]:
        """One command: what is due, then the act; a refusal comes out as it is, and nothing has changed."""
        own, due = self.transaction(name)._replace(document=texts), self.transaction(None)
        ids = count(self._ids + 1)
        decision = Decision(self.pool, due, lambda: f"lot{next(ids)}")
        settle_due(decision)
        decision.begin(own)
        act(self, decision)
        self._ids = next(ids) - 1
        for event in decision.events:
            self.apply(event)
        return decision.events

    def apply(self, event: LedgerEvent) -> None:
        self.pool.evolve(event)
        self.log.append(event)
        if isinstance(event, Granted) and event.grant is not None:
            self._name(event.originator_id, event.grant)
        if isinstance(event, Debited):
            self._remember(event)
        elif isinstance(event, Refunded):
            assert event.debit_id is not None
            self.debits[event.debit_id] = self.debits[event.debit_id].after([(event.lot, event.amount)])

    def transaction(self, name: str | None) -> Transaction:
        self._transactions += 1
        return Transaction(TransactionId(name or f"t{self._transactions}"), self.now, SYSTEM, None, None, None)

    def credit(self, name: str) -> ExecutionCredit:
        found = self.pool.aggregates[StreamId(name)]
        assert isinstance(found, ExecutionCredit)
        return found

    def lot(self, name: str) -> Lot:
        """A grant's lot, by what the scenario calls it."""
        return self.pool.lot(LotId({called: grant_id for grant_id, called in self.names.items()}.get(name, name)))

    def _name(self, grant_id: str, grant: GrantDetails) -> None:
        if grant.scheduled is not None:
            self.names[grant_id] = f"{grant.scheduled.schedule_id}{grant.scheduled.part}"
        elif grant.rolled_over_from is not None:
            self.names[grant_id] = f"{self.names[grant.rolled_over_from.grant_id]}+"
        elif grant.recharge is not None:
            self.names[grant_id] = f"{grant.recharge.configuration_id}{grant.recharge.number}"

    def _remember(self, event: Debited) -> None:
        assert event.debit_id is not None
        assert event.use_at is not None
        draw = RefundableDraw(event.lot, event.originator_id, -event.amount, 0)
        known = self.debits.get(event.debit_id)
        draws = (draw,) if known is None else (*known.draws, draw)
        self.debits[event.debit_id] = RecordedDebit(
            event.debit_id, event.pool, draws, event.use_at, event.account_groups
        )


Act: TypeAlias = Callable[[Book, Decision], object]


@dataclass(frozen=True)
class Step:
    """One command of a scenario; `name` is its transaction's id where a later step refers to it."""

    act: Act
    name: str | None = None
    texts: DocumentReference | None = None


@dataclass(frozen=True)
class Clock:
    instant: Instant


def at(instant: Instant) -> Clock:
    """From here on it is this instant."""
    return Clock(instant)


def issue(
    name: str,
    amount: int | str,
    *,
    grant_type: GrantType = GrantType.PAID,
    begins: Instant | None = None,
    ends: Instant | None = None,
    created: Instant | None = None,
    priority: int | str = 50,
    unpaid: bool = False,
    cost: int | str = 0,
    method: PaymentMethod = PaymentMethod.NONE,
    awaits: bool = True,
) -> Step:
    """Issue a grant whose id is its name; its texts are told by `texts_of` of that name.

    Its payment follows from cost and method as for any grant; `unpaid` has it wait for one all the same.
    """

    def act(book: Book, decision: Decision) -> None:
        payment, awaited = credit_grant.payment_of(method, Decimal(cost), awaiting_confirmation=awaits)
        terms = Terms(
            effective_at=begins or book.now,
            expires_at=ends,
            created_at=created or book.now,
            priority=Decimal(priority),
            awaiting_payment=unpaid or awaited,
        )
        details = GrantDetails(
            readable_id=f"cg-{name}", cost=Cost(amount=Decimal(cost), currency="USD"), payment=payment
        )
        credit_grant.issue(decision, StreamId(name), grant_type, units(amount), terms, details)

    return Step(act, texts=texts_of(name))


def texts_of(name: str) -> DocumentReference:
    """Where the texts of something are; a stand-in, as there are no documents here."""
    return DocumentReference(DocumentId(f"texts of {name}"), "0" * 64)


def consume(
    amount: int | str, name: str = "use", *, use_at: Instant | None = None, groups: tuple[str, ...] | None = None
) -> Step:
    return Step(lambda book, decision: decision.debit(units(amount), use_at or book.now, groups), name)


def refund(debit: str = "use", amount: int | str | None = None) -> Step:
    """Give back a debit by its name; without an amount, all that is left of it."""
    wanted = None if amount is None else units(amount)
    return Step(lambda book, decision: decision.refund(book.debits[debit], wanted))


def void(grant: str) -> Step:
    return Step(lambda book, decision: credit_grant.void(decision, book.lot(grant)))


def settle() -> Step:
    """Ask for what is due and nothing else."""
    return Step(lambda book, decision: None)


def open_credit(name: str, rollup_type: RollupType, credits: int | str, *, anchor: Instant | None = None) -> Step:
    return Step(
        lambda book, decision: execution_credit.open_credit(
            decision, StreamId(name), CreditType.DAST, rollup_type, units(credits), anchor or book.now
        ),
        name,
    )


def resize(credit: str, credits: int | str) -> Step:
    """Another allotment, at once."""
    return Step(lambda book, decision: execution_credit.update(decision, book.credit(credit), units(credits), None))


def turn(credit: str, rollup_type: RollupType, credits: int | str | None = None) -> Step:
    """Another rollup type from the next renewal on, and with it, at once, another allotment where one is told."""
    wanted = None if credits is None else units(credits)
    return Step(lambda book, decision: execution_credit.update(decision, book.credit(credit), wanted, rollup_type))


def delete(credit: str) -> Step:
    return Step(lambda book, decision: execution_credit.delete(decision, book.credit(credit)))


def units(amount: int | str) -> Credits:
    return credits_of(amount)


@dataclass(frozen=True)
class Fact:
    """What is expected of one event: its type, its lot, its signed amount as text, and whatever else is named."""

    event_type: type[Event]
    lot: str | None
    amount: str | None
    others: dict[str, Any] = field(default_factory=dict)

    def as_in(self, event: LedgerEvent, names: Mapping[str, str]) -> "Fact":
        """What the event says of the same things."""
        others = {name: _told(getattr(event, name), names) for name in self.others}
        if type(event) in DEFINITIONS:
            return Fact(type(event), None, None, others)
        assert isinstance(event, Movement | GrantChange)
        amount = credits_text(event.amount) if isinstance(event, Movement) else None
        return Fact(type(event), names.get(event.lot, event.lot), amount, others)


def _told(value: Any, names: Mapping[str, str]) -> Any:
    return names.get(value, value) if isinstance(value, str) else value


def fact(event_type: type[Event], lot: str | None = None, amount: int | str | None = None, **others: Any) -> Fact:
    return Fact(event_type, lot, None if amount is None else str(amount), others)


def bounds(events: list[LedgerEvent]) -> list[tuple[Instant, Instant | None]]:
    """Beginning and end of each period of an execution credit that these events began."""
    opened = [event for event in events if isinstance(event, Granted) and event.cause is not Cause.RESIZED]
    return [(event.terms.effective_at, event.terms.expires_at) for event in opened]


def fields_of(event: LedgerEvent) -> dict[str, Any]:
    """An event's values by field."""
    return {name: getattr(event, name) for name in type(event).model_fields}


def changed(event: LedgerEvent, **changes: Any) -> LedgerEvent:
    """The same event telling other things, without validation."""
    return type(event).of(**(fields_of(event) | changes))


def state_of(pool: Pool) -> dict[str, Any]:
    """Everything a pool holds, copied (events are frozen), so that it can be compared with a later state of it."""
    held = {
        stream_id: replace(aggregate, lots={lot_id: copy(lot) for lot_id, lot in aggregate.lots.items()})
        for stream_id, aggregate in pool.aggregates.items()
    }
    return {
        "key": pool.key,
        "balance": pool.balance,
        "next_due_at": pool.next_due_at,
        "lots in order": [copy(lot) for lot in pool.lots],
        "lots known": {lot_id for aggregate in held.values() for lot_id in aggregate.lots if pool.holds(lot_id)},
        "aggregates": held,
        "schedules": {stream_id: copy(schedule) for stream_id, schedule in pool.schedules.items()},
        "recharge": copy(pool.recharge),
        "rules": _rules_of(pool) if isinstance(pool, RuleBook) else None,
    }


def _rules_of(book: RuleBook) -> tuple[object, ...]:
    return {rule: copy(state) for rule, state in book.rules.items()}, dict(book.names), set(book.reached)


class Scenario:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.events: list[LedgerEvent] = []
        self.refusal: Refusal | None = None

    def when(self, *steps: Step | Clock) -> "Scenario":
        """Take these steps; the events of all of them are what `then` looks at. The first refusal ends it."""
        self.events, self.refusal = [], None
        for step in steps:
            before = state_of(self.book.pool)
            try:
                self.events += _take(self.book, step)
            except Refusal as refusal:
                assert state_of(self.book.pool) == before, "a refusal left something behind"
                self.refusal = refusal
                break
        return self

    def then(self, *facts: Fact) -> "Scenario":
        """Exactly these events came of it, in this order."""
        assert self.refusal is None, self.refusal
        expected = list(facts)
        names = self.book.names
        extra = [fact(type(event)).as_in(event, names) for event in self.events[len(expected) :]]
        said = [one.as_in(event, names) for one, event in zip(expected, self.events, strict=False)]
        assert said + extra == expected
        return self

    def then_refused(self, refusal: type[Refusal], **facts: Any) -> "Scenario":
        """It was refused with these facts and no others."""
        assert self.refusal is not None, f"accepted: {self.events}"
        assert (type(self.refusal), self.refusal.facts) == (refusal, facts)
        return self

    def holding(self, **balances: int | str) -> "Scenario":
        """These lots are open with these balances, in burn-down order, and the pool holds their sum."""
        pool, names = self.book.pool, self.book.names
        assert [(names.get(lot.lot_id, lot.lot_id), credits_text(lot.balance)) for lot in pool.lots] == [
            (name, str(amount)) for name, amount in balances.items()
        ]
        assert pool.balance == sum(lot.balance for lot in pool.lots)
        return self


def given(*steps: Step | Clock | LedgerEvent, pool: PoolKey = GRANTS) -> Scenario:
    """A pool that has this behind it."""
    book = Book(pool)
    for step in steps:
        if isinstance(step, Step | Clock):
            _take(book, step)
        else:
            book.apply(step)
    return Scenario(book)


def _take(book: Book, step: Step | Clock) -> list[LedgerEvent]:
    if isinstance(step, Clock):
        book.now = step.instant
        return []
    return book.decide(step.name, step.act, step.texts)
