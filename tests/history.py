"""Random histories: commands that a ledger of a few customers and companies might be given, drawn by hypothesis."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from ledger.application import (
    BlockingLedger,
    ChangeAllocationRule,
    Command,
    ConsumeCredits,
    CreateGrantSchedule,
    DefineAllocationRule,
    DeleteExecutionCredit,
    EndGrantSchedule,
    InvoiceTold,
    IssueGrant,
    MarkInvoicePaid,
    OpenExecutionCredit,
    Receipt,
    RechargePool,
    RecordGrantPayment,
    RecordThreshold,
    RefundDebit,
    RemoveAllocationRule,
    SaveAutoRecharge,
    UpdateExecutionCredit,
    UpdateGrant,
    VoidGrant,
)
from ledger.domain.credits import credits_decimal
from ledger.domain.events import Debited, ExecutionCreditDefined, Granted, Refunded, RuleEvent, ThresholdReached
from ledger.domain.threshold_watch import Reached, RuleTold, ThresholdWatch, Used
from ledger.domain.values import (
    BillingPeriod,
    Cadence,
    CreditType,
    ExpirationPeriod,
    GrantType,
    InvoiceStatus,
    Kind,
    PaymentCollection,
    PaymentMethod,
    RollupType,
)
from tests.conftest import Hands

HOLDERS = ("acme", "b\u00e4r", "co\tmma,")
GROUPS = ("g", "h", 'gr\u00fcn, "x"')
amounts = st.integers(1, 50 * 10**9).map(credits_decimal)
whole = st.integers(1, 50)
rollups = st.sampled_from(RollupType)
hours = st.integers(0, 24 * 40)

holders = st.sampled_from(HOLDERS)
which = st.integers(0, 10**6)
methods = st.sampled_from([PaymentMethod.NONE, *PaymentMethod])
groups = st.lists(st.sampled_from(GROUPS), min_size=1, max_size=3, unique=True).map(tuple)
tags = st.just(()) | groups | groups
names = st.sampled_from(["north", "south", "\u00f6st\\"])
"""Of allocation rules: few, so that they meet."""
allocations = st.sampled_from([0, 1, 20, 100])
thresholds = st.sampled_from([0, 50, 100])

acts = st.one_of(
    st.tuples(
        *(st.just("issue"), holders, amounts, hours, st.integers(-48, 48), st.integers(0, 3), methods),
    ),
    st.tuples(
        *(st.just("update"), which, st.none() | st.integers(-24, 24 * 40), st.booleans()),
        *(st.none() | st.integers(0, 3), st.none() | st.just("another name"), st.booleans()),
    ),
    st.tuples(st.just("pay"), which, st.sampled_from(PaymentCollection), st.booleans()),
    st.tuples(st.just("mark paid"), which),
    st.tuples(
        *(st.just("plan"), holders, amounts, st.sampled_from(BillingPeriod), st.sampled_from(Cadence)),
        *(st.integers(-24 * 80, 48), st.none() | amounts, st.none() | st.integers(1, 2)),
    ),
    st.tuples(st.just("end plan"), which),
    st.tuples(
        *(st.just("recharging"), holders, amounts, amounts, st.none() | amounts, methods),
        *(st.booleans(), st.none() | st.sampled_from(ExpirationPeriod)),
    ),
    st.tuples(st.just("recharge"), holders),
    *(st.tuples(st.just("consume"), holders, amounts, st.booleans(), tags) for _ in range(5)),
    *(st.tuples(st.just("refund"), which, st.none() | amounts, st.none() | whole) for _ in range(2)),
    st.tuples(st.just("void"), st.integers(0, 10**6)),
    *(st.tuples(st.just("open"), holders, whole, rollups, st.integers(0, 24 * 500)) for _ in range(2)),
    *(st.tuples(st.just("debit"), holders, whole, tags) for _ in range(2)),
    st.tuples(st.just("resize"), which, whole),
    *(st.tuples(st.just("turn"), which, rollups, st.none() | whole) for _ in range(2)),
    st.tuples(st.just("delete"), which),
    *(
        st.tuples(
            *(st.just("rule"), names, groups, allocations, thresholds),
            st.sampled_from([None, None, "credits", "DAST"]),
        )
        for _ in range(2)
    ),
    *(
        st.tuples(
            *(st.just("change rule"), which, st.none() | names, st.none() | groups),
            *(st.none() | allocations, st.none() | thresholds),
        )
        for _ in range(2)
    ),
    st.tuples(st.just("remove rule"), which),
    st.tuples(st.just("alarm")),
    *(st.tuples(st.just("wait"), st.integers(0, 24 * 45)) for _ in range(2)),
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
        self.schedules: list[str] = []
        self.rules: list[str] = []
        self.watch = ThresholdWatch()
        self.reached: list[Reached] = []
        """Thresholds that were reached and are not recorded yet."""
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
            case ("alarm",):
                for reached in self.reached:
                    self._do(recording(reached))
                self.reached.clear()
            case _:
                command = self._command(act)
                if command is not None:
                    self._do(command)

    def _command(self, act: Any) -> Command | None:
        now = self.hands.now
        match act:
            case ("issue", holder, amount, lasts, begins, place, method):
                begin = now + timedelta(hours=begins)
                end = max(begin, now) + timedelta(hours=lasts)
                return IssueGrant(
                    holder=holder, currency="credits", amount=amount, display_name="grant", priority=place,
                    grant_type=list(GrantType)[place], effective_at=begin,
                    expires_at=None if lasts == 0 else end, cost=place, payment_method=method,
                )  # fmt: skip
            case ("consume", holder, amount, back, groups):
                use_at = now - timedelta(hours=30) if back else None
                return ConsumeCredits(
                    holder=holder, currency="credits", amount=amount, use_at=use_at, account_groups=groups
                )
            case ("debit", holder, amount, *tags):
                return ConsumeCredits(
                    holder=holder, currency="DAST", amount=amount, kind=Kind.EXECUTION_CREDIT,
                    account_groups=tags[0] if tags else None,
                )  # fmt: skip
            case ("refund", which, amount, credits) if self.debits:
                debit, kind = self.debits[which % len(self.debits)]
                wanted = amount if kind is Kind.CREDIT_GRANT else credits
                return RefundDebit(transaction_id=debit, amount=wanted, kind=kind)
            case ("plan" | "end plan" | "recharging" | "recharge", *_):
                return self._of_grants_to_come(act)
            case ("rule" | "change rule" | "remove rule", *_):
                return self._on_rules(act)
            case (_, which, *_) if act[0] in ("void", "update", "pay", "mark paid") and self.grants:
                return self._on_grant(self.grants[which % len(self.grants)], act)
            case ("open", holder, credits, rollup, back):
                return OpenExecutionCredit(
                    company=holder, company_label=f"{holder} Ltd", credit_type=CreditType.DAST, credits=credits,
                    rollup_type=rollup, period_anchor=now - timedelta(hours=back),
                )  # fmt: skip
            case ("resize" | "turn" | "delete", which, *_) if self.credits:
                return self._on_credit(self.credits[which % len(self.credits)], act)
        return None

    def _on_credit(self, credit: str, act: Any) -> Command:
        match act:
            case ("resize", _, credits):
                return UpdateExecutionCredit(credit=credit, credits=credits)
            case ("turn", _, rollup, credits):
                return UpdateExecutionCredit(credit=credit, credits=credits, rollup_type=rollup)
        return DeleteExecutionCredit(credit=credit)

    def _on_grant(self, grant: str, act: Any) -> Command | None:
        now = self.hands.now
        match act:
            case ("void", _):
                return VoidGrant(grant=grant)
            case ("mark paid", _):
                return MarkInvoicePaid(grant=grant)
            case ("pay", _, collection, told):
                invoice = InvoiceTold(
                    billing_id="in_1", status=InvoiceStatus.OPEN, total=5, payment_url="https://pay.example/1"
                )
                return RecordGrantPayment(grant=grant, collection=collection, invoice=invoice if told else None)
            case ("update", _, ends, endless, priority, name, comment):
                if ends is None and not endless and priority is None and name is None and not comment:
                    return None
                return UpdateGrant(
                    grant=grant, expires_at=None if ends is None or endless else now + timedelta(hours=ends),
                    clears=("expireAt",) * endless, priority=priority, display_name=name,
                    comment="a comment" if comment else None,
                )  # fmt: skip
        return None

    def _of_grants_to_come(self, act: Any) -> Command | None:
        match act:
            case ("plan", holder, amount, period, cadence, anchored, cap, lasts):
                return CreateGrantSchedule(
                    holder=holder, currency="credits", display_name="plan", amount=amount, billing_period=period,
                    cadence=cadence, anchor_at=self.hands.now + timedelta(hours=anchored), cost="1.25",
                    rollover_max=None if lasts is None else cap, rollover_periods=lasts,
                )  # fmt: skip
            case ("end plan", which) if self.schedules:
                return EndGrantSchedule(schedule=self.schedules[which % len(self.schedules)])
            case ("recharging", holder, threshold, above, cap, method, enabled, lasts):
                return SaveAutoRecharge(
                    holder=holder, currency="credits", enabled=enabled, threshold=threshold, target=threshold + above,
                    max_spend=cap, unit_price="0.25", payment_method=method, expiration_period=lasts,
                )  # fmt: skip
            case ("recharge", holder):
                return RechargePool(holder=holder, currency="credits")
        return None

    def _on_rules(self, act: Any) -> Command | None:
        match act:
            case ("rule", name, groups, allocated, threshold, currency):
                return DefineAllocationRule(
                    name=name, account_groups=groups, allocated=allocated, alarm_threshold=threshold, currency=currency
                )
            case ("change rule", which, name, groups, allocated, threshold) if self.rules:
                return ChangeAllocationRule(
                    rule=self.rules[which % len(self.rules)], name=name, account_groups=groups, allocated=allocated,
                    alarm_threshold=threshold,
                )  # fmt: skip
            case ("remove rule", which) if self.rules:
                return RemoveAllocationRule(rule=self.rules[which % len(self.rules)])
        return None

    def _do(self, command: Command) -> None:
        outcome = self.books.ledger.execute_many_blocking([command])[0]
        if not isinstance(outcome, Receipt) or not outcome.events:
            return
        self.receipts.append(outcome)
        first = outcome.events[0]
        self.grants += [event.lot for event in outcome.events if isinstance(event, Granted) and event.grant is not None]
        if isinstance(first, Debited):
            self.debits.append((outcome.transaction_id, first.pool.kind))
        elif isinstance(command, CreateGrantSchedule):
            self.schedules.append(outcome.stream_id)
        elif isinstance(first, ExecutionCreditDefined) and first.originator_version == 1:
            self.credits.append(outcome.stream_id)
        elif isinstance(command, DefineAllocationRule):
            self.rules.append(outcome.stream_id)
        self._watch(outcome)

    def _watch(self, receipt: Receipt) -> None:
        """What is reached by a use that names account groups, or by what a rule has become."""
        first = receipt.events[0]
        place = (receipt.position, first.transaction.transaction_id, first.transaction.recorded_at)
        if isinstance(first, RuleEvent):
            if not isinstance(first, ThresholdReached):
                self.reached += self.watch.follow([RuleTold(*place, first.originator_id, first.rule)])
        elif isinstance(first, Debited | Refunded) and first.account_groups is not None:
            assert first.use_at is not None
            used = -sum(event.amount for event in receipt.events if isinstance(event, Debited | Refunded))
            use = Used(*place, first.use_at, first.pool.currency, first.account_groups, used)
            self.reached += self.watch.follow([use])


def recording(reached: Reached) -> RecordThreshold:
    """The command that records a threshold that was reached."""
    return RecordThreshold(
        rule=reached.rule, month=reached.month, used=reached.used, allocated=reached.allocated,
        alarm_threshold=reached.alarm_threshold, reached_position=reached.position, reached_at=reached.recorded_at,
        caused_by=reached.transaction_id,
    )  # fmt: skip
