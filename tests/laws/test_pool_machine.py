"""A pool driven move by move, each answer foretold by the plain second reading of the laws."""

from decimal import Decimal

from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ledger.domain.events import Expired, Granted, GrantScheduleDefined
from ledger.domain.execution_credit import ExecutionCredit
from ledger.domain.pool import Pool
from ledger.domain.refusals import (
    CannotUpdateExpireAtForExpiredCreditGrant,
    CreditGrantAlreadyVoided,
    CreditGrantCannotBeVoided,
    ExpireAtMustBeLaterThanEffectiveAt,
    GrantScheduleNotFound,
    InsufficientCredits,
    InvalidArgument,
    RefundExceedsDebit,
    Refusal,
)
from ledger.domain.values import BillingPeriod, Cadence, Cause, PaymentCollection, PaymentMethod, PoolKey
from tests.domain.scenario import GRANTS, Book, state_of
from tests.laws import moves
from tests.laws.moves import (
    Consume,
    EndPlan,
    GiveBack,
    Issue,
    Outcome,
    Pay,
    Plan,
    Recharge,
    SaveRecharge,
    Settle,
    Update,
    Void,
    Wait,
)
from tests.laws.naive_books import END_OF_TIME, NaiveBooks
from tests.laws.naive_schedules import units_of

OF_WHAT_IS_DUE = {Cause.LAPSED, Cause.ROLLED_OVER, Cause.SCHEDULED}


class PoolMachine(RuleBasedStateMachine):
    """What both kinds of pool have: uses, refunds, the calendar."""

    key: PoolKey

    def __init__(self) -> None:
        super().__init__()
        self.book = Book(self.key)
        self.naive = NaiveBooks()

    def read(self, outcome: Outcome) -> Refusal | None:
        """The naive books read what was written; no ended lot may hold anything after it."""
        if isinstance(outcome, Refusal):
            return outcome
        self.naive.read(outcome)
        if outcome:
            assert not [lot for lot in self.naive.lots.values() if lot.booked and lot.ended(self.book.now)]
            assert not [schedule for schedule in self.naive.live_schedules() if schedule.due(self.book.now)]
        instants = []
        for event in outcome:
            if isinstance(event, GrantScheduleDefined):
                break  # its own first part may have begun long ago
            if isinstance(event, Granted | Expired) and event.cause in OF_WHAT_IS_DUE:
                instants.append(event.effective_at)
        assert instants == sorted(instants)
        return None

    @rule(move=moves.consumes)
    def consume(self, move: Consume) -> None:
        available = self.naive.available(self.book.now)
        refusal = self.read(move.make(self.book))
        if available >= move.amount:
            assert refusal is None
        else:
            assert isinstance(refusal, InsufficientCredits)
            assert refusal.facts == {
                "available": available,
                "requested": move.amount,
                "shortfall": move.amount - available,
            }

    @precondition(lambda self: self.book.debits)
    @rule(move=moves.gifts_back)
    def refund(self, move: GiveBack) -> None:
        debits = list(self.naive.draws)
        refundable = self.naive.refundable(debits[move.which % len(debits)])
        wanted = refundable if move.amount is None else move.amount
        refusal = self.read(move.make(self.book))
        if 0 < wanted <= refundable:
            assert refusal is None
        else:
            assert isinstance(refusal, RefundExceedsDebit)
            assert refusal.facts == {"requested": wanted, "refundable": refundable}

    @rule(move=moves.settles)
    def settle(self, move: Settle) -> None:
        assert self.read(move.make(self.book)) is None
        assert move.make(self.book) == []  # each thing once

    @invariant()
    def open_lots_are_what_the_log_leaves_in_burn_down_order(self) -> None:
        pool = self.book.pool
        assert {lot.lot_id: lot.balance for lot in pool.lots} == {
            lot.name: lot.booked for lot in self.naive.lots.values() if lot.booked
        }
        assert [lot.burn_down_key for lot in pool.lots] == sorted(lot.burn_down_key for lot in pool.lots)
        assert pool.balance == self.naive.booked()

    @invariant()
    def nothing_falls_due_unseen(self) -> None:
        """The instant that a pool looks out for is never later than the first end of an open lot or a period."""
        pool = self.book.pool
        live = [held for held in pool.aggregates.values() if isinstance(held, ExecutionCredit) and held.live]
        ends = [lot.expires_at for lot in pool.lots] + [credit.present_lot.expires_at for credit in live]
        assert all(pool.next_due_at <= end for end in ends)
        assert min(pool.next_due_at, END_OF_TIME) <= self.naive.next_due()
        assert {stream: schedule.next_part for stream, schedule in pool.schedules.items()} == {
            stream: schedule.next_part for stream, schedule in self.naive.schedules.items() if schedule.live
        }

    @rule()
    def look_for_due(self) -> None:
        """After a look, the instant is the exact one, as long as nothing is overdue."""
        pool = self.book.pool
        pool.look_for_due()
        if self.key is GRANTS:
            assert min(pool.next_due_at, END_OF_TIME) == self.naive.next_due()

    def teardown(self) -> None:
        again = Pool(self.key)
        for event in self.book.log:
            again.evolve(event)
        self.book.pool.look_for_due()
        again.look_for_due()
        assert state_of(again) == state_of(self.book.pool)


class GrantsMachine(PoolMachine):
    key = GRANTS

    @rule(move=moves.waits)
    def wait(self, move: Wait) -> None:
        move.make(self.book)

    @rule(move=moves.issues)
    def issue(self, move: Issue) -> None:
        assert self.read(move.make(self.book)) is None

    @precondition(lambda self: self.naive.lots)
    @rule(move=moves.voids)
    def void(self, move: Void) -> None:
        lots = list(self.naive.lots.values())
        lot = lots[move.which % len(lots)]
        was_void, left = lot.void, 0 if lot.ended(self.book.now) else lot.booked
        refusal = self.read(move.make(self.book))
        if was_void:
            assert isinstance(refusal, CreditGrantAlreadyVoided)
        elif left == 0:
            assert isinstance(refusal, CreditGrantCannotBeVoided)
        else:
            assert refusal is None
            assert lot.void

    @precondition(lambda self: self.naive.lots)
    @rule(move=moves.updates)
    def update(self, move: Update) -> None:
        lots = list(self.naive.lots.values())
        lot, now = lots[move.which % len(lots)], self.book.now
        begins, ends = move.wanted(now)
        terms, of_the_end = lot.terms, move.ends is not None
        new_begin = begins or terms.effective_at
        new_end = ends if of_the_end else terms.expires_at
        changed = (new_begin, new_end) != (terms.effective_at, terms.expires_at)
        refusal = self.read(move.make(self.book))
        if lot.void:
            assert isinstance(refusal, CreditGrantAlreadyVoided)
        elif of_the_end and lot.ended(now):
            assert isinstance(refusal, CannotUpdateExpireAtForExpiredCreditGrant)
        elif begins is not None and terms.effective_at <= now:
            assert isinstance(refusal, InvalidArgument)
            assert refusal.field == "effectiveAt"
        elif changed and new_end is not None and new_end <= new_begin:
            assert isinstance(refusal, ExpireAtMustBeLaterThanEffectiveAt)
        elif changed and new_end is not None and new_end <= now:
            assert isinstance(refusal, InvalidArgument)
            assert refusal.field == "expireAt"
        else:
            assert refusal is None
            assert (lot.terms.effective_at, lot.terms.expires_at) == (new_begin, new_end)
            assert lot.terms.priority == (terms.priority if move.priority is None else Decimal(move.priority))
            assert lot.terms.created_at == terms.created_at

    @precondition(lambda self: self.naive.lots)
    @rule(move=moves.payments)
    def pay(self, move: Pay) -> None:
        lots = list(self.naive.lots.values())
        lot = lots[move.which % len(lots)]
        assert lot.grant is not None
        before = lot.grant.payment
        refusal = self.read(move.make(self.book))
        if lot.void:
            assert isinstance(refusal, CreditGrantAlreadyVoided)
        elif lot.grant.cost.amount == 0 or (move.collection is None and before.method is PaymentMethod.NONE):
            assert isinstance(refusal, InvalidArgument)
        else:
            assert refusal is None
            payment = lot.grant.payment
            paid = move.collection in (None, PaymentCollection.NOT_REQUIRED)
            assert payment.collection is (PaymentCollection.NOT_REQUIRED if paid else move.collection)
            assert payment.paid_at == (before.paid_at or (self.book.now if paid else None))
            assert not (paid and lot.terms.awaiting_payment)

    @rule(move=moves.plans)
    def plan(self, move: Plan) -> None:
        count = len(self.naive.schedules)
        too_small = move.amount < 12 and (move.cadence, move.period) == (Cadence.MONTHLY, BillingPeriod.YEAR)
        refusal = self.read(move.make(self.book))
        assert isinstance(refusal, InvalidArgument) if too_small else refusal is None
        assert len(self.naive.schedules) == count + (not too_small)

    @precondition(lambda self: self.naive.schedules)
    @rule(move=moves.ends_of_plans)
    def end_plan(self, move: EndPlan) -> None:
        schedules = list(self.naive.schedules.values())
        schedule = schedules[move.which % len(schedules)]
        was_live = schedule.live
        refusal = self.read(move.make(self.book))
        assert (refusal is None) == was_live
        assert refusal is None or isinstance(refusal, GrantScheduleNotFound)
        assert not schedule.live

    @rule(move=moves.savings)
    def save_recharge(self, move: SaveRecharge) -> None:
        assert self.read(move.make(self.book)) is None
        (recharge,) = self.naive.recharges.values()
        assert recharge.last.settings.threshold == move.threshold

    @rule(move=moves.recharges)
    def recharge(self, move: Recharge) -> None:
        now = self.book.now
        balance = self.naive.available(now) + self.naive.waiting_recharges(now)
        wanted = [known.wanted(balance, now) for known in self.naive.recharges.values()]
        outcome = move.make(self.book)
        assert self.read(outcome) is None
        made = [event for event in outcome if isinstance(event, Granted) and event.cause is Cause.RECHARGED]  # type: ignore[union-attr]
        told = [(event.amount, units_of(event.grant.cost.amount)) for event in made if event.grant is not None]
        assert told == [due for due in wanted if due is not None]
        again = move.make(self.book)
        assert self.read(again) is None
        assert again == []


TestGrants = GrantsMachine.TestCase
