"""Ids of streams, lots and transactions: UUIDs of version 7, as canonical text."""

import os

from ledger.domain.instants import Instant


class TimeOrderedIds:
    """Makes ids that sort by the instant of their batch.

    RFC 9562, version 7: 48 bits of milliseconds, then 74 random bits, of which the last 48 count up within one batch.
    Formatting a counter costs a tenth of drawing random bytes for each id.
    """

    def __init__(self) -> None:
        self._milliseconds = -1
        self._prefix = ""
        self._counter = 0

    def begin(self, instant: Instant) -> None:
        """Start a batch at `instant`: a new random prefix, unless the last batch was in the same millisecond.

        Then the ids count on, so that what one process makes at one instant sorts in the order in which it was made.
        """
        milliseconds = int(instant.timestamp() * 1000) & (2**48 - 1)
        if milliseconds == self._milliseconds:
            return
        self._milliseconds = milliseconds
        random = int.from_bytes(os.urandom(9), "big")
        time = f"{milliseconds:012x}"
        variant = 0x8000 | (random >> 12 & 0x3FFF)
        self._prefix = f"{time[:8]}-{time[8:]}-7{random & 0xFFF:03x}-{variant:04x}-"
        self._counter = 2**46 | random >> 26 & (2**46 - 1)  # twelve digits, and room to count up without an overflow

    def __call__(self) -> str:
        self._counter += 1
        return f"{self._prefix}{self._counter:x}"
