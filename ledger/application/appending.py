"""How a batch's events and keys go to the server: in pieces, while its next commands are decided."""

from collections import deque
from collections.abc import Sequence
from itertools import chain, islice, repeat

from eventsourcing.persistence import EventStore

from ledger.application.batch import Batch
from ledger.application.commands import Command
from ledger.store.recorder import COPY_EVENTS
from ledger.store.side_tables import COPY_KEYS, copy_keys, send_keys
from ledger.store.wire import Wire

COPY_COMMANDS_MIN = 800
"""From this many commands up, COPY is faster than statements (measured; see docs/performance.md)."""
FEW_COMMANDS = 50
"""They go in one statement, unless they have many more events."""
EVENTS_OF_THE_FIRST_STATEMENT = 10
"""The server begins that much sooner; it is what the others wait for."""
EVENTS_OF_A_STATEMENT, EVENTS_OF_A_COPY, EVENTS_OF_A_PIECE = 25, 2_000, 100
"""How many the server is sent at once. A COPY takes several pieces."""


def append_by_statements(
    store: EventStore[str], wire: Wire, batch: Batch, commands: Sequence[Command], events_max: int
) -> None:
    """Nothing is waited for: whether it could be written is seen at the commit."""
    first, keys = FEW_COMMANDS if len(commands) <= FEW_COMMANDS else EVENTS_OF_THE_FIRST_STATEMENT, 0
    for events in batch.decide_all(commands, events_max, chain([first], repeat(EVENTS_OF_A_STATEMENT))):
        store.put(events)
        send_keys(wire, batch.accepted_keys[keys:])
        keys = len(batch.accepted_keys)
        if len(batch.outcomes) < len(commands):
            wire.flush()


def append_by_copy(
    store: EventStore[str], wire: Wire, batch: Batch, commands: Sequence[Command], events_max: int
) -> None:
    """Events and keys in turns: while the server takes them in, more commands are decided."""
    pieces = batch.decide_all(commands, events_max, repeat(EVENTS_OF_A_PIECE))
    ahead, keys = deque(islice(pieces, 1)), 0

    def end_copy() -> None:
        wire.copy_end()
        while not wire.copied() and (piece := next(pieces, None)):
            ahead.append(piece)
        wire.copy_done()

    while ahead:
        wire.copy_begin(COPY_EVENTS)
        events = 0
        while events < EVENTS_OF_A_COPY and (piece := ahead.popleft() if ahead else next(pieces, None)):
            store.put(piece)
            events += len(piece)
        end_copy()
        if keys < len(batch.accepted_keys):
            wire.copy_begin(COPY_KEYS)
            copy_keys(wire, batch.accepted_keys[keys:])
            keys = len(batch.accepted_keys)
            end_copy()
        if not ahead:
            ahead.extend(islice(pieces, 1))
