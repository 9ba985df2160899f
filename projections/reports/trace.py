"""Trace: from a figure, over holders, pools and lots, down to the events that it is made of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeAlias

from ledger.domain.instants import Instant
from projections.reading import Reader
from projections.reports.balances import in_order
from projections.reports.figures import LotFigures
from projections.reports.leaves import ALL, describe
from projections.reports.report import AsOf, Cell
from projections.reports.tree import Branch, More

Facts: TypeAlias = Mapping[str, Cell]
Key: TypeAlias = tuple[str | int, ...]


class Asked(NamedTuple):
    """A figure's two clocks, where its period begins, and at most how many parts of anything are told (0: all)."""

    as_of: AsOf
    start: Instant | None
    leaves: int

    @property
    def parts_max(self) -> int:
        return self.leaves or ALL


class Span(Enum):
    """Which events: those that count before the period, those within it, or both."""

    BEFORE = "before"
    WITHIN = "within"
    UP_TO_END = "up to its end"

    def bounds(self, asked: Asked) -> Mapping[str, Instant | None]:
        """From `start` on, up to `end`, and before `before`; None: without a bound."""
        start = asked.start if self is Span.WITHIN else None
        before = asked.start if self is Span.BEFORE else None
        return {"start": start, "end": asked.as_of.effective_at, "before": before}

    def has(self, counts_at: Instant, asked: Asked) -> bool:
        """Of what counts by the effective clock."""
        begun = asked.start is None or counts_at >= asked.start
        return self is Span.UP_TO_END or begun is (self is Span.WITHIN)


class Part(Protocol):
    """A part of a figure: what events of lots add to it, by what they are."""

    @property
    def name(self) -> str: ...

    def of(self, lot: LotFigures) -> Mapping[str, int]:
        """What a lot's events add to the figure, by their flow; those of which there are none are left out."""

    def find(self, reader: Reader, flows: Sequence["Flow"], asked: Asked) -> None:
        """Put the leaves below the branches of these flows, in the order in which they count."""


class Flow(NamedTuple):
    """What some events of a lot add to a part of a figure; `name` says which events they are."""

    branch: Branch
    lot: LotFigures
    name: str


@dataclass(frozen=True)
class Made:
    """What a figure is made of: the parts of those lots that it counts as of an instant."""

    parts: Sequence[Part]
    counts: Callable[[LotFigures, Instant], bool] = lambda lot, instant: True


class Level(NamedTuple):
    """What lots are told apart by, one level below the other, and in which order."""

    name: str
    facts: Callable[[LotFigures, Instant], Facts]
    key: Callable[[LotFigures], Key]


def lot_facts(lot: LotFigures, instant: Instant) -> Facts:
    """Which lot it is, and the terms that were in force; it begins as it was told last."""
    terms, grant = lot.terms_at(instant), {}
    if (details := lot.details) is not None:
        grant = {"grant": details.readable_id, "grant_type": lot.grant_type}
    return {
        "lot": lot.lot,
        **grant,
        "begins_at": lot.begins_at,
        "expires_at": terms.expires_at,
        "awaiting_payment": terms.awaiting_payment,
    }


HOLDER = Level(
    "holder",
    lambda lot, instant: {"kind": lot.pool.kind, "holder": lot.pool.holder},
    lambda lot: (lot.pool.kind, lot.pool.holder),
)
POOL = Level("pool", lambda lot, instant: lot.pool._asdict(), lambda lot: in_order(lot.pool))
LOT = Level("lot", lot_facts, lambda lot: (lot.first_position, lot.lot))
TO_HOLDERS = (HOLDER, POOL, LOT)
TO_POOLS = (POOL, LOT)

KEYS: Mapping[str, Callable[[LotFigures], Any]] = {
    "kind": lambda lot: lot.pool.kind,
    "holder": lambda lot: lot.pool.holder,
    "currency": lambda lot: lot.pool.currency,
    "resource": lambda lot: lot.pool.resource,
    "grant_type": lambda lot: lot.grant_type,
    "lot": lambda lot: lot.lot,
    "grant": lambda lot: (details := lot.details) and details.readable_id,
    "cost_currency": lambda lot: (details := lot.details) and details.cost.currency,
}
"""What columns of reports tell of a row's lots, by the columns' names."""


def lots_of_row(lots: Iterable[LotFigures], row: Facts) -> list[LotFigures]:
    """The lots that a row is about, by its first columns."""
    return [lot for lot in lots if all(KEYS[name](lot) == value for name, value in row.items())]


def trace(
    reader: Reader, lots: Iterable[LotFigures], made: Made, asked: Asked, root: Branch, levels: Sequence[Level]
) -> Branch:
    """Grow below a figure what it is made of, in these lots: by level, by flow, down to the events.

    Refuses (DoesNotAddUp) a figure that is not the sum of them.
    """
    counted = [lot for lot in lots if made.counts(lot, asked.as_of.effective_at)]
    branches = [root]
    if len(made.parts) > 1:
        branches = [Branch(part.name, _sum(counted, part)) for part in made.parts]
        root.branches = branches
    for part, branch in zip(made.parts, branches, strict=True):
        flows: list[Flow] = []
        _grow(branch, counted, part, levels, asked, flows)
        part.find(reader, flows, asked)
    root.add_up()
    describe(reader, root)
    return root


def _grow(
    branch: Branch, lots: Sequence[LotFigures], part: Part, levels: Sequence[Level], asked: Asked, flows: list[Flow]
) -> None:
    """Put below a branch what its lots come to: by the first of the levels, or at last by flow."""
    if not levels:
        (lot,) = lots
        branch.branches = [Branch(name, amount) for name, amount in part.of(lot).items()]
        flows += [Flow(below, lot, below.name) for below in branch.branches]
        return
    level, *below = levels
    groups: dict[Key, list[LotFigures]] = {}
    for lot in lots:
        if part.of(lot):
            groups.setdefault(level.key(lot), []).append(lot)
    grouped = [groups[key] for key in sorted(groups)]
    if len(grouped) > asked.parts_max:  # what is used up is left out first
        grouped.sort(key=lambda found: _sum(found, part) == 0)
    branches: list[Branch] = []
    for found in grouped[: asked.parts_max]:
        facts = level.facts(found[0], asked.as_of.effective_at)
        branches.append(Branch(level.name, _sum(found, part), facts))
        _grow(branches[-1], found, part, below, asked, flows)
    branch.branches, branch.more = branches, _more(level, grouped[asked.parts_max :], part)


def _more(level: Level, groups: Sequence[Sequence[LotFigures]], part: Part) -> More | None:
    lots = [lot for group in groups for lot in group]
    if not lots:
        return None
    first, last = min(lot.first_position for lot in lots), max(lot.last_position for lot in lots)
    return More(f"{level.name}s", len(groups), _sum(lots, part), first, last)


def _sum(lots: Iterable[LotFigures], part: Part) -> int:
    return sum(sum(part.of(lot).values()) for lot in lots)
