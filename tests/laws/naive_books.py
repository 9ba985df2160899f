"""The laws written a second time, as slowly and plainly as can be, and held against what the domain recorded.

Nothing here uses the domain's burn-down, its lots, its schedules or its pools: balances are sums over the log by type,
the order of burn-down is a sort at every debit, refunds are read off a list. What schedules and recharges should do is
in naive_schedules.py.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from itertools import groupby
from typing import assert_never

from ledger.domain.events import (
    AutoRechargeDefined,
    Debited,
    ExecutionCreditDefined,
    Expired,
    Granted,
    GrantPaymentRecorded,
    GrantScheduleDefined,
    GrantUpdated,
    LedgerEvent,
    Movement,
    Refunded,
    RuleEvent,
    Voided,
)
from ledger.domain.grant_details import GrantDetails
from ledger.domain.values import Cause, GrantType, Terms
from tests.laws.naive_credits import NaiveCredit
from tests.laws.naive_schedules import NaiveRecharge, NaiveSchedule, units_of

TYPES_IN_ORDER = [None, GrantType.PROMOTIONAL, GrantType.ROLLOVER, GrantType.SUBSCRIPTION, GrantType.PAID]
END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass
class NaiveLot:
    name: str
    stream: str
    grant_type: GrantType | None
    terms: Terms
    grant: GrantDetails | None
    void: bool = False
    lapses: int = 0
    rolled: int = 0
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
        self.credits: dict[str, NaiveCredit] = {}
        self.newest: dict[str, NaiveLot] = {}
        """By stream, the lot that was opened last."""
        self.draws: dict[str, list[tuple[str, int]]] = {}
        self.returned: Counter[tuple[str, str]] = Counter()
        self.schedules: dict[str, NaiveSchedule] = {}
        self.recharges: dict[str, NaiveRecharge] = {}

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
        """What a debit may take: the usable lots, and whatever comes with what is due."""
        renewals = sum(
            credit.last.credits
            for stream, credit in self.credits.items()
            if credit.live and credit.renewing and self.newest[stream].ended(now)
        )
        return renewals + self._scheduled(now) + sum(lot.booked for lot in self.in_burn_down_order(now))

    def next_due(self) -> datetime:
        """The first end of a lot that holds something, or the first beginning of a part."""
        ends = [lot.terms.expires_at for lot in self.lots.values() if lot.booked and lot.terms.expires_at is not None]
        return min([*ends, *(plan.begins(plan.next_part) for plan in self.live_schedules()), END_OF_TIME])

    def live_schedules(self) -> list[NaiveSchedule]:
        return [schedule for schedule in self.schedules.values() if schedule.live]

    def _scheduled(self, now: datetime) -> int:
        """What schedules that are due bring: the part that now falls in, and what rolls over and still lasts."""
        usable = 0
        remainders: list[tuple[NaiveSchedule, int, datetime]] = []
        for lot in self.lots.values():
            part = None if lot.grant is None else lot.grant.scheduled
            if part is not None and lot.booked and lot.ended(now) and lot.terms.expires_at is not None:
                remainders.append((self.schedules[part.schedule_id], lot.booked, lot.terms.expires_at))
        for schedule in self.live_schedules():
            for number in schedule.due(now):
                ends = schedule.begins(number + 1)
                if ends > now:
                    usable += schedule.amount(number)
                else:
                    remainders.append((schedule, schedule.amount(number), ends))
        for schedule, left, ends in remainders:
            carried = schedule.carried(left)
            if carried and schedule.rollover_ends(ends) > now:
                usable += carried
        return usable

    def waiting_recharges(self, now: datetime) -> int:
        """What recharges hold that only wait for their payment."""
        return sum(
            lot.booked
            for lot in self.lots.values()
            if lot.grant is not None
            and lot.grant.recharge is not None
            and lot.terms.awaiting_payment
            and lot.terms.effective_at <= now
            and not lot.ended(now)
        )

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
        for place, event in enumerate(events):
            match event:
                case ExecutionCreditDefined():
                    self._define(event, events[:place])
                case GrantScheduleDefined():
                    self._define_schedule(event)
                case AutoRechargeDefined():
                    self._define_recharge(event, events[:place])
                case GrantUpdated() | GrantPaymentRecorded():
                    self._change(event)
                case Granted() | Debited() | Refunded() | Voided() | Expired():
                    self._move(event)
                    if isinstance(event, Expired) and event.cause is Cause.ROLLED_OVER:
                        self._roll_over(event, events[place + 1])
                    if isinstance(event, Granted) and event.cause is Cause.RENEWED:
                        self._turn(event, events[place + 1 :])
                case RuleEvent():
                    raise AssertionError(f"{event.TOPIC} in a pool of credits")
                case _:
                    assert_never(event)
        for debit, draws in self.draws.items():
            for lot, drawn in draws:
                assert 0 <= self.returned[debit, lot] <= drawn

    def _define(self, event: ExecutionCreditDefined, before: list[LedgerEvent]) -> None:
        stream = event.originator_id
        credit = self.credits.get(stream)
        if credit is None:
            assert (event.first_month, event.next_rollup_type, event.deleted_at) == (0, None, None)
            assert event.created_at == event.transaction.recorded_at >= event.anchor_at
            self.credits[stream] = NaiveCredit(event)
            return
        lot, last = self.newest[stream], before[-1] if before else None
        if isinstance(last, Granted) and (last.originator_id, last.cause) == (stream, Cause.RENEWED):
            credit.turn(event, lot.terms.effective_at)
        else:
            credit.change(event, lot.used, lot.booked)
            lot.void = not credit.live

    def _turn(self, event: Granted, after: list[LedgerEvent]) -> None:
        """A renewal is followed by a definition just where another rollup type waited for it."""
        waited = self.credits[event.originator_id].last.next_rollup_type is not None
        defined = bool(after) and isinstance(after[0], ExecutionCreditDefined)
        assert defined == waited

    def _define_schedule(self, event: GrantScheduleDefined) -> None:
        now, known = event.transaction.recorded_at, self.schedules.get(event.originator_id)
        if known is not None:
            assert known.live
            assert event.plan == known.plan.model_copy(update={"ended_at": now})
            known.live = False
            return
        schedule = self.schedules[event.originator_id] = NaiveSchedule(event.plan, event.plan.first_part)
        assert (event.plan.created_at, event.plan.ended_at) == (now, None)
        assert schedule.begins(schedule.next_part + 1) > now
        assert schedule.next_part == 0 or schedule.begins(schedule.next_part) <= now

    def _define_recharge(self, event: AutoRechargeDefined, before: list[LedgerEvent]) -> None:
        now = event.transaction.recorded_at
        known = self.recharges.setdefault(event.originator_id, NaiveRecharge(event))
        made = [one for one in before if isinstance(one, Granted) and one.cause is Cause.RECHARGED]
        for granted in made:
            assert granted.grant is not None
            assert granted.grant.recharge is not None
            known.grants += 1
            month = (now.year, now.month)
            known.spent[month] = known.spent.get(month, 0) + units_of(granted.grant.cost.amount)
            assert granted.grant.recharge.number == known.grants
            assert event.done.spend is not None
            assert event.done.spend.amount == known.spent[month]
            assert event.settings == known.last.settings
        assert event.done.grants == known.grants
        assert event.saved_at == (known.last.saved_at if made else now)
        known.last = event

    def _change(self, event: GrantUpdated | GrantPaymentRecorded) -> None:
        lot = self.lots[event.lot]
        assert event.after == (lot.sums[Granted], lot.used, lot.booked, self.booked())
        assert event.effective_at == event.transaction.recorded_at
        assert lot.grant is not None
        texts = {"texts": event.grant.texts}
        if isinstance(event, GrantUpdated):
            assert event.grant == lot.grant.model_copy(update=texts)
            assert event.terms.awaiting_payment == lot.terms.awaiting_payment
        else:
            assert event.grant == lot.grant.model_copy(update={**texts, "payment": event.grant.payment})
            paid = event.grant.payment.collection == "NOT_REQUIRED"
            waits = lot.terms.awaiting_payment and not paid
            assert event.terms == lot.terms.model_copy(update={"awaiting_payment": waits})
        lot.terms, lot.grant = event.terms, event.grant

    def _roll_over(self, out: Expired, come: LedgerEvent) -> None:
        """What rolls over goes into one new grant, with its share of the cost, and once."""
        assert isinstance(come, Granted)
        assert out.rolled_over_to is not None
        assert {str(come.lot), str(come.originator_id)} == {str(out.rolled_over_to)}
        assert (come.amount, come.cause) == (-out.amount, Cause.ROLLED_OVER)
        lot = self.lots[out.lot]
        lot.rolled += 1
        assert lot.rolled == 1
        assert (lot.grant_type, come.grant_type) == (GrantType.SUBSCRIPTION, GrantType.ROLLOVER)
        assert lot.grant is not None
        assert lot.grant.scheduled is not None
        assert come.grant is not None
        assert come.grant.rolled_over_from is not None
        schedule = self.schedules[lot.grant.scheduled.schedule_id]
        left = lot.booked - out.amount
        assert come.amount == schedule.carried(left)
        assert come.grant.rolled_over_from.grant_id == lot.name
        assert come.terms.effective_at == lot.terms.expires_at == out.effective_at
        assert come.terms.expires_at == schedule.rollover_ends(out.effective_at)
        cost, granted = units_of(lot.grant.cost.amount), lot.sums[Granted]
        until = [round(Fraction(cost * gone, granted)) for gone in (granted - left, granted - left + come.amount)]
        assert units_of(come.grant.cost.amount) == until[1] - until[0]

    def _take_part(self, event: Granted) -> None:
        """A part is the next one of its schedule, and just what that part is."""
        assert event.grant is not None
        assert event.grant.scheduled is not None
        schedule, part = self.schedules[event.grant.scheduled.schedule_id], event.grant.scheduled.part
        assert schedule.live
        assert part == schedule.next_part
        assert (event.terms.effective_at, event.terms.expires_at) == (schedule.begins(part), schedule.begins(part + 1))
        assert (event.amount, units_of(event.grant.cost.amount)) == (schedule.amount(part), schedule.cost(part))
        schedule.next_part += 1

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
            case Cause.SCHEDULED:
                assert isinstance(event, Granted)
                assert event.effective_at == begins <= now
                self._take_part(event)
            case Cause.ROLLED_OVER:
                assert event.effective_at == (begins if isinstance(event, Granted) else lot.terms.expires_at)
            case _:
                assert event.effective_at == max(now, begins)

    def _open(self, event: Granted) -> None:
        before = self.newest.get(event.originator_id)
        if before is not None:
            assert event.cause is Cause.RENEWED
            assert event.terms.effective_at == before.terms.expires_at
            self.credits[event.originator_id].renew(event)
        elif event.originator_id in self.credits:
            self.credits[event.originator_id].begin(event)
        lot = NaiveLot(event.lot, event.originator_id, event.grant_type, event.terms, event.grant)
        self.lots[event.lot] = self.newest[event.originator_id] = lot
