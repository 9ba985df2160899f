"""Recharges, folded by Python: each as it was last defined."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ledger.domain.events import AutoRechargeDefined
from ledger.domain.instants import Instant, instant_from_text
from projections.replay import EventRow, Replay, Rest


class RechargeState(NamedTuple):
    holder: str
    currency: str
    settings: Any
    done: Any
    created_at: Instant
    saved_at: Instant


class RechargesReplay(Replay[RechargeState]):
    columns = ("configuration", *RechargeState._fields)

    def take(self, stretch: Sequence[EventRow]) -> None:
        for event in stretch:
            if event.type == AutoRechargeDefined.TOPIC:
                assert event.definition is not None
                told = RechargeState(
                    event.holder,
                    event.currency,
                    event.definition["settings"],
                    event.definition["done"],
                    instant_from_text(event.definition["created_at"], field="created_at"),
                    instant_from_text(event.definition["saved_at"], field="saved_at"),
                )
                first = self.states.setdefault((event.stream_id,), told)
                self.states[event.stream_id,] = told._replace(created_at=first.created_at)

    def rest(self, state: RechargeState) -> Rest:
        return state
