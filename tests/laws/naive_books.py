"""The laws written a second time, as slowly and plainly as can be, and held against what the domain recorded.

Nothing here uses the domain's burn-down, its lots or its pools: balances are sums over the log by type, the order of
burn-down is a sort at every debit, refunds are read off a list.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby

from ledger.domain.events import (
    Debited,
    ExecutionCreditDefined,
    Expired,
    Granted,
    LedgerEvent,
    Movement,
    Refunded,
    Voided,
)
from ledger.domain.values import Cause, GrantType, RollupType, Terms

TYPES_IN_ORDER = [None, GrantType.PROMOTIONAL, GrantType.ROLLOVER, GrantType.SUBSCRIPTION, GrantType.PAID]
END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass
class NaiveLot:
    name: str
    stream: str
    grant_type: GrantType | None
    terms: Terms
    void: bool = False
    lapses: int = 0
    sums: Counter[type[Movement]] = field(default_factory=Counter)
    """Magnitudes by type of event."""

    @property
    def booked(self) -> int:
        came = self.sums[Granted] + self.sums[Refunded]
        return came - self.sums[Debited] - self.sums[Voided] - self.sums[Expired]

    @property
    def used(self) -> int:
        return self.sums[Debited] - self.sums[Refunded]

    def usable(self, now: datetime) -> bool:
        begun = self.terms.effective_at <= now
        return begun and not self.ended(now) and not self.terms.awaiting_payment

    def ended(self, now: datetime) -> bool:
        return self.void or (self.terms.expires_at is not None and self.terms.expires_at <= now)


class NaiveBooks:
    """Folds a log transaction by transaction and asserts every law on the way."""

    def __init__(self) -> None:
        self.lots: dict[str, NaiveLot] = {}
        self.defined: dict[str, ExecutionCreditDefined] = {}
        self.newest: dict[str, NaiveLot] = {}
        """By stream, the lot that was opened last."""
        self.draws: dict[str, list[tuple[str, int]]] = {}
        self.returned: Counter[tuple[str, str]] = Counter()

    def read(self, log: Iterable[LedgerEvent]) -> "NaiveBooks":
        for _, events in groupby(log, key=lambda event: event.transaction.transaction_id):
            self._read_transaction(list(events))
        return self

    def booked(self) -> int:
        return sum(lot.booked for lot in self.lots.values())

    def in_burn_down_order(self, now: datetime) -> list[NaiveLot]:
        usable = [lot for lot in self.lots.values() if lot.booked > 0 and lot.usable(now)]
        usable.sort(key=lambda lot: lot.stream)
        usable.sort(key=lambda lot: lot.terms.created_at)
        usable.sort(key=lambda lot: lot.terms.effective_at)
        usable.sort(key=lambda lot: TYPES_IN_ORDER.index(lot.grant_type))
        usable.sort(key=lambda lot: lot.terms.expires_at or END_OF_TIME)
        usable.sort(key=lambda lot: lot.terms.priority)
        return usable

    def available(self, now: datetime) -> int:
        """What a debit may take: the usable lots, and the allotment of every renewal that is due."""
        renewals = sum(
            defined.credits
            for stream, defined in self.defined.items()
            if defined.deleted_at is None
            and defined.rollup_type is not RollupType.ADDON
            and self.newest[stream].ended(now)
        )
        return renewals + sum(lot.booked for lot in self.in_burn_down_order(now))

    def refundable(self, debit: str) -> int:
        return sum(drawn - self.returned[debit, lot] for lot, drawn in self.draws[debit])

    def expected_draws(self, amount: int, now: datetime) -> list[tuple[str, int]]:
        draws = []
        for lot in self.in_burn_down_order(now):
            part = min(lot.booked, amount)
            amount -= part
            if part:
                draws.append((lot.name, part))
        assert amount == 0, "debited more than the usable lots held"
        return draws

    def expected_returns(self, debit: str, amount: int) -> list[tuple[str, int]]:
        returns = []
        for lot, drawn in reversed(self.draws[debit]):
            part = min(drawn - self.returned[debit, lot], amount)
            amount -= part
            if part:
                returns.append((lot, part))
        assert amount == 0, "refunded more than was debited"
        return returns

    def _read_transaction(self, events: list[LedgerEvent]) -> None:
        now = events[0].transaction.recorded_at
        debit: str | None
        debited: list[tuple[str, int]] = [(event.lot, -event.amount) for event in events if isinstance(event, Debited)]
        if debited:
            (debit,) = {event.debit_id for event in events if isinstance(event, Debited)}
            assert debited == self.expected_draws(sum(part for _, part in debited), now)
            assert debit is not None
            assert debit == events[0].transaction.transaction_id
            self.draws[debit] = debited
        refunded = [(event.lot, event.amount) for event in events if isinstance(event, Refunded)]
        if refunded:
            (debit,) = {event.debit_id for event in events if isinstance(event, Refunded)}
            assert debit is not None
            assert refunded == self.expected_returns(debit, sum(part for _, part in refunded))
            self.returned.update({(debit, lot): part for lot, part in refunded})
        for event in events:
            if isinstance(event, ExecutionCreditDefined):
                self._define(event)
            else:
                self._move(event)
        for debit, draws in self.draws.items():
            for lot, drawn in draws:
                assert 0 <= self.returned[debit, lot] <= drawn

    def _define(self, event: ExecutionCreditDefined) -> None:
        self.defined[event.originator_id] = event
        if event.deleted_at is not None:
            self.newest[event.originator_id].void = True

    def _move(self, event: Movement) -> None:
        if event.lot not in self.lots:
            assert isinstance(event, Granted)
            self._open(event)
        lot = self.lots[event.lot]
        lot.sums[type(event)] += abs(event.amount)
        lot.void = lot.void or event.cause is Cause.VOIDED
        assert lot.booked >= 0
        assert event.after == (lot.sums[Granted], lot.used, lot.booked, self.booked())
        now, begins = event.transaction.recorded_at, lot.terms.effective_at
        match event.cause:
            case Cause.LAPSED:
                lot.lapses += 1
                assert (lot.lapses, lot.booked, event.effective_at) == (1, 0, lot.terms.expires_at)
            case Cause.REFUND:
                assert lot.ended(now)
                assert (lot.booked, event.effective_at) == (0, max(now, begins))
            case Cause.CONSUMED:
                assert event.use_at is not None
                assert event.effective_at == max(event.use_at, begins)
            case Cause.ISSUED | Cause.RENEWED:
                assert event.effective_at == begins
            case _:
                assert event.effective_at == max(now, begins)

    def _open(self, event: Granted) -> None:
        before = self.newest.get(event.originator_id)
        if before is not None:
            assert event.cause is Cause.RENEWED
            assert event.terms.effective_at == before.terms.expires_at
            assert event.amount == self.defined[event.originator_id].credits
        lot = NaiveLot(event.lot, event.originator_id, event.grant_type, event.terms)
        self.lots[event.lot] = self.newest[event.originator_id] = lot
