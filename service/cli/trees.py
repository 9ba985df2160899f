"""Trees for people: the amounts in one column, what they are of indented beside it."""

from collections.abc import Iterator

from ledger.domain.credits import credits_text
from projections.reports.tree import Branch, Leaf, More, Tree, wire_facts
from service.cli.frame import printable

BARE = {"kind", "holder", "currency", "resource", "grant", "grant_type", "cost_currency", "rule", "report"}
"""Facts that are told without their names."""


def lines_of_tree(tree: Tree) -> Iterator[str]:
    """The figure, and below it what it is made of, down to the events."""
    lines = [(tree.root.amount, _of_branch(tree.root)), *_below(tree.root, "")]
    width = max(len(credits_text(amount)) for amount, _ in lines)
    for amount, text in lines:
        yield f"{credits_text(amount):>{width}}  {printable(text)}"


def _below(branch: Branch, indent: str) -> Iterator[tuple[int, str]]:
    parts: list[Branch | Leaf | More] = [*branch.parts, *([branch.more] if branch.more else [])]
    for number, part in enumerate(parts, 1):
        turn, on = ("└─ ", "   ") if number == len(parts) else ("├─ ", "│  ")
        match part:
            case Branch():
                yield part.amount, f"{indent}{turn}{_of_branch(part)}"
                yield from _below(part, indent + on)
            case Leaf():
                yield part.amount, f"{indent}{turn}{_of_leaf(part)}"
            case More():
                more = f"and {part.number:,} more {part.name}, positions {part.first} to {part.last}"
                yield part.amount, f"{indent}{turn}{more}"


def _of_branch(branch: Branch) -> str:
    told = {name: value for name, value in branch.facts.items() if value not in (None, False)}
    if "grant" in told:
        told.pop("lot", None)  # of a grant they are the same
    title = " ".join([branch.name.replace("_", " "), *(str(told[name]) for name in told if name in BARE)])
    named = {name.replace("_", " "): value for name, value in told.items() if name not in BARE}
    return ", ".join([title, *(f"{name} {value}" for name, value in wire_facts(named).items())])


def _of_leaf(leaf: Leaf) -> str:
    facts = leaf.data()
    event = facts["event"].removeprefix("ledger.")
    said = [f"#{leaf.position} {facts['countsAt']} {event} {facts['cause']}", f"recorded {facts['recordedAt']}"]
    said += [f"by {facts['actor']}", f"transaction {facts['transaction']}"]
    if facts["rolledOverTo"] is not None:
        said.append(f"rolled over to {facts['rolledOverTo']}")
    if facts["reason"] is not None:
        said.append(f'"{facts["reason"]}"')
    return ", ".join(said)
