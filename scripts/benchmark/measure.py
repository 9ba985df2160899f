"""One measurement, and one row of the report: how many in how long, how long each took, and what it cost."""

import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Processors(NamedTuple):
    """Seconds of the processors that some work took, from start to end; None where nobody can tell."""

    python: float | None = None
    """Of the ledger's own process: this one, or that of the service."""
    postgresql: float | None = None
    """Of all processes of the server."""
    client: float | None = None
    """Of who asked, where that is a process of its own."""


UNKNOWN = Processors()


@dataclass(frozen=True)
class Measurement:
    """`count` things in `seconds`; `latencies` in seconds, of each answer that a caller waited for."""

    count: int
    seconds: float
    latencies: Sequence[float]
    processors: Processors = UNKNOWN

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    def microseconds(self) -> Processors:
        """What one thing cost."""
        return Processors(*(None if seconds is None else 1e6 * seconds / self.count for seconds in self.processors))


def merged(parts: Sequence[Measurement]) -> Measurement:
    """Several measurements of the same as one."""
    costs = zip(*(part.processors for part in parts), strict=True)
    return Measurement(
        sum(part.count for part in parts),
        sum(part.seconds for part in parts),
        [latency for part in parts for latency in part.latencies],
        Processors(*(_sum(each) for each in costs)),
    )


def _sum(seconds: Iterable[float | None]) -> float | None:
    known = [each for each in seconds if each is not None]
    return sum(known) if known else None


def ratios(runs: Sequence[Measurement], yardstick: Sequence[Measurement]) -> list[float]:
    """Run by run, the rate to that of a yardstick of the same run."""
    return [run.per_second / other.per_second for run, other in zip(runs, yardstick, strict=True)]


@dataclass(frozen=True)
class Target:
    """What the design asks for, in words, and whether each run met it. It is kept where every run did."""

    text: str
    met: Sequence[bool]

    @property
    def kept(self) -> bool:
        return len(self.met) > 0 and all(self.met)

    def told(self) -> str:
        return f"{sum(self.met)} of {len(self.met)}"


def at_least(figures: Iterable[float], bound: float, text: str | None = None) -> Target:
    return Target(text or f"{bound:,.0f}", [figure >= bound for figure in figures])


def at_most(figures: Iterable[float], bound: float, text: str) -> Target:
    return Target(text, [figure <= bound for figure in figures])


def verdict(must: Target | None, aim: Target | None) -> str:
    """The best that every run met, and how many runs met what; nothing where the design asks for nothing."""
    if must is None:
        return ""
    if not must.kept:
        return f"below must: {must.told()}"
    if aim is None:
        return f"must {must.told()}"
    return f"aim {aim.told()}" if aim.kept else f"must {must.told()}, aim {aim.told()}"


@dataclass(frozen=True)
class Row:
    """The runs of one row of the report; it shows medians. `beside` has further figures of each run, by their names."""

    name: str
    runs: Sequence[Measurement]
    must: Target | None = None
    aim: Target | None = None
    beside: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        return statistics.median(run.per_second for run in self.runs)

    @property
    def p50_ms(self) -> float:
        return statistics.median(run.percentile_ms(0.50) for run in self.runs)

    @property
    def p99_ms(self) -> float:
        return statistics.median(run.percentile_ms(0.99) for run in self.runs)

    @property
    def microseconds(self) -> Processors:
        costs = zip(*(run.microseconds() for run in self.runs), strict=True)
        known = ([each for each in cost if each is not None] for cost in costs)
        return Processors(*(statistics.median(each) if each else None for each in known))


@dataclass(frozen=True)
class Comparison:
    """Two rows that the design compares with each other: the ratio in each run, and what it must be."""

    name: str
    ratios: Sequence[float]
    must: Target

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def progress(text: str) -> None:
    """Tell on stderr what is measured now."""
    print(text, file=sys.stderr, flush=True)
