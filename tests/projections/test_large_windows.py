"""A large window is folded in time by a database that knows nothing of its tables yet, or knew them when empty."""

from collections.abc import Iterator
from typing import Any

import pytest

from ledger.store.database import Database, Role
from projections.read_model import READ_MODELS, ReadModel
from projections.registry import prepare
from projections.runner import WINDOW_EVENTS_MAX

Node = dict[str, Any]


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize("model", READ_MODELS, ids=lambda model: model.name)
def test_no_fold_reads_its_window_once_for_each_row_of_it(database: Database, model: ReadModel, analysed: bool) -> None:
    """As a nested loop does whose inner side is the window: twenty thousand events take minutes, then."""
    if analysed:
        with database.connect(Role.OWNER) as connection:
            connection.execute("ANALYZE events")
    with database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        if analysed:
            connection.execute(model.sql("ANALYZE {table}"))
        fold = "EXPLAIN (FORMAT JSON) " + model.sql(model.fold_sql).as_string(connection)
        window = {"after": 0, "until": WINDOW_EVENTS_MAX}
        explained: Any = connection.execute(fold, window).fetchone()
    assert read_again(explained["QUERY PLAN"]) == []


def read_again(explained: list[Node]) -> list[Node]:
    """Where a plan reads rows that it has gathered once for each row of others."""
    [planned] = explained
    loops = [node for node in nodes(planned["Plan"]) if node["Node Type"] == "Nested Loop"]
    again = [side for loop in loops for side in loop["Plans"] if side["Parent Relationship"] == "Inner"]
    return [node for side in again for node in nodes(side) if node["Node Type"] == "CTE Scan"]


def nodes(plan: Node) -> Iterator[Node]:
    """A node of a plan and all below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)
