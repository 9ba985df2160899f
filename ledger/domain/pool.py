"""A pool: the open lots that may pay for the same use, in burn-down order, and the aggregates they belong to."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, TypeAlias

from ledger.domain.credit_grant import CreditGrant
from ledger.domain.credit_grant import evolve as evolve_grant
from ledger.domain.credits import Credits
from ledger.domain.events import ExecutionCreditDefined, LedgerEvent
from ledger.domain.execution_credit import ExecutionCredit
from ledger.domain.execution_credit import evolve as evolve_credit
from ledger.domain.instants import FOREVER, Instant
from ledger.domain.lots import LawBroken, Lot
from ledger.domain.values import Kind, LotId, PoolKey, StreamId

Aggregate: TypeAlias = CreditGrant | ExecutionCredit

_by_burn_down = attrgetter("burn_down_key")


class Pool:
    """The present state of one pool. `balance` is what law 1 leaves on all its lots together, usable or not.

    `lots` are the open lots (balance above zero). A lot that closes is kept by id until `forget_closed`, so that a
    refund that follows in the same batch finds it as it is, not as the database last saw it.
    """

    __slots__ = ("_evolve_aggregate", "_lots_by_id", "aggregates", "balance", "key", "lots", "next_due_at")

    def __init__(self, key: PoolKey, aggregates: Iterable[Aggregate] = ()) -> None:
        self.key = key
        self.aggregates: dict[StreamId, Aggregate] = {}
        self.lots: list[Lot] = []
        self.balance: Credits = 0
        self.next_due_at: Instant = FOREVER
        """No lot ends before this; a lower bound, so that it need not be kept exact at each debit."""
        self._lots_by_id: dict[LotId, Lot] = {}
        self._evolve_aggregate: Callable[[Any, LedgerEvent], Aggregate] = (
            evolve_grant if key.kind is Kind.CREDIT_GRANT else evolve_credit
        )
        for aggregate in aggregates:
            self.adopt(aggregate)

    def adopt(self, aggregate: Aggregate) -> None:
        """Take in an aggregate that was loaded, with its lots; lots that are known already stay as they are."""
        known = self.aggregates.setdefault(aggregate.stream_id, aggregate)
        for lot in aggregate.lots.values():
            if lot.lot_id not in self._lots_by_id:
                known.lots.setdefault(lot.lot_id, lot)
                self._enter(lot)
                self.balance += lot.balance

    def holds(self, lot_id: LotId) -> bool:
        return lot_id in self._lots_by_id

    def lot(self, lot_id: LotId) -> Lot:
        return self._lots_by_id[lot_id]

    def version(self, stream_id: StreamId) -> int:
        """The last version of a stream; 0 for one that does not exist yet."""
        aggregate = self.aggregates.get(stream_id)
        return 0 if aggregate is None else aggregate.version

    def due_lots(self, now: Instant) -> list[Lot]:
        """The open lots that have ended by `now`, soonest first, equal ends by lot id."""
        return sorted((lot for lot in self.lots if lot.expires_at <= now), key=lambda lot: (lot.expires_at, lot.lot_id))

    def evolve(self, event: LedgerEvent) -> None:
        """Apply one event to its aggregate and to the pool; hold it to the pool balance it recorded."""
        if event.pool is not self.key and event.pool != self.key:
            raise LawBroken(f"an event of pool {event.pool} cannot be applied to pool {self.key}")
        stream_id = event.originator_id
        aggregate = self.aggregates.get(stream_id)
        if type(event) is ExecutionCreditDefined:
            self.aggregates[stream_id] = self._evolve_aggregate(aggregate, event)
            return
        lot = self._lots_by_id.get(event.lot)
        was_open = lot is not None and lot.balance > 0
        evolved = self._evolve_aggregate(aggregate, event)
        self.balance += event.amount
        if self.balance != event.after.pool_balance:
            raise LawBroken(
                f"pool {self.key}: balance {self.balance} computed, {event.after.pool_balance} recorded by "
                f"stream {stream_id} version {event.originator_version}"
            )
        if lot is None:
            self.aggregates[stream_id] = evolved
            self._enter(evolved.lots[event.lot])
        elif lot.balance == 0:
            if was_open:
                self._leave(lot)
        elif not was_open:
            self._enter(lot)

    def forget_closed(self) -> None:
        """Let go of lots that are empty and of grants that have no open lot; a live execution credit stays."""
        if len(self._lots_by_id) == len(self.lots):
            return
        for lot_id, lot in list(self._lots_by_id.items()):
            aggregate = self.aggregates[lot.stream_id]
            if lot.balance == 0 and not (isinstance(aggregate, ExecutionCredit) and aggregate.holds_open(lot)):
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
        self.next_due_at = min(ends, default=FOREVER)

    def renewals_due(self, now: Instant) -> list[ExecutionCredit]:
        """The live renewing credits whose present period has ended by `now`."""
        return [
            aggregate
            for aggregate in self.aggregates.values()
            if isinstance(aggregate, ExecutionCredit) and aggregate.renewal_due(now)
        ]

    def _leave(self, lot: Lot) -> None:
        """Take a lot out of the burn-down order; keys are unique, because they end with the lot's id."""
        del self.lots[bisect_left(self.lots, lot.burn_down_key, key=_by_burn_down)]

    def _enter(self, lot: Lot) -> None:
        self._lots_by_id[lot.lot_id] = lot
        if lot.balance > 0:
            insort(self.lots, lot, key=_by_burn_down)
        self.next_due_at = min(self.next_due_at, lot.expires_at)
