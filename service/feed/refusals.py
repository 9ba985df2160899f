"""How the feed turns somebody down."""

from dataclasses import dataclass

from ledger.domain.refusals import Refusal


@dataclass(eq=False)
class CursorOfAnotherEpoch(Refusal):
    """What came after the last common position is to be undone; then one goes on with the last common cursor."""

    code = "CursorOfAnotherEpoch"
    last_common_position: int
    last_common_cursor: str

    @property
    def message(self) -> str:
        return (
            "the cursor is of another epoch: the ledger was restored since. What was read up to position "
            f"{self.last_common_position} is still so; undo what came after it and go on with lastCommonCursor"
        )


@dataclass(eq=False)
class CursorOfUnknownEpoch(Refusal):
    """Whose cursor it is cannot be known, so nothing is known to be common."""

    code = "CursorOfUnknownEpoch"
    last_common_position: int
    last_common_cursor: str

    @property
    def message(self) -> str:
        return (
            "the cursor is of an epoch that this ledger never had: of another ledger, or mangled, or of a time that a "
            "restore has undone. Make sure whose it is before anything is undone"
        )


@dataclass(eq=False)
class CursorBeyondHead(Refusal):
    """The log has not come so far, or does no more: then what came after its head is to be undone."""

    code = "CursorBeyondHead"
    last_common_position: int
    last_common_cursor: str

    @property
    def message(self) -> str:
        return f"the cursor is beyond the head of the log, which is at position {self.last_common_position}"


@dataclass(eq=False)
class NotAcceptable(Refusal):
    code = "NotAcceptable"
    offered: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"events are given as {' or '.join(self.offered)}"


@dataclass(eq=False)
class EventTypeUnknown(Refusal):
    code = "EventTypeUnknown"
    type: str

    @property
    def message(self) -> str:
        return f"there is no event type {self.type}"


@dataclass(eq=False)
class TooManySubscribers(Refusal):
    code = "TooManySubscribers"
    subscribers_max: int

    @property
    def message(self) -> str:
        return f"there are {self.subscribers_max} subscribers already: try again"
