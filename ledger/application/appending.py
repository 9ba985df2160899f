"""How a batch's events and keys go to the server: in pieces, while its next commands are decided."""

from collections.abc import Sequence
from itertools import chain, islice

from eventsourcing.persistence import EventStore

from ledger.application.batch import Batch
from ledger.application.commands import Command
from ledger.store.recorder import COPY_EVENTS
from ledger.store.side_tables import COPY_KEYS, copy_keys, send_keys
from ledger.store.wire import Wire

COPY_COMMANDS_MIN = 1_500
"""From this many commands up, COPY is faster than statements (measured; see docs/performance.md)."""
EVENTS_OF_A_STATEMENT, EVENTS_OF_A_COPY, EVENTS_OF_A_PIECE = 25, 2_000, 250
"""How many the server is sent at once. A COPY takes several pieces."""
PIECES_AHEAD = 2
"""So many are decided while the server takes in the keys of a COPY's events."""


def append_by_statements(
    store: EventStore[str], wire: Wire, batch: Batch, commands: Sequence[Command], events_max: int
) -> None:
    """Nothing is waited for: whether it could be written is seen at the commit. Few commands go in one statement."""
    few, keys = len(commands) <= 2 * EVENTS_OF_A_STATEMENT, 0
    size = 2 * EVENTS_OF_A_STATEMENT if few else EVENTS_OF_A_STATEMENT
    for events in batch.decide_all(commands, events_max, size):
        store.put(events)
        send_keys(wire, batch.accepted_keys[keys:])
        keys = len(batch.accepted_keys)
        if len(batch.outcomes) < len(commands):
            wire.flush()


def append_by_copy(
    store: EventStore[str], wire: Wire, batch: Batch, commands: Sequence[Command], events_max: int
) -> None:
    """Events and keys in turns: the end of each COPY is waited for when some more commands are decided."""
    pieces = batch.decide_all(commands, events_max, EVENTS_OF_A_PIECE)
    ahead, keys = list(islice(pieces, 1)), 0
    while ahead:
        wire.copy_begin(COPY_EVENTS)
        events = 0
        for piece in chain(ahead, pieces):
            store.put(piece)
            events += len(piece)
            if events >= EVENTS_OF_A_COPY:
                break
        wire.copy_end()
        ahead = list(islice(pieces, 1))
        wire.copy_done()
        if keys < len(batch.accepted_keys):
            wire.copy_begin(COPY_KEYS)
            copy_keys(wire, batch.accepted_keys[keys:])
            keys = len(batch.accepted_keys)
            wire.copy_end()
            ahead += islice(pieces, PIECES_AHEAD)
            wire.copy_done()
