"""The leaves of trees: events that add to a figure, with who did it and why."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.domain.grant_details import readable_grant_id
from ledger.store.documents import load_documents
from projections.reading import Reader
from projections.reports.as_of import report_sql
from projections.reports.report import Cell
from projections.reports.tree import Branch, Leaf, More

ALL = 2**62
"""More leaves than there are."""
AT_ONCE = 1000
"""How many lots, debits or events are looked up by one statement."""
Each = TypeVar("Each")


@dataclass(slots=True)
class Found:
    """The first leaves of a branch, and what its rest comes to."""

    leaves: list[Leaf] = field(default_factory=list)
    more: More | None = None

    @property
    def sum(self) -> int:
        return sum(leaf.amount for leaf in self.leaves) + (self.more.amount if self.more else 0)

    def take(self, leaf: Leaf, leaves_max: int) -> None:
        if len(self.leaves) < leaves_max:
            self.leaves.append(leaf)
            return
        more = self.more or More("events", 0, 0, leaf.position, leaf.position)
        first, last = min(more.first, leaf.position), max(more.last, leaf.position)
        self.more = More("events", more.number + 1, more.amount + leaf.amount, first, last)

    def put(self, branch: Branch, sign: int = +1) -> None:
        """Let them be what a branch is made of; with the sign -1 the opposite of them."""
        for leaf in self.leaves:
            leaf.amount *= sign
        branch.leaves = self.leaves
        branch.more = self.more and self.more._replace(amount=self.more.amount * sign)


def leaves_of(
    connection: Connection[DictRow], picked: sql.Composable, values: Mapping[str, Any], leaves: int
) -> dict[str, Found]:
    """At most `leaves` events of each branch that `picked` tells of, by the branches' keys."""
    found: defaultdict[str, Found] = defaultdict(Found)
    text = sql.SQL(report_sql("leaves")).format(picked=picked)
    for row in connection.execute(text, {**values, "leaves": leaves}):
        if row["counts_at"] is None:
            found[row["branch"]].more = More("events", row["number"], row["amount"], row["first"], row["last"])
        else:
            found[row["branch"]].leaves.append(Leaf(row["first"], row["counts_at"], row["amount"]))
    return dict(found)


def describe(reader: Reader, branch: Branch) -> None:
    """Let each leaf tell its event: type, cause, actor, reason (or comment; None once it was erased), transaction."""
    leaves = list(branch.all_leaves())
    for some in batches(leaves):
        told: dict[int, Mapping[str, Cell]] = {}
        with reader.connection() as connection:
            rows = connection.execute(report_sql("told_events"), {"positions": [leaf.position for leaf in some]})
            events = rows.fetchall()
            documents = load_documents(connection, (row["document_id"] for row in events if row["document_id"]))
        for row in events:
            told[row["position"]] = _facts(row, documents.get(row["document_id"], {}))
        for leaf in some:
            leaf.facts = told[leaf.position]


def _facts(row: DictRow, document: Mapping[str, Any]) -> Mapping[str, Cell]:
    rolled_over_to = row["rolled_over_to"]
    return {
        "event": row["type"],
        "cause": row["cause"],
        "effective_at": row["effective_at"],
        "recorded_at": row["recorded_at"],
        "use_at": row["use_at"],
        "actor": f"{row['actor_kind']}:{row['actor_key']}",
        "reason": document.get("reason") or document.get("comment"),
        "transaction": row["transaction_id"],
        "rolled_over_to": None if rolled_over_to is None else readable_grant_id(rolled_over_to),
    }


def batches(each: Iterable[Each]) -> Iterator[Sequence[Each]]:
    rest = iter(each)
    while some := list(islice(rest, AT_ONCE)):
        yield some
