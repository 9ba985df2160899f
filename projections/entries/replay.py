"""Entries, folded by Python: whose an event is says the event itself, so each is compared as the log goes by."""

from collections.abc import Sequence

from ledger.domain.events import Expired
from ledger.domain.values import Cause
from projections.entries.queries import ROLLED_OVER
from projections.replay import EventRow, Replay, Rest


class EntriesReplay(Replay[tuple[str, str, str, str, str]]):
    columns = ("position", "kind", "holder", "resource", "currency", "type")
    by_position = True

    def take(self, stretch: Sequence[EventRow]) -> None:
        for event in stretch:
            if event.lot is not None:
                rolled_over = event.cause == Cause.ROLLED_OVER and event.type == Expired.TOPIC
                self.states[event.position,] = (
                    *(event.kind, event.holder, event.resource or "", event.currency),
                    ROLLED_OVER if rolled_over else event.type,
                )

    def rest(self, state: tuple[str, str, str, str, str]) -> Rest:
        return state
