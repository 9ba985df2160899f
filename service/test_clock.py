"""The test clock: in test mode users set the one clock, and find everything done that falls due by then."""

import time

from ledger.domain.instants import Instant
from ledger.domain.refusals import PositionNotReached
from ledger.store.clock import set_test_clock
from projections.reading import Snapshot
from service.parts import Parts
from service.reads import Reads

SETTLING_SECONDS_MAX = 30.0


async def read_clock(parts: Parts) -> Instant:
    """What an operation's *now* would be."""

    def work() -> Instant:
        with parts.ledger.connection() as connection:
            return parts.ledger.clock.now(connection)

    return await parts.threads.run(work)


async def set_clock(parts: Parts, instant: Instant) -> None:
    """Set the clock, do every background act that falls due by then, and wait until reads show it.

    Refuses: ClockWouldGoBack; PositionNotReached, where nobody follows the log.
    """

    def work() -> None:
        with parts.ledger.connection() as connection:
            set_test_clock(connection, instant)

    await parts.reactors.act()  # what has come up at the present instant is not skipped by a leap over it
    await parts.threads.run(work)
    await parts.reactors.act()
    await _read_models_at_the_head(parts)


async def _read_models_at_the_head(parts: Parts) -> None:
    deadline = time.monotonic() + SETTLING_SECONDS_MAX
    head = (await parts.threads.read(parts.reader.progress)).head
    while True:
        reads = Reads(parts.reader, parts.threads, at_least=head)
        try:
            await reads.ask(_nothing)
            return
        except PositionNotReached:
            if time.monotonic() > deadline:
                raise
        finally:
            await reads.close()


def _nothing(snapshot: Snapshot) -> None:
    """The question of someone who only wants the snapshot to be there."""
