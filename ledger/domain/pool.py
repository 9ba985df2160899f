"""A pool: the open lots that may pay for the same use, in burn-down order, and the aggregates they belong to."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from ledger.domain import auto_recharge, grant_schedule
from ledger.domain.auto_recharge import AutoRecharge
from ledger.domain.credit_grant import CreditGrant
from ledger.domain.credit_grant import evolve as evolve_grant
from ledger.domain.credits import Credits
from ledger.domain.events import (
    MOVEMENTS,
    AutoRechargeDefined,
    Debited,
    ExecutionCreditDefined,
    Expired,
    GrantChange,
    GrantChangeEvent,
    Granted,
    GrantPaymentRecorded,
    GrantScheduleDefined,
    GrantUpdated,
    LedgerEvent,
    Movement,
    MovementEvent,
    Refunded,
    Voided,
)
from ledger.domain.execution_credit import ExecutionCredit
from ledger.domain.execution_credit import evolve as evolve_credit
from ledger.domain.grant_schedule import GrantSchedule
from ledger.domain.instants import FOREVER, Instant
from ledger.domain.lots import LawBroken, Lot, move_lot
from ledger.domain.values import Kind, LotId, PoolKey, StreamId

Aggregate: TypeAlias = CreditGrant | ExecutionCredit

_by_burn_down = attrgetter("burn_down_key")


class Pool:
    """The present state of one pool. `balance` is what law 1 leaves on all its lots together, usable or not.

    `lots` are the open lots (balance above zero). A lot that closes is kept by id until `forget_closed`, so that a
    refund that follows in the same batch finds it as it is, not as the database last saw it.
    """

    __slots__ = (
        *("_closed", "_evolve_aggregate", "_lots_by_id", "aggregates", "balance", "key", "lots", "next_due_at"),
        *("recharge", "schedules"),
    )

    def __init__(self, key: PoolKey, aggregates: Iterable[Aggregate] = ()) -> None:
        self.key = key
        self.aggregates: dict[StreamId, Aggregate] = {}
        self.lots: list[Lot] = []
        self.balance: Credits = 0
        self.next_due_at: Instant = FOREVER
        """Nothing falls due before this; a lower bound, so that it need not be kept exact at each debit."""
        self.schedules: dict[StreamId, GrantSchedule] = {}
        """Those that still grant."""
        self.recharge: AutoRecharge | None = None
        """None where there is none, or where nobody has asked for it yet."""
        self._lots_by_id: dict[LotId, Lot] = {}
        self._closed: set[LotId] = set()
        """Lots that were empty when they entered or left; those that are so still are let go of later."""
        self._evolve_aggregate: Callable[[Any, LedgerEvent], Aggregate] = (
            evolve_grant if key.kind is Kind.CREDIT_GRANT else evolve_credit
        )
        self.adopt(aggregates)

    def adopt(self, aggregates: Iterable[Aggregate]) -> None:
        """Take in aggregates that were loaded, with their lots; lots that are known already stay as they are."""
        for aggregate in aggregates:
            known = self.aggregates.setdefault(aggregate.stream_id, aggregate)
            for lot in aggregate.lots.values():
                if lot.lot_id not in self._lots_by_id:
                    known.lots.setdefault(lot.lot_id, lot)
                    self._know(lot)
                    self.balance += lot.balance
                    if lot.balance > 0:
                        self.lots.append(lot)
        self.lots.sort(key=_by_burn_down)

    def adopt_schedule(self, schedule: GrantSchedule) -> None:
        """Take in a schedule that was loaded, or that has come further."""
        self.schedules[schedule.stream_id] = schedule
        self.next_due_at = min(self.next_due_at, schedule.next_at)

    def holds(self, lot_id: LotId) -> bool:
        return lot_id in self._lots_by_id

    def lot(self, lot_id: LotId) -> Lot:
        return self._lots_by_id[lot_id]

    def follows(self, event: LedgerEvent) -> bool:
        """Whether another process's event can be applied to what is known here; else it has to be loaded again."""
        if isinstance(event, Movement | GrantChange) and not isinstance(event, Granted):
            return event.lot in self._lots_by_id
        return True

    def version(self, stream_id: StreamId) -> int:
        """The last version of a stream; 0 for one that does not exist yet."""
        stream: Aggregate | GrantSchedule | AutoRecharge | None
        stream = self.aggregates.get(stream_id) or self.schedules.get(stream_id)
        if stream is None and self.recharge is not None and self.recharge.stream_id == stream_id:
            stream = self.recharge
        return 0 if stream is None else stream.version

    def due_lots(self, now: Instant) -> list[Lot]:
        """The open lots that have ended by `now`, soonest first, equal ends by lot id."""
        return sorted((lot for lot in self.lots if lot.expires_at <= now), key=lambda lot: (lot.expires_at, lot.lot_id))

    def evolve(self, event: LedgerEvent) -> None:
        """Apply one event to its aggregate and to the pool; hold it to the pool balance it recorded."""
        facts = event.__dict__  # whose values cost a third of a pydantic model's attributes
        if facts["pool"] is not self.key and event.pool != self.key:
            raise LawBroken(f"an event of pool {event.pool} cannot be applied to pool {self.key}")
        if type(event) not in MOVEMENTS:
            self._become(event)
            return
        if TYPE_CHECKING:  # isinstance is slow with pydantic's classes, and this is every debit's path
            assert isinstance(event, Granted | Debited | Refunded | Voided | Expired)
        stream_id = facts["originator_id"]
        aggregate = self.aggregates.get(stream_id)
        lot = self._lots_by_id.get(facts["lot"])
        was_open = lot is not None and lot.balance > 0
        if aggregate is None or type(event) is Granted:
            aggregate = self._evolve_aggregate(aggregate, event)
        else:
            move_lot(aggregate, event)  # as both kinds of aggregate do
        self.balance = balance = self.balance + facts["amount"]
        if balance != facts["after"][3]:
            raise LawBroken(
                f"pool {self.key}: balance {balance} computed, {event.after.pool_balance} recorded by "
                f"stream {stream_id} version {event.originator_version}"
            )
        if lot is None:
            self.aggregates[stream_id] = aggregate
            self._enter(aggregate.lots[event.lot])
            self._follow_schedule(event)
        elif lot.balance == 0:
            if was_open:
                self._leave(lot)
        elif not was_open:
            self._enter(lot)

    def forget_closed(self) -> None:
        """Let go of lots that are empty and of grants that have no open lot; a live execution credit stays."""
        for lot_id in list(self._closed):
            lot = self._lots_by_id[lot_id]
            aggregate = self.aggregates[lot.stream_id]
            if lot.balance > 0:
                self._closed.discard(lot_id)
            elif not (isinstance(aggregate, ExecutionCredit) and aggregate.holds_open(lot)):
                self._closed.discard(lot_id)
                del self._lots_by_id[lot_id]
                del aggregate.lots[lot_id]
                if not aggregate.lots:
                    del self.aggregates[lot.stream_id]

    def look_for_due(self) -> None:
        """Make `next_due_at` exact again, after what was due has been written."""
        ends = [lot.expires_at for lot in self.lots]
        ends += [
            aggregate.present_lot.expires_at
            for aggregate in self.aggregates.values()
            if isinstance(aggregate, ExecutionCredit) and aggregate.live
        ]
        ends += [schedule.next_at for schedule in self.schedules.values()]
        self.next_due_at = min(ends, default=FOREVER)

    def renewals_due(self, now: Instant) -> list[ExecutionCredit]:
        """The live renewing credits whose present period has ended by `now`."""
        return [
            aggregate
            for aggregate in self.aggregates.values()
            if isinstance(aggregate, ExecutionCredit) and aggregate.renewal_due(now)
        ]

    def _become(self, event: LedgerEvent) -> None:
        """Apply an event that moves no credit: a definition, or that a grant is another from now on."""
        stream_id = event.originator_id
        match event:
            case ExecutionCreditDefined():
                self.aggregates[stream_id] = self._evolve_aggregate(self.aggregates.get(stream_id), event)
            case GrantScheduleDefined():
                schedule = grant_schedule.evolve(self.schedules.pop(stream_id, None), event)
                if event.plan.ended_at is None:
                    self.adopt_schedule(schedule)
            case AutoRechargeDefined():
                self.recharge = auto_recharge.evolve(self.recharge, event)
            case GrantUpdated() | GrantPaymentRecorded():
                self._change(event)
            case _:
                raise LawBroken(f"{event.TOPIC} moves credits")

    def _change(self, event: GrantChangeEvent) -> None:
        """A grant is another from now on; its place in the burn-down order may be too."""
        stream_id = event.originator_id
        if self.balance != event.after.pool_balance:
            raise LawBroken(f"pool {self.key}: stream {stream_id} moves no credit, but says {event.after}")
        lot = self._lots_by_id.get(event.lot)
        if lot is not None and lot.balance > 0:
            self._leave(lot)
        self._evolve_aggregate(self.aggregates.get(stream_id), event)
        if lot is not None:
            self._enter(lot)

    def _follow_schedule(self, event: MovementEvent) -> None:
        """A schedule's next part is the one after this grant, if it is one of its."""
        if type(event) is Granted and event.grant is not None and event.grant.scheduled is not None:
            scheduled = event.grant.scheduled
            schedule = self.schedules.get(scheduled.schedule_id)
            if schedule is not None:
                schedule.granted(scheduled.part)
                self.adopt_schedule(schedule)

    def _leave(self, lot: Lot) -> None:
        """Take a lot out of the burn-down order; keys are unique, because they end with the lot's id."""
        del self.lots[bisect_left(self.lots, lot.burn_down_key, key=_by_burn_down)]
        self._closed.add(lot.lot_id)

    def _enter(self, lot: Lot) -> None:
        self._know(lot)
        if lot.balance > 0:
            insort(self.lots, lot, key=_by_burn_down)

    def _know(self, lot: Lot) -> None:
        self._lots_by_id[lot.lot_id] = lot
        if lot.balance == 0:
            self._closed.add(lot.lot_id)
        self.next_due_at = min(self.next_due_at, lot.expires_at)
