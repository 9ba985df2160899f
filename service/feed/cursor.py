"""The one cursor of all subscriptions: an epoch and a position in it, as one opaque text."""

import base64
import uuid
from functools import lru_cache
from typing import NamedTuple

from ledger.domain.refusals import InvalidArgument
from ledger.store.epochs import Identity
from service.feed.refusals import CursorBeyondHead, CursorOfAnotherEpoch, CursorOfUnknownEpoch

CHARACTERS = 32
POSITION_BYTES = 8
POSITION_DIGITS_MAX = 18


class Cursor(NamedTuple):
    """Everything up to `position` has been seen, as it was in `epoch`."""

    epoch: str
    position: int

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(_epoch_bytes(self.epoch) + self.position.to_bytes(POSITION_BYTES)).decode()


def cursor_of(text: str, *, field: str) -> Cursor:
    """Read a cursor. Refuses: InvalidArgument, for what was never given out as one."""
    try:
        given = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except ValueError:
        given = b""
    if len(text) != CHARACTERS or len(given) != CHARACTERS * 3 // 4:
        raise InvalidArgument(field, "must be a cursor as an answer gave it, the digits of a position, or latest")
    return Cursor(str(uuid.UUID(bytes=given[:-POSITION_BYTES])), int.from_bytes(given[-POSITION_BYTES:]))


def place_of(cursor: Cursor, log: Identity, head: int) -> int:
    """The position to go on after. Refuses: CursorOfAnotherEpoch, CursorOfUnknownEpoch, CursorBeyondHead."""
    if cursor.epoch != log.present:
        common = log.last_common(cursor.epoch, cursor.position)
        refusal = CursorOfAnotherEpoch if log.knows(cursor.epoch) else CursorOfUnknownEpoch
        raise refusal(common, str(Cursor(log.present, common)))
    if cursor.position > head:
        raise CursorBeyondHead(head, str(Cursor(log.present, head)))
    return cursor.position


@lru_cache(maxsize=16)
def _epoch_bytes(epoch: str) -> bytes:
    return uuid.UUID(epoch).bytes
