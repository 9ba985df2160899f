"""One measurement: how many in how long, and how long each took."""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """`count` things in `seconds`; `latencies` in seconds, of each answer that a caller waited for."""

    count: int
    seconds: float
    latencies: Sequence[float]

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@dataclass(frozen=True)
class Row:
    """The runs of one row of the table; it shows medians. `must` and `aim` are rates, where the design names them."""

    name: str
    runs: Sequence[Measurement]
    must: float | None = None
    aim: float | None = None

    @property
    def per_second(self) -> float:
        return statistics.median(run.per_second for run in self.runs)

    @property
    def p50_ms(self) -> float:
        return statistics.median(run.percentile_ms(0.50) for run in self.runs)

    @property
    def p99_ms(self) -> float:
        return statistics.median(run.percentile_ms(0.99) for run in self.runs)

    def verdict(self) -> str:
        if self.must is None:
            return ""
        if self.per_second < self.must:
            return "below must"
        return "aim" if self.aim is not None and self.per_second >= self.aim else "must"


def progress(text: str) -> None:
    """Tell on stderr what is measured now."""
    print(text, file=sys.stderr, flush=True)
