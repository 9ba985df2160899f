"""Bounds of the writer; every queue, every batch and every wait has one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WriterLimits:
    """See each bound. Times in the unit that its name ends with."""

    queued_commands_max: int = 100_000
    """More than this are refused (QueueFull); a single list that is longer is taken when nothing else waits."""
    batch_commands_max: int = 8_000
    batch_events_max: int = 8_000
    """A batch ends with the command that reaches this; the rest of its commands make the next one."""
    batch_list_commands_max_beside_singles: int = 1_000
    cached_pools_max: int = 50_000
    catch_up_events_max: int = 20_000
    """Farther behind than this, the cache is dropped instead of being brought up to date."""
    lock_wait_milliseconds_max: int = 2_000
    idle_in_transaction_milliseconds_max: int = 2_000
    outage_seconds_max: float = 30.0
    """How long a batch waits for a database that is away, before its callers hear LedgerUnavailable."""

    def __post_init__(self) -> None:
        if min(vars(self).values()) <= 0:
            raise ValueError("every limit must be above zero")
