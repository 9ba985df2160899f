"""Lots, folded by Python."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from ledger.domain.credits import Credits, credits_of
from ledger.domain.events import Expired, Granted, Voided
from ledger.domain.instants import Instant
from ledger.domain.lots import ENDS_FOR_GOOD
from ledger.domain.values import Cause, DocumentId, StreamId
from projections.replay import USES, EventRow, LotReplay, Rest


@dataclass(slots=True)
class LotState:
    """What a lot's row holds, in the order of the columns; what its first event does not tell is None."""

    stream_id: StreamId
    kind: str
    holder: str
    currency: str
    resource: str | None
    grant_type: str | None
    readable_id: str | None = None
    cost_amount: int | None = None
    cost_currency: str | None = None
    document_id: DocumentId | None = None
    effective_at: Instant | None = None
    expires_at: Instant | None = None
    created_at: Instant | None = None
    updated_at: Instant | None = None
    priority: Credits | None = None
    awaiting_payment: bool | None = None
    granted: Credits = 0
    used: Credits = 0
    voided: Credits = 0
    expired: Credits = 0
    balance: Credits = 0
    voided_at: Instant | None = None
    lowered: Credits = 0
    opened_at: Instant | None = None
    details: Any = None
    rolled_over_to: StreamId | None = None
    first_position: int = 0
    last_position: int = 0

    def follow(self, event: EventRow) -> None:
        """Take in one event of this lot. Its amounts are added up by law 1, not taken at the event's word."""
        if event.lot_created_at is not None:
            self._take_terms(event)
        if event.grant_details is not None:
            self._take_details(event.grant_details)
        self.add(event)
        if event.type == Voided.TOPIC:
            self._void(event)
        elif event.type == Expired.TOPIC:
            self.expired -= event.amount or 0
            self.rolled_over_to = self.rolled_over_to or event.rolled_over_to
        self.balance = self.granted - self.used - self.voided - self.expired
        self.updated_at, self.last_position = event.recorded_at, event.position

    def add(self, event: EventRow) -> None:
        """Count what is granted and used by an event, also by one that is left out: the next one tells of it, too."""
        if event.type == Granted.TOPIC:
            self.granted += event.amount or 0
        elif event.type in USES:
            self.used -= event.amount or 0

    def _take_terms(self, event: EventRow) -> None:
        if self.awaiting_payment and not event.lot_awaiting_payment:
            self.opened_at = self.opened_at or event.recorded_at
        self.effective_at, self.expires_at = event.lot_effective_at, event.lot_expires_at
        self.created_at = self.created_at or event.lot_created_at
        self.priority, self.awaiting_payment = event.lot_priority, event.lot_awaiting_payment
        self.document_id = event.grant_document_id or self.document_id

    def _take_details(self, details: Any) -> None:
        if self.details is None:
            self.readable_id = details["readable_id"]
            self.cost_amount = credits_of(details["cost"]["amount"])
            self.cost_currency = details["cost"]["currency"]
        self.details = details

    def _void(self, event: EventRow) -> None:
        amount = -(event.amount or 0)
        self.voided += amount
        if event.cause == Cause.RESIZED:
            self.lowered += amount
        if event.cause in ENDS_FOR_GOOD:
            self.voided_at = self.voided_at or event.recorded_at


NAMES = tuple(field.name for field in fields(LotState))
row_of = attrgetter(*NAMES)


class LotsReplay(LotReplay[LotState]):
    columns = ("lot", *NAMES)

    def take(self, stretch: Sequence[EventRow]) -> None:
        for event in stretch:
            if event.lot is None:
                continue
            key = (event.lot,)
            state = self.states.get(key)
            if state is None:
                pool = (event.kind, event.holder, event.currency, event.resource)
                state = LotState(event.stream_id, *pool, event.grant_type, first_position=event.position)
                self.states[key] = state
            for left_out in self.left_out_before(event):
                state.add(left_out)
            state.follow(event)

    def rest(self, state: LotState) -> Rest:
        row: Rest = row_of(state)
        return row
