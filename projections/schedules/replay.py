"""Schedules, folded by Python: each as it was last defined, in the place of its first definition."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ledger.domain.events import GrantScheduleDefined
from ledger.domain.values import DocumentId
from projections.replay import EventRow, Replay, Rest


class ScheduleState(NamedTuple):
    holder: str
    currency: str
    resource: str | None
    plan: Any
    document_id: DocumentId | None
    position: int


class SchedulesReplay(Replay[ScheduleState]):
    columns = ("schedule", *ScheduleState._fields)

    def take(self, stretch: Sequence[EventRow]) -> None:
        for event in stretch:
            if event.type == GrantScheduleDefined.TOPIC:
                assert event.definition is not None
                told = ScheduleState(
                    event.holder,
                    event.currency,
                    event.resource,
                    event.definition["plan"],
                    event.document_id,
                    event.position,
                )
                first = self.states.setdefault((event.stream_id,), told)
                self.states[event.stream_id,] = first._replace(plan=told.plan, document_id=told.document_id)

    def rest(self, state: ScheduleState) -> Rest:
        return state
