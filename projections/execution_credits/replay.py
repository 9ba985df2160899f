"""Execution credits, folded by Python: each as it was last defined, with its present billing period."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from operator import attrgetter

from ledger.domain.credits import Credits, credits_from_column
from ledger.domain.events import ExecutionCreditDefined, Granted
from ledger.domain.instants import Instant, instant_from_text
from ledger.domain.values import Cause, DocumentId, Kind, LotId
from projections.replay import USES, EventRow, LotReplay, Rest


@dataclass(slots=True)
class CreditState:
    """What a credit's row holds, in the order of the columns; what its events did not tell yet is None."""

    company: str
    credit_type: str | None = None
    rollup_type: str | None = None
    next_rollup_type: str | None = None
    credits: Credits | None = None
    anchor_at: Instant | None = None
    first_month: int = 0
    created_at: Instant | None = None
    updated_at: Instant | None = None
    deleted_at: Instant | None = None
    document_id: DocumentId | None = None
    lot: LotId | None = None
    ends_at: Instant | None = None
    used: Credits = 0
    version: int = 0

    def use(self, event: EventRow) -> None:
        """Count a use of the present period, also one that is left out: the next event of the lot tells of it, too."""
        if event.type in USES and event.lot == self.lot:
            self.used -= event.amount or 0

    def follow(self, event: EventRow, counts_at: Instant | None) -> None:
        """Take in one event of this credit; it counts as changed at `counts_at`, if that is told."""
        if event.version == 1:
            self.document_id = event.document_id
        if event.type == ExecutionCreditDefined.TOPIC:
            self._define(event)
        elif event.type == Granted.TOPIC:
            self._grant(event)
        self.use(event)
        if counts_at is not None:
            self.updated_at = max(self.updated_at or counts_at, counts_at)
        self.version = event.version

    def _grant(self, event: EventRow) -> None:
        """A period begins with nothing used of it; one whose allotment is raised goes on."""
        if event.lot != self.lot:
            self.used = 0
        self.lot, self.ends_at = event.lot, event.lot_expires_at

    def _define(self, event: EventRow) -> None:
        definition = event.definition
        assert definition is not None
        self.rollup_type, self.next_rollup_type = definition["rollup_type"], definition.get("next_rollup_type")
        self.credits = credits_from_column(definition["credits"])
        self.first_month = definition.get("first_month", 0)
        self.deleted_at = _instant(definition["deleted_at"]) or self.deleted_at
        if self.credit_type is None:
            self.credit_type = definition["credit_type"]
            self.anchor_at, self.created_at = _instant(definition["anchor_at"]), _instant(definition["created_at"])


NAMES = tuple(field.name for field in fields(CreditState))
row_of = attrgetter(*NAMES)


class ExecutionCreditsReplay(LotReplay[CreditState]):
    columns = ("credit", *NAMES)
    part_of_row = "hashtextextended(company, 0)"

    def take(self, stretch: Sequence[EventRow]) -> None:
        """A renewal counts at the period's beginning, and all that comes with it in one transaction."""
        of_credits = (event for event in stretch if event.kind == Kind.EXECUTION_CREDIT)
        for _, together in groupby(of_credits, attrgetter("transaction_last")):
            events = list(together)
            renews = any(event.cause == Cause.RENEWED for event in events)
            for event in events:
                state = self.states.setdefault((event.stream_id,), CreditState(event.holder))
                for left_out in self.left_out_before(event):
                    state.use(left_out)
                state.follow(event, event.effective_at if renews else event.recorded_at)

    def rest(self, state: CreditState) -> Rest:
        row: Rest = row_of(state)
        return row


def _instant(text: str | None) -> Instant | None:
    return None if text is None else instant_from_text(text, field="definition")
