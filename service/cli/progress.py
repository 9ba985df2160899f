"""How far long work has come: a bar that is drawn over and over on a terminal, plain lines elsewhere."""

import sys
import time
from math import floor
from typing import TextIO

BAR_WIDTH = 24
TERMINAL_SECONDS = 0.1
LINES_SECONDS = 1.0


class Progress:
    """Tells on stderr how far something has come, with its rate and the time that is left."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        """`quiet`: lines are left out; a terminal shows the bar all the same."""
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._silent = quiet and not self._terminal
        self._tell_at = 0.0
        self._drawn = 0
        self._last = ""

    def tell(self, name: str, phase: str, done: int, total: int, per_second: float | None = None) -> None:
        """`done` of `total` events; a new phase is told at once, the same one now and then."""
        now = time.monotonic()
        what = f"{name} {phase}"
        if self._silent or (what == self._last and now < self._tell_at):
            return
        self._last = what
        self._tell_at = now + (TERMINAL_SECONDS if self._terminal else LINES_SECONDS)
        share = done / total if total else 1.0
        text = f"{name:18}{phase:11}{floor(100 * share):4}%  {done:,} of {total:,}"
        if per_second:
            text += f"  {per_second:,.0f}/s  {_time_left((total - done) / per_second)} left"
        if self._terminal:
            filled = round(share * BAR_WIDTH)
            self._draw(f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {text}")
        else:
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def clear(self) -> None:
        """Take the bar away before something else is printed."""
        if self._drawn:
            self._draw("")
            self._stream.write("\r")
            self._stream.flush()
            self._drawn = 0
        self._last = ""

    def _draw(self, text: str) -> None:
        self._stream.write(f"\r{text.ljust(self._drawn)}")
        self._stream.flush()
        self._drawn = len(text)


def _time_left(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
