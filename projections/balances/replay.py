"""Balances, folded by Python."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.domain.credits import Credits
from ledger.domain.events import Debited, Expired, Granted, Refunded, Voided
from projections.replay import EventRow, Replay, Rest


@dataclass(slots=True)
class BalanceState:
    granted: Credits = 0
    debited: Credits = 0
    refunded: Credits = 0
    voided: Credits = 0
    expired: Credits = 0
    position: int = 0

    @property
    def balance(self) -> Credits:
        """Law 1, summed over the lots of the pool."""
        return self.granted - self.debited + self.refunded - self.voided - self.expired


class BalancesReplay(Replay[BalanceState]):
    columns = (
        *("kind", "holder", "currency", "resource"),
        *("granted", "debited", "refunded", "voided", "expired", "balance", "position"),
    )
    key_size = 4

    def take(self, stretch: Sequence[EventRow]) -> None:
        for event in stretch:
            amount = event.amount
            if amount is None:
                continue
            pool = (event.kind, event.holder, event.currency, event.resource)
            state = self.states.get(pool)
            if state is None:
                state = self.states[pool] = BalanceState()
            match event.type:
                case Debited.TOPIC:
                    state.debited -= amount
                case Granted.TOPIC:
                    state.granted += amount
                case Refunded.TOPIC:
                    state.refunded += amount
                case Voided.TOPIC:
                    state.voided -= amount
                case Expired.TOPIC:
                    state.expired -= amount
            state.position = event.position

    def rest(self, state: BalanceState) -> Rest:
        return (
            *(state.granted, state.debited, state.refunded, state.voided, state.expired),
            *(state.balance, state.position),
        )
