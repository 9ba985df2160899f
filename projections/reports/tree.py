"""A tree: one exact figure and what it is made of, down to the events of the log."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ledger.domain.credits import credits_text
from ledger.domain.instants import Instant, instant_text
from projections.reports.report import AsOf, Cell, Of, camel


class DoesNotAddUp(Exception):
    """Parts of a figure come to something else than it. The log or the code is wrong; the tree is not shown."""


@dataclass(slots=True)
class Leaf:
    """An event, and what it adds to the figure: signed, whole billionths. `counts_at` is when it counts."""

    position: int
    counts_at: Instant
    amount: int
    facts: Mapping[str, Cell] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        return {
            "position": self.position,
            "amount": credits_text(self.amount),
            "countsAt": instant_text(self.counts_at),
            **wire_facts(self.facts),
        }


class More(NamedTuple):
    """What is left out of a list, so that it still adds up: how many, their sum, the positions they lie between.

    `name` says of what: `events`, say.
    """

    name: str
    number: int
    amount: int
    first: int
    last: int

    def data(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "count": self.number,
            "amount": credits_text(self.amount),
            "firstPosition": self.first,
            "lastPosition": self.last,
        }


@dataclass(slots=True)
class Branch:
    """A part of a figure: `amount` is what its parts come to, branches or events; it has no more than one of the two.

    `name` says what it is, `facts` which one.
    """

    name: str
    amount: int
    facts: Mapping[str, Cell] = field(default_factory=dict)
    branches: Sequence["Branch"] = ()
    leaves: Sequence[Leaf] = ()
    more: More | None = None

    @property
    def parts(self) -> Sequence["Branch | Leaf"]:
        return self.branches or self.leaves

    @property
    def sum(self) -> int:
        """What the parts come to."""
        return sum(part.amount for part in self.parts) + (self.more.amount if self.more else 0)

    def add_up(self) -> None:
        """Refuses (DoesNotAddUp) a branch that is not the sum of its parts, here and below."""
        if self.sum != self.amount:
            told = f"{credits_text(self.amount)}, its parts {credits_text(self.sum)}"
            raise DoesNotAddUp(f"{self.name} {wire_facts(self.facts)} is {told}")
        for branch in self.branches:
            branch.add_up()

    def all_leaves(self) -> Iterator[Leaf]:
        yield from self.leaves
        for branch in self.branches:
            yield from branch.all_leaves()

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = {"name": self.name, "amount": credits_text(self.amount), **wire_facts(self.facts)}
        return found | self.parts_data()

    def parts_data(self) -> dict[str, Any]:
        name = "events" if self.leaves else "children"
        parts: dict[str, Any] = {name: [part.data() for part in self.parts]}
        return parts | ({} if self.more is None else {"more": self.more.data()})


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A figure by the name of its report's column, and all that is needed to get the same tree again.

    `unit` is the currency that it is counted in, of credits or of money; None: credits of several.
    """

    name: str
    parameters: Mapping[str, str | None]
    as_of: AsOf
    of: Of
    unit: str | None
    root: Branch
    notes: Sequence[str] = ()

    def data(self) -> dict[str, Any]:
        """The whole tree for JSON."""
        return {
            "trace": self.name,
            "parameters": {camel(name): value for name, value in self.parameters.items()},
            "asOf": self.as_of.data(),
            "figure": self.root.name,
            "amount": credits_text(self.root.amount),
            "of": self.of.value,
            "unit": self.unit,
            **wire_facts(self.root.facts),
            **self.root.parts_data(),
            "notes": list(self.notes),
        }


def wire_facts(facts: Mapping[str, Cell]) -> dict[str, Any]:
    """Facts as JSON tells them: instants as texts."""
    return {camel(name): instant_text(value) if isinstance(value, Instant) else value for name, value in facts.items()}
