"""What the length of a lot's history does to its next debit: a new lot beside one that has been debited many times."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ledger.application import CreditLedger
from scripts.benchmark.debits import Pools, by_callers, by_lists, in_turns, one_by_one
from scripts.benchmark.measure import Comparison, Measurement, Row, at_least, merged, progress, ratios
from scripts.benchmark.processors import Meter

LENGTHS = (1, 1_000, 10_000, 100_000)
"""Debits on the lot before those that are timed; and then the longest, which is asked for."""
SHORT = 1_000
"""A lot of at most so many is made anew each time: those that are timed would make another of it."""
TIMED = 100
LIST_LENGTH = 8_000
TURNS = 4
"""In each run, on both lots; together twice as long as another row's, since they are held to a tenth."""
RATIO_MIN = 0.90


@dataclass(frozen=True)
class History:
    """Run by run: one caller on a new lot, on the longest, and the debits after each length."""

    length: int
    first: list[Measurement]
    later: list[Measurement]
    after: dict[int, list[Measurement]]

    @property
    def line(self) -> list[tuple[int, float]]:
        """The length of the history, and the milliseconds of a debit after it at p50."""
        return [
            (length, statistics.median(run.percentile_ms(0.50) for run in runs)) for length, runs in self.after.items()
        ]

    @property
    def comparison(self) -> Comparison:
        each = ratios(self.later, self.first)
        return Comparison(
            "the debit after a long history to the first", each, at_least(each, RATIO_MIN, f"{RATIO_MIN:.2f}")
        )

    def rows(self, yardstick: Sequence[Measurement]) -> list[Row]:
        return [
            Row(name, runs, beside={"of one-row INSERT": ratios(runs, yardstick)})
            for name, runs in (
                ("debits on a fresh lot, 1 caller", self.first),
                (f"debits after {self.length:,} on one lot, 1 caller", self.later),
            )
        ]


def measure_history(ledger: CreditLedger, meter: Meter, runs: int, seconds: float, history: int) -> History:
    """The first debits on a lot against those after so many, and some lengths between, in turns."""
    lengths = [length for length in LENGTHS if length < history] + [history]
    progress(f"{history:,} debits on one lot")
    long = {length: _after(ledger, length) for length in lengths if length > SHORT}
    oldest = long.get(history) or _after(ledger, history)
    told = History(history, [], [], {length: [] for length in lengths})
    for run in range(runs):
        progress(f"run {run + 1} of {runs}: debits on a fresh lot and after {history:,}")
        both = [partial(_measure, meter, ledger, kept, 2 * seconds / TURNS) for kept in (None, oldest)]
        of_first, of_later = in_turns(both[0], both[1], TURNS)
        told.first.append(of_first)
        told.later.append(of_later)
        parts: dict[int, list[Measurement]] = {length: [] for length in lengths}
        for turn in range(TURNS):
            for length in lengths[:: -1 if turn % 2 else 1]:
                parts[length].append(one_by_one(long.get(length) or _after(ledger, length), TIMED))
        for length, done in parts.items():
            told.after[length].append(merged(done))
    return told


def _measure(meter: Meter, ledger: CreditLedger, kept: Pools | None, seconds: float) -> Measurement:
    pools = kept or Pools(ledger, 1)
    return meter.measure(partial(by_callers, pools, 1, seconds))


def _after(ledger: CreditLedger, length: int) -> Pools:
    pools = Pools(ledger, 1)
    full, rest = divmod(length, LIST_LENGTH)
    if full:
        by_lists(pools, LIST_LENGTH, full)
    if rest:
        by_lists(pools, rest, 1)
    return pools
