"""What a writer tells whoever watches it. By default nobody does, and nothing is told."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from ledger.domain.events import LedgerEvent


class BatchDone(NamedTuple):
    """A batch that was carried out, told once and only when its events, if it has any, are known to be committed.

    A try that failed is not told of, nor is a batch of which nobody knows what became of it.
    """

    commands: int
    hits: int
    """How many of the commands were answered from their idempotency key."""
    events: Sequence[LedgerEvent]
    """What was appended; of a batch whose commands were all refused or answered before, nothing."""
    seconds: float
    """From the first event sent to the commit known; what many commands' deciding takes meanwhile is part of it."""


BatchWatcher: TypeAlias = Callable[[BatchDone], None]
"""Called by the writer's thread before anybody is answered: it must be quick and never fail."""
