"""A pool of execution credits driven move by move: opened, updated, turned to other cycles, slept through, deleted."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ledger.domain.refusals import (
    CreditsBelowUsed,
    ExecutionCreditDeleted,
    ExecutionCreditExists,
    InvalidArgument,
    RollupTypeStays,
)
from ledger.domain.values import RollupType
from tests.domain.scenario import EXECUTIONS
from tests.laws import moves
from tests.laws.moves import Delete, Open, Resize, Turn, Wait
from tests.laws.naive_books import NaiveLot
from tests.laws.test_pool_machine import PoolMachine


class ExecutionsMachine(PoolMachine):
    key = EXECUTIONS

    def lot_of(self, which: int) -> tuple[str, NaiveLot]:
        streams = list(self.naive.credits)
        stream = streams[which % len(streams)]
        return stream, self.naive.newest[stream]

    @rule(move=moves.long_waits)
    def wait(self, move: Wait) -> None:
        move.make(self.book)

    @rule(move=moves.opens)
    def open(self, move: Open) -> None:
        renewing = move.rollup_type is not RollupType.ADDON
        taken = [credit for credit in self.naive.credits.values() if credit.live and credit.renewing == renewing]
        refusal = self.read(move.make(self.book))
        if move.anchored < 0:
            assert isinstance(refusal, InvalidArgument)
        elif taken:
            assert isinstance(refusal, ExecutionCreditExists)
        else:
            assert refusal is None

    @precondition(lambda self: self.naive.credits)
    @rule(move=moves.resizes)
    def resize(self, move: Resize) -> None:
        stream, lot = self.lot_of(move.which)
        deleted = not self.naive.credits[stream].live
        used = 0 if lot.ended(self.book.now) else lot.used  # a renewal that is due comes first
        refusal = self.read(move.make(self.book))
        if deleted:
            assert isinstance(refusal, ExecutionCreditDeleted)
        elif move.credits < used:
            assert isinstance(refusal, CreditsBelowUsed)
            assert refusal.facts == {"credits": move.credits, "used": used}
        else:
            assert refusal is None
            lot = self.naive.newest[stream]
            assert lot.booked + lot.used == move.credits == self.naive.credits[stream].last.credits

    @precondition(lambda self: self.naive.credits)
    @rule(move=moves.turns)
    def turn(self, move: Turn) -> None:
        stream, lot = self.lot_of(move.which)
        credit, due = self.naive.credits[stream], lot.ended(self.book.now)
        present, used = (credit.coming, 0) if due else (credit.last.rollup_type, lot.used)
        size = credit.last.credits if move.credits is None else move.credits
        was_live = credit.live
        refusal = self.read(move.make(self.book))
        if not was_live:
            assert isinstance(refusal, ExecutionCreditDeleted)
        elif RollupType.ADDON in (present, move.rollup_type) and present is not move.rollup_type:
            assert isinstance(refusal, RollupTypeStays)
            assert refusal.facts == {"rollup_type": present, "requested": move.rollup_type}
        elif size < used:
            assert isinstance(refusal, CreditsBelowUsed)
            assert refusal.facts == {"credits": size, "used": used}
        else:
            assert refusal is None
            assert (credit.last.rollup_type, credit.coming) == (present, move.rollup_type)
            assert credit.last.credits == size

    @precondition(lambda self: self.naive.credits)
    @rule(move=moves.deletes)
    def delete(self, move: Delete) -> None:
        stream, _ = self.lot_of(move.which)
        deleted = not self.naive.credits[stream].live
        refusal = self.read(move.make(self.book))
        if deleted:
            assert isinstance(refusal, ExecutionCreditDeleted)
        else:
            assert refusal is None
            assert self.naive.newest[stream].booked == 0
            assert self.naive.credits[stream].last.deleted_at == self.book.now

    @rule(rollup_type=st.sampled_from(RollupType), credits=moves.allotments)
    def open_when_there_is_room(self, rollup_type: RollupType, credits: int) -> None:
        """So that most runs have something to use."""
        if not any(credit.live for credit in self.naive.credits.values()):
            assert self.read(Open(credits, rollup_type, 0).make(self.book)) is None


TestExecutions = ExecutionsMachine.TestCase
