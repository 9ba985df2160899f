"""When to try again: a pure function of how often, and for how long, a holder's messages were not taken."""

from typing import NamedTuple

THREE_DAYS_SECONDS = 3 * 24 * 3600
LONGEST_WAIT_SECONDS = 6 * 3600.0
JITTER = 0.25
ASKED_WAIT_SECONDS_MAX = 3600.0
"""An endpoint may ask to be left alone; this long at most."""


class Trouble(NamedTuple):
    """A holder's messages are not taken: so many attempts in a row failed, the last so long after the first."""

    attempts: int
    failing_seconds: float
    error: str

    def again(self, seconds: float, error: str) -> "Trouble":
        """Another attempt has failed, so many seconds after the last one."""
        return Trouble(self.attempts + 1, self.failing_seconds + seconds, error)


class Schedule(NamedTuple):
    """How patient one is: a message is tried for `retry_seconds`, the first time again after `first_wait_seconds`."""

    retry_seconds: float = THREE_DAYS_SECONDS
    first_wait_seconds: float = 5.0

    def gives_up(self, trouble: Trouble) -> bool:
        """Whether the message that failed last is to be parked; then each one is, until one is taken."""
        return trouble.failing_seconds >= self.retry_seconds

    def wait_seconds(self, trouble: Trouble, chance: float, asked_seconds: float = 0.0) -> float:
        """How long to wait before the next attempt: doubled each time up to six hours, a quarter more or less.

        The last attempt is when the patience ends, not hours later. `chance` is of [0, 1). What the endpoint asked for
        is waited in any case.
        """
        doubled = self.first_wait_seconds * 2.0 ** min(trouble.attempts - 1, 30)
        jittered = min(doubled, LONGEST_WAIT_SECONDS) * (1 - JITTER + 2 * JITTER * chance)
        left = max(self.retry_seconds - trouble.failing_seconds, 0.0)
        return max(min(jittered, left), min(asked_seconds, ASKED_WAIT_SECONDS_MAX))
