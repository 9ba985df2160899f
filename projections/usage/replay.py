"""Usage, folded by Python: each use in its day, in its hour and at its own instant."""

from collections.abc import Sequence
from datetime import timedelta

from ledger.domain.credits import Credits
from ledger.domain.events import Debited
from ledger.domain.instants import FOREVER
from ledger.domain.values import DocumentId, TransactionId
from projections.replay import USES, EventRow, Replay, Rest
from projections.usage.queries import NO_DIMENSIONS
from projections.usage.windows import HOUR, PointSize, unit_start


class UsageReplay(Replay[Credits]):
    columns = ("kind", "holder", "resource", "grain", "bucket_at", "currency", "dimension_set", "used")
    key_size = 7

    def __init__(self) -> None:
        super().__init__()
        self._dimensions: dict[TransactionId, DocumentId] = {}
        """Of the debits that have some, by their ids: a refund counts where its debit does."""

    def take(self, stretch: Sequence[EventRow]) -> None:
        states = self.states
        day = hour = FOREVER
        for event in stretch:
            if event.type not in USES:
                continue
            self._remember(event)
            use_at, amount, debit_id = event.use_at, event.amount, event.debit_id
            assert use_at is not None
            assert amount is not None
            assert debit_id is not None
            if not timedelta(0) <= use_at - hour < HOUR:  # mostly one use follows the other
                hour, day = unit_start(use_at, PointSize.HOUR), unit_start(use_at, PointSize.DAY)
            pool = (event.kind, event.holder, event.resource or "")
            under = (event.currency, self._dimensions.get(debit_id, NO_DIMENSIONS))
            for at in (("DAY", day), ("HOUR", hour), ("INSTANT", use_at)):
                bucket = pool + at + under
                states[bucket] = states.get(bucket, 0) - amount

    def leave_out(self, event: EventRow) -> None:
        """A refund of it may count nevertheless, under its dimensions."""
        self._remember(event)

    def rest(self, state: Credits) -> Rest:
        return (state,)

    def _remember(self, event: EventRow) -> None:
        if event.document_id is not None and event.debit_id is not None and event.type == Debited.TOPIC:
            self._dimensions[event.debit_id] = event.document_id
