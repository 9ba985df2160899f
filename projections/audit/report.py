"""The report of a replay: which ledger, how far, check by check what was found, and what it all comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ledger.domain.audit.findings import Check
from projections.audit.comparison import Comparison


@dataclass(frozen=True)
class EarlierCheck:
    """Whether an earlier replay came to the same at its position, and if not, the first number that differs."""

    position: int
    difference: str | None


@dataclass(frozen=True)
class ReplayReport:
    """What a replay found. `numbers` are those that a later replay is held against; `recorded_at`: the last event's."""

    ledger_id: str
    epoch: str
    position: int
    recorded_at: str | None
    seconds: float
    processes: int
    numbers: Mapping[str, Any]
    checks: Sequence[Check]
    comparisons: Sequence[Comparison]
    earlier: EarlierCheck | None

    @property
    def passed(self) -> bool:
        found = sum(check.faults for check in self.checks) + sum(each.differences for each in self.comparisons)
        return found == 0 and (self.earlier is None or self.earlier.difference is None)

    def data(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "ledger": self.ledger_id,
            "epoch": self.epoch,
            "position": self.position,
            "recordedAt": self.recorded_at,
            "seconds": round(self.seconds, 3),
            "eventsPerSecond": round(self.events_per_second),
            "processes": self.processes,
            "checks": [
                {
                    "check": check.name,
                    "passed": check.faults == 0,
                    "seen": check.seen,
                    "faults": check.faults,
                    "first": None if check.first is None else check.first._asdict(),
                }
                for check in self.checks
            ],
            "comparisons": [_compared(each) for each in self.comparisons],
            "earlierReplay": None
            if self.earlier is None
            else {"passed": self.earlier.difference is None, **asdict(self.earlier)},
            "numbers": self.numbers,
            "passed": self.passed,
        }

    @property
    def events_per_second(self) -> float:
        events: int = self.numbers["events"]
        return events / max(self.seconds, 1e-6)


def _compared(comparison: Comparison) -> dict[str, Any]:
    """`passed` is null where nothing was compared."""
    first = comparison.first
    return {
        "projection": comparison.name,
        "passed": None if comparison.position is None else comparison.differences == 0,
        "position": comparison.position,
        "by": comparison.by,
        "rows": comparison.rows,
        "differences": comparison.differences,
        "first": None if first is None else {**first._asdict(), "key": dict(first.key)},
    }
