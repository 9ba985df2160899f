"""Replay: read models folded a second time, in Python, event by event and by nothing but what the log's view tells."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, LiteralString, NamedTuple, TypeAlias, TypeVar

from ledger.domain.credits import Credits
from ledger.domain.events import Debited, Refunded
from ledger.domain.instants import Instant
from ledger.domain.values import DocumentId, LotId, StreamId, TransactionId

Key: TypeAlias = tuple[Any, ...]
"""The values of a row by which it is found."""
Rest: TypeAlias = tuple[Any, ...]
"""Its other values."""
State = TypeVar("State")
USES = frozenset({Debited.TOPIC, Refunded.TOPIC})
OF_HOLDER: LiteralString = "hashtextextended(holder, 0)"


class EventRow(NamedTuple):
    """An event as the view tells it: the columns that some read model is folded from, by their names."""

    position: int
    transaction_last: int
    stream_id: StreamId
    version: int
    type: str
    recorded_at: Instant
    effective_at: Instant | None
    use_at: Instant | None
    cause: str | None
    kind: str
    holder: str
    currency: str
    resource: str | None
    grant_type: str | None
    lot: LotId | None
    amount: Credits | None
    debit_id: TransactionId | None
    account_groups: tuple[str, ...] | None
    lot_effective_at: Instant | None
    lot_expires_at: Instant | None
    lot_created_at: Instant | None
    lot_priority: Credits | None
    lot_awaiting_payment: bool | None
    grant_details: Mapping[str, Any] | None
    grant_document_id: DocumentId | None
    document_id: DocumentId | None
    rolled_over_to: StreamId | None
    definition: Mapping[str, Any] | None


class Replay(Generic[State]):
    """The second implementation of one fold. `states` has, by key, what the other columns of a row are made of.

    `columns` are all that the table has, the first `key_size` of them the key.
    """

    columns: ClassVar[tuple[str, ...]]
    key_size: ClassVar[int] = 1
    part_of_event: ClassVar[LiteralString | None] = OF_HOLDER
    """SQL for a number by which the log can be replayed part by part, so that not all rows are held at once.

    None: it cannot be, and there are few of them."""
    part_of_row: ClassVar[LiteralString] = OF_HOLDER
    """SQL for the same number of the rows that come of these events."""
    by_position: ClassVar[bool] = False
    """The key is the position of one event, so that its row can be compared and forgotten as the log goes by."""

    def __init__(self) -> None:
        self.states: dict[Key, State] = {}

    def take(self, stretch: Sequence[EventRow]) -> None:
        """Fold a stretch of the log: whole transactions, or what is left of one beside an event that is left out."""
        raise NotImplementedError

    def leave_out(self, event: EventRow) -> None:
        """Pass over an event that this read model leaves out."""

    def rest(self, state: State) -> Rest:
        """The columns of a row behind its key."""
        raise NotImplementedError


class LotReplay(Replay[State]):
    """One whose rows tell what is used of a lot: what an event left out used, the lot's next one tells as well."""

    def __init__(self) -> None:
        super().__init__()
        self._left_out: defaultdict[LotId, list[EventRow]] = defaultdict(list)

    def leave_out(self, event: EventRow) -> None:
        if event.lot is not None:
            self._left_out[event.lot].append(event)

    def left_out_before(self, event: EventRow) -> Sequence[EventRow]:
        """What was left out of this event's lot since the last one that was not."""
        return () if event.lot is None else self._left_out.pop(event.lot, ())
