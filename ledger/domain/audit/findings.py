"""What an audit found: by check how much was looked at, how many faults there were, and the first of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ledger.domain.audit.lines import Line

CHECKS = {
    "positions": "positions are gapless from 1",
    "time": "the time of recording never goes back",
    "transactions": "the events of a transaction stand together and share its facts",
    "topics": "every event is of a known type and schema version; what gives terms or defines validates",
    "streams": "versions are gapless from 1, and each stream begins as it may",
    "lot-law": "granted - debited + refunded - voided - expired = booked, never below 0",
    "pool-law": "a pool's balance is the sum of its lots'",
    "signs": "an amount has the sign and the cause of its type",
    "terms": "each event of a lot names the one that holds its terms",
    "burn-down": "the draws of a debit follow the burn-down order",
    "usable": "nothing is drawn from a lot that is not usable",
    "due-first": "what is due on a pool comes before all else, once",
    "dates": "events count when the laws say",
    "refunds": "never more comes back than was drawn, the last drawn first",
    "rollovers": "what rolls over arrives, with its share of the cost",
    "schedules": "each part is granted once, in order, with its share",
    "renewals": "each billing period follows the one before it",
    "definitions": "schedules, recharges, rules and execution credits follow from what they were",
}
"""Every check, in the order of a report, and the law that it holds the log to."""


class Fault(NamedTuple):
    """An event that breaks a law: where it is, what it says, and what it should say."""

    position: int
    stream_id: str
    version: str
    says: str
    should: str


@dataclass(slots=True)
class Check:
    """`seen` counts what was looked at."""

    name: str
    seen: int = 0
    faults: int = 0
    first: Fault | None = None

    def add(self, other: "Check") -> None:
        """Take in what the same check found elsewhere; the first fault is the one at the lowest position."""
        self.seen += other.seen
        self.faults += other.faults
        if other.first is not None and (self.first is None or other.first.position < self.first.position):
            self.first = other.first


@dataclass(slots=True)
class Findings:
    """The checks of a fold so far, by name."""

    checks: dict[str, Check] = field(default_factory=lambda: {name: Check(name) for name in CHECKS})

    def look(self, name: str, count: int = 1) -> None:
        self.checks[name].seen += count

    def fault(self, name: str, line: Line, says: str, should: str) -> None:
        """Count a fault, and keep it if it is the first."""
        position = int(line.position) if line.position.lstrip("-").isdecimal() else 0
        fault = Fault(position, line.stream_id, line.version, says, should)
        self.checks[name].add(Check(name, faults=1, first=fault))

    def add(self, others: Iterable["Findings"]) -> None:
        """Take in what was found in other parts of the log."""
        for other in others:
            for name, check in other.checks.items():
                self.checks[name].add(check)
