"""A decision: the events of one command so far, and the state they leave behind.

Deciding changes nothing. A decision reads the pool as it is, and where a later event of the same command depends on an
earlier one, it reads the earlier event's own account of the state after it. The events are built here and nowhere
else, for grants and execution credits alike, so that law 1 is written once.
"""

from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from typing import Any

from ledger.domain.burn_down import RecordedDebit, burn_down, unwind
from ledger.domain.credits import Credits
from ledger.domain.events import (
    Debited,
    DefinitionEvent,
    Expired,
    GrantChange,
    Granted,
    LedgerEvent,
    Refunded,
    Voided,
)
from ledger.domain.execution_credit import ExecutionCredit
from ledger.domain.grant_details import GrantDetails
from ledger.domain.instants import Instant
from ledger.domain.lots import Lot
from ledger.domain.pool import Pool
from ledger.domain.values import (
    After,
    Cause,
    DocumentReference,
    LotId,
    StreamId,
    Terms,
    Transaction,
    TransactionId,
    new_tuple,
)

CONSUMED = Cause.CONSUMED
"""Looked up once: an enumeration's member costs what three names do."""


class Decision:
    """Collects the events of one command on one pool. `now` is the transaction's recorded_at."""

    __slots__ = ("_after", "_lots", "_versions", "events", "new_id", "now", "pool", "pool_balance", "transaction")

    def __init__(self, pool: Pool, transaction: Transaction, new_id: Callable[[], str]) -> None:
        self.pool = pool
        self.transaction = transaction
        self.new_id = new_id
        self.now: Instant = transaction.recorded_at
        self.events: list[LedgerEvent] = []
        self.pool_balance: Credits = pool.balance
        self._after: dict[LotId, After] = {}
        self._lots: dict[LotId, Lot] = {}
        self._versions: dict[StreamId, int] = {}

    def begin(self, transaction: Transaction) -> None:
        """Go on with another transaction's events on the state reached so far (what is due comes first)."""
        self.transaction = transaction

    def begin_another(self, document: DocumentReference | None) -> None:
        """Go on with a transaction of its own, like the present one but for its id and its texts."""
        self.transaction = self.transaction._replace(transaction_id=TransactionId(self.new_id()), document=document)

    def lots(self) -> list[Lot]:
        """The pool's open lots in burn-down order, as they are after the events so far."""
        if not self._after:
            return self.pool.lots
        known = {lot.lot_id: lot for lot in self.pool.lots} | self._lots
        return sorted(map(self.present, known.values()), key=attrgetter("burn_down_key"))

    def present(self, lot: Lot) -> Lot:
        """This lot as it is after the events so far."""
        lot = self._lots.get(lot.lot_id, lot)
        after = self._after.get(lot.lot_id)
        if after is None:
            return lot
        return replace(lot, granted=after.granted, used=after.used, balance=after.balance)

    def present_lot(self, credit: ExecutionCredit) -> Lot:
        """The lot of the credit's present period, which a renewal earlier in this decision may have opened."""
        opened = [lot for lot in self._lots.values() if lot.stream_id == credit.stream_id]
        return self.present(opened[-1] if opened else credit.present_lot)

    def grant(
        self,
        lot: Lot,
        amount: Credits,
        terms: Terms,
        *,
        cause: Cause,
        effective_at: Instant,
        details: GrantDetails | None = None,
    ) -> Lot:
        """Credits come into `lot`, which may be new; its terms are `terms` from now on. Returns it with these terms."""
        granted, used, balance = self._state(lot)
        version = self._next_version(lot.stream_id)
        lot = self._lots[lot.lot_id] = replace(lot, terms=terms, terms_version=version)
        after = self._after_move(lot, amount, (granted + amount, used, balance + amount))
        values = self._movement(lot, version, amount, after, cause, effective_at)
        self.events.append(Granted.of(**values, terms=terms, grant=details))
        return lot

    def change(
        self, event_type: type[GrantChange], lot: Lot, terms: Terms, details: GrantDetails, *, cause: Cause
    ) -> None:
        """A grant is as told from now on; no credit moves."""
        version = self._next_version(lot.stream_id)
        self._lots[lot.lot_id] = replace(lot, terms=terms, terms_version=version, details=details)
        after = self._after_move(lot, 0, self._state(lot))
        self.events.append(
            event_type.of(  # type: ignore[arg-type]  # one of the two there are
                originator_id=lot.stream_id,
                originator_version=version,
                transaction=self.transaction,
                pool=lot.pool,
                lot=lot.lot_id,
                grant_type=lot.grant_type,
                effective_at=self.now,
                cause=cause,
                terms_version=version,
                after=after,
                terms=terms,
                grant=details,
            )
        )

    def debit(self, amount: Credits, use_at: Instant, account_groups: tuple[str, ...] | None) -> None:
        """Draw `amount` from the usable lots in burn-down order, all or nothing; one event for each lot drawn from.

        A draw counts at the use, but never before its lot begins. Refuses: InsufficientCredits.
        """
        transaction = self.transaction
        for lot, part in burn_down(self.lots(), amount, self.now):
            self.pool_balance = pool_balance = self.pool_balance - part
            after = new_tuple(After, (lot.granted, lot.used + part, lot.balance - part, pool_balance))
            self._after[lot.lot_id] = after
            begun_at = lot.effective_at
            self.events.append(
                Debited.made_of(
                    {
                        "originator_id": lot.stream_id,
                        "originator_version": self._next_version(lot.stream_id),
                        "transaction": transaction,
                        "pool": lot.pool,
                        "lot": lot.lot_id,
                        "grant_type": lot.grant_type,
                        "amount": -part,
                        "effective_at": max(use_at, begun_at),
                        "use_at": use_at,
                        "cause": CONSUMED,
                        "debit_id": transaction.transaction_id,
                        "account_groups": account_groups,
                        "terms_version": lot.terms_version,
                        "after": after,
                    }
                )
            )

    def refund(self, debit: RecordedDebit, amount: Credits | None) -> list[tuple[LotId, Credits]]:
        """Give a debit back, last drawn first; a lot that has ended is restored and at once ended again, dated now.

        The refund carries the debit's use and groups: usage falls where it had risen. Refuses: RefundExceedsDebit.
        """
        returned = unwind(debit.draws, amount)
        for lot_id, part in returned:
            lot = self.pool.lot(lot_id)
            granted, used, balance = self._state(lot)
            after = self._after_move(lot, part, (granted, used - part, balance + part))
            effective_at = max(self.now, lot.effective_at)
            version = self._next_version(lot.stream_id)
            values = self._movement(lot, version, part, after, Cause.REFUNDED, effective_at)
            values |= {"use_at": debit.use_at, "debit_id": debit.debit_id, "account_groups": debit.account_groups}
            self.events.append(Refunded.of(**values))
            if lot.ended_at(self.now):
                ending = Voided if lot.voided else Expired
                self.take_out(ending, lot, part, cause=Cause.REFUND, effective_at=effective_at)
        return returned

    def take_out(
        self,
        event_type: type[Voided] | type[Expired],
        lot: Lot,
        amount: Credits,
        *,
        cause: Cause,
        effective_at: Instant,
        rolled_over_to: StreamId | None = None,
    ) -> None:
        """Credits leave the lot unused: by decision (Voided) or because it has ended (Expired)."""
        granted, used, balance = self._state(lot)
        after = self._after_move(lot, -amount, (granted, used, balance - amount))
        version = self._next_version(lot.stream_id)
        values = self._movement(lot, version, -amount, after, cause, effective_at)
        if event_type is Expired:
            values["rolled_over_to"] = rolled_over_to
        self.events.append(event_type.of(**values))

    def define(self, event_type: type[DefinitionEvent], stream_id: StreamId, **definition: object) -> None:
        """An execution credit, a grant schedule or an automatic recharge is as told from now on."""
        self.events.append(
            event_type.of(
                originator_id=stream_id,
                originator_version=self._next_version(stream_id),
                transaction=self.transaction,
                pool=self.pool.key,
                **definition,
            )
        )

    def _after_move(self, lot: Lot, amount: Credits, state: tuple[Credits, Credits, Credits]) -> After:
        """Keep what a movement leaves behind, for the events that follow it; `amount` is signed."""
        self.pool_balance += amount
        after = self._after[lot.lot_id] = After(*state, self.pool_balance)
        return after

    def _movement(
        self, lot: Lot, version: int, amount: Credits, after: After, cause: Cause, effective_at: Instant
    ) -> dict[str, Any]:
        """The values of a movement that is not a use. (A debit has its own, because it is on every path.)"""
        return {
            "originator_id": lot.stream_id,
            "originator_version": version,
            "transaction": self.transaction,
            "pool": lot.pool,
            "lot": lot.lot_id,
            "grant_type": lot.grant_type,
            "amount": amount,
            "effective_at": effective_at,
            "use_at": None,
            "cause": cause,
            "debit_id": None,
            "account_groups": None,
            "terms_version": lot.terms_version,
            "after": after,
        }

    def _state(self, lot: Lot) -> tuple[Credits, Credits, Credits]:
        after = self._after.get(lot.lot_id)
        if after is None:
            return lot.granted, lot.used, lot.balance
        return after[:3]

    def _next_version(self, stream_id: StreamId) -> int:
        version = self._versions.get(stream_id)
        if version is None:
            version = self.pool.version(stream_id)
        version += 1
        self._versions[stream_id] = version
        return version
