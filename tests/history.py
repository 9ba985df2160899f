"""Random histories: commands that a ledger of a few customers and companies might be given, drawn by hypothesis."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from ledger.application import (
    BlockingLedger,
    Command,
    ConsumeCredits,
    DeleteExecutionCredit,
    IssueGrant,
    OpenExecutionCredit,
    Receipt,
    RefundDebit,
    ResizeExecutionCredit,
    VoidGrant,
)
from ledger.domain.credits import credits_decimal
from ledger.domain.events import Debited, ExecutionCreditDefined
from ledger.domain.values import CreditType, GrantType, Kind, RollupType
from tests.conftest import Hands

HOLDERS = ("acme", "b\u00e4r", "co\tmma,")
amounts = st.integers(1, 50 * 10**9).map(credits_decimal)
hours = st.integers(0, 24 * 40)

acts = st.one_of(
    st.tuples(st.just("issue"), st.sampled_from(HOLDERS), amounts, hours, st.integers(-48, 48), st.integers(0, 3)),
    st.tuples(st.just("consume"), st.sampled_from(HOLDERS), amounts, st.booleans()),
    st.tuples(st.just("consume"), st.sampled_from(HOLDERS), amounts, st.booleans()),
    st.tuples(st.just("refund"), st.integers(0, 10**6), st.none() | amounts),
    st.tuples(st.just("void"), st.integers(0, 10**6)),
    st.tuples(st.just("open"), st.sampled_from(HOLDERS), amounts, st.sampled_from(RollupType)),
    st.tuples(st.just("debit"), st.sampled_from(HOLDERS), amounts),
    st.tuples(st.just("resize"), st.integers(0, 10**6), amounts),
    st.tuples(st.just("delete"), st.integers(0, 10**6)),
    st.tuples(st.just("wait"), st.integers(0, 24 * 45)),
    st.tuples(st.just("settle")),
)
histories = st.lists(acts, min_size=80, max_size=140)


class Play:
    """Plays acts on a ledger, one command after the other; what is refused is refused."""

    def __init__(self, books: BlockingLedger, hands: Hands) -> None:
        self.books = books
        self.hands = hands
        self.debits: list[tuple[str, Kind]] = []
        self.grants: list[str] = []
        self.credits: list[str] = []
        self.receipts: list[Receipt] = []

    def all(self, acts: Sequence[Any]) -> None:
        for act in acts:
            self.one(act)

    def one(self, act: Any) -> None:
        match act:
            case ("wait", hours):
                self.hands.set(self.hands.now + timedelta(hours=hours, microseconds=1))
            case ("settle",):
                self.books.settle_due()
            case _:
                command = self._command(act)
                if command is not None:
                    self._do(command)

    def _command(self, act: Any) -> Command | None:
        now = self.hands.now
        match act:
            case ("issue", holder, amount, lasts, begins, place):
                begin = now + timedelta(hours=begins)
                end = max(begin, now) + timedelta(hours=lasts)
                return IssueGrant(
                    holder=holder, currency="credits", amount=amount, display_name="grant", priority=place,
                    grant_type=list(GrantType)[place], effective_at=begin,
                    expires_at=None if lasts == 0 else end,
                )  # fmt: skip
            case ("consume", holder, amount, back):
                use_at = now - timedelta(hours=30) if back else None
                return ConsumeCredits(
                    holder=holder, currency="credits", amount=amount, use_at=use_at, account_groups=("g",) * back
                )
            case ("debit", holder, amount):
                return ConsumeCredits(holder=holder, currency="DAST", amount=amount, kind=Kind.EXECUTION_CREDIT)
            case ("refund", which, amount) if self.debits:
                debit, kind = self.debits[which % len(self.debits)]
                return RefundDebit(transaction_id=debit, amount=amount, kind=kind)
            case ("void", which) if self.grants:
                return VoidGrant(grant=self.grants[which % len(self.grants)])
            case ("open", holder, amount, rollup):
                return OpenExecutionCredit(
                    company=holder, credit_type=CreditType.DAST, credits=amount, rollup_type=rollup
                )
            case ("resize", which, amount) if self.credits:
                return ResizeExecutionCredit(credit=self.credits[which % len(self.credits)], credits=amount)
            case ("delete", which) if self.credits:
                return DeleteExecutionCredit(credit=self.credits[which % len(self.credits)])
        return None

    def _do(self, command: Command) -> None:
        outcome = self.books.ledger.execute_many_blocking([command])[0]
        if not isinstance(outcome, Receipt):
            return
        self.receipts.append(outcome)
        first = outcome.events[0]
        if isinstance(first, Debited):
            self.debits.append((outcome.transaction_id, first.pool.kind))
        elif isinstance(command, IssueGrant):
            self.grants.append(outcome.stream_id)
        elif isinstance(first, ExecutionCreditDefined) and first.originator_version == 1:
            self.credits.append(outcome.stream_id)
