"""A limit on how often a key may ask, on the machine's monotonic clock. Each process counts what it is asked itself."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ledger.domain.refusals import Refusal

WINDOW_SECONDS = 60.0


@dataclass(eq=False)
class RateLimitExceeded(Refusal):
    """Not counted itself: who waits as long as he is told is let in."""

    code = "RateLimitExceeded"
    requests_max: int
    retry_after_seconds: int

    @property
    def message(self) -> str:
        return f"more than {self.requests_max} requests a minute: try again in {self.retry_after_seconds} seconds"


class BucketEmpty(RateLimitExceeded):
    """No token is left in a key's bucket. Told in words of its own."""

    @property
    def message(self) -> str:
        return f"more than {self.requests_max} requests at once: try again in {self.retry_after_seconds} seconds"


class TokenBuckets:
    """A bucket of `burst` tokens for each key, refilled by `per_second` tokens a second; a request takes one."""

    def __init__(self, per_second: int, burst: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self.burst = burst
        self._monotonic = monotonic
        self._left: dict[str, tuple[float, float]] = {}
        """How many tokens each key had left, and when; there are no more keys than were given out."""

    def take(self, key: str) -> int:
        """Take a token; returns how many whole ones are left."""
        left = self._now_left(key) - 1
        if left < 0:
            raise BucketEmpty(self.burst, max(math.ceil(-left / self.per_second), 1))
        self._left[key] = (left, self._monotonic())
        return int(left)

    def _now_left(self, key: str) -> float:
        now = self._monotonic()
        left, at = self._left.get(key, (float(self.burst), now))
        return min(left + (now - at) * self.per_second, float(self.burst))


class RateLimit:
    """At most so many requests of each key in any 60 seconds: in a sliding window, not by the minutes of a clock."""

    def __init__(self, requests_max: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._requests_max = requests_max
        self._monotonic = monotonic
        self._let_in: dict[str, deque[float]] = {}
        """When each key was let in last, oldest first; there are no more keys than were given out."""

    def let_in(self, key: str) -> None:
        """Count one request. Refuses: RateLimitExceeded."""
        now = self._monotonic()
        last = self._let_in.setdefault(key, deque())
        while last and now - last[0] >= WINDOW_SECONDS:
            last.popleft()
        if len(last) >= self._requests_max:
            raise RateLimitExceeded(self._requests_max, max(math.ceil(last[0] + WINDOW_SECONDS - now), 1))
        last.append(now)
