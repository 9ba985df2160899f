"""Two builds beside each other: how many rows differ, which, and since which event.

What is found by halving the log is found here by folding both event by event and looking at all rows after each.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.values import Kind
from projections.comparison import Comparison, compare
from projections.read_model import (
    BALANCES,
    ENTRIES,
    EXECUTION_CREDITS,
    GROUP_USAGE,
    LOTS,
    USAGE,
    ReadModel,
    RecordedModel,
)
from tests.projections.followed import Followed, followed_ledger

Rows = Mapping[str, Mapping[str, Any]]
"""Rows by their key, each by column with exact numbers."""
ALL_ROWS = 10_000


@pytest.fixture(scope="module")
def followed(server_dsn: str) -> Iterator[Followed]:
    """51 events: debits that draw from several grants, refunds, and between them execution credits that are opened."""
    with followed_ledger(server_dsn) as followed:
        books, hands = followed.books, followed.hands
        for holder in ("acme", "b\u00e4r"):
            for _ in range(8):
                books.issue_grant(holder=holder, currency="credits", amount=3, display_name="g", grant_type="PAID")
        for number in range(6):
            holder, company = ("acme", "b\u00e4r")[number % 2], f"company {number}"
            debit = books.consume(holder=holder, currency="credits", amount=5, account_groups=["lab"])
            books.open_execution_credit(company=company, credit_type="DAST", credits=9, rollup_type="MONTHLY")
            books.consume(holder=company, currency="DAST", amount=1, kind=Kind.EXECUTION_CREDIT)
            hands.set(hands.now + timedelta(hours=7))
            if number % 2:
                books.refund(transaction_id=debit.transaction_id, amount=2)
        books.issue_grant(holder="acme", currency="credits", amount=3, display_name="g", grant_type="PAID")
        yield followed


class Altered(NamedTuple):
    """A read model, and what its two texts have in the place of what."""

    model: ReadModel
    old: str
    new: str

    @property
    def build(self) -> ReadModel:
        present = (self.model.schema_sql, self.model.fold_sql)
        assert any(self.old in text for text in present), f"{self.old!r} is not there"
        texts: Any = tuple(text.replace(self.old, self.new) for text in present)
        return RecordedModel(self.model.name, "_altered", self.model.key, texts=texts)


NO_REFUNDS = "IS NOT NULL AND type <> 'ledger.refunded'"
TWICE = "-moved.amount * (1 + (moved.position >= 40)::integer) AS used"
PARTS = {
    "refunds are left out": (27, Altered(BALANCES, "amount IS NOT NULL", f"amount {NO_REFUNDS}")),
    "use counts twice from a position on": (40, Altered(USAGE, "-moved.amount AS used", TWICE)),
    "a use is left out": (45, Altered(GROUP_USAGE, "position > %(after)s", "position <> 45 AND position > %(after)s")),
    "an event inside of a transaction is left out": (
        29,
        Altered(ENTRIES, "lot IS NOT NULL", "lot IS NOT NULL AND position <> 29"),
    ),
    "a row that no event of its transaction makes alone": (
        43,
        Altered(EXECUTION_CREDITS, "kind = 'EXECUTION_CREDIT'", "kind = 'EXECUTION_CREDIT' AND holder <> 'company 4'"),
    ),
    "a column more": (1, Altered(LOTS, "opened_at        timestamptz,", "opened_at timestamptz, note text,")),
}
"""Where two folds part, and how they differ."""


@pytest.mark.parametrize("back", [False, True], ids=["", "the other way round"])
@pytest.mark.parametrize(("position", "altered"), PARTS.values(), ids=PARTS)
def test_the_first_event_is_told_at_which_two_folds_part(
    followed: Followed, position: int, altered: Altered, back: bool
) -> None:
    with both_folded(followed, altered, back=back) as (before, after):
        found = compared(followed, before, after)
    assert not found.same_fold
    assert found.parted_at == position == partings(followed, before, after)[0]


@pytest.mark.parametrize("back", [False, True], ids=["", "the other way round"])
@pytest.mark.parametrize("altered", [altered for _, altered in PARTS.values()], ids=PARTS)
def test_every_row_that_differs_is_counted_and_can_be_seen(followed: Followed, altered: Altered, back: bool) -> None:
    with both_folded(followed, altered, back=back) as (before, after):
        was, is_ = rows_of(followed.projector, before), rows_of(followed.projector, after)
        found = compared(followed, before, after)
        few = compared(followed, before, after, sample_rows=1)
    changed = {key for key in was.keys() & is_.keys() if was[key] != is_[key]}
    told = {key_of(after, row.after or row.before or {}): (row.before, row.after) for row in found.sample}
    assert told == {key: (was.get(key), is_.get(key)) for key in changed | (was.keys() ^ is_.keys())}
    assert (found.rows_before, found.rows_after) == (len(was), len(is_))
    assert found.changed == len(changed)
    assert (found.added, found.removed) == (len(is_.keys() - was.keys()), len(was.keys() - is_.keys()))
    assert list(few.sample) == list(found.sample)[:1]
    assert found.differing == len(told) > 0


def test_where_folds_part_more_than_once_one_of_these_events_is_told(followed: Followed) -> None:
    """A lot's next event tells its whole state: a refund that was left out shows until then."""
    altered = Altered(LOTS, "lot IS NOT NULL", f"lot {NO_REFUNDS}")
    with both_folded(followed, altered) as (before, after):
        found = compared(followed, before, after)
    places = partings(followed, before, after)
    assert len(places) > 1
    assert found.parted_at in places


DAMAGE = {
    "a row that is another": ("UPDATE {table} SET position = position + 1 WHERE holder = 'b\u00e4r'", (1, 0, 0), 9),
    "a row that is missing": ("DELETE FROM {table} WHERE holder = 'company 1'", (0, 1, 0), 25),
    "a row that no event makes": ("UPDATE {table} SET holder = 'nobody' WHERE holder = 'company 2'", (0, 1, 1), 32),
    "a row too many": (
        'INSERT INTO {table} SELECT (jsonb_populate_record(told, \'{{"holder": "nobody"}}\')).* '
        "FROM {table} AS told WHERE holder = 'acme'",
        (0, 0, 1),
        None,
    ),
    "nothing": ("ANALYZE {table}", (0, 0, 0), None),
}


@pytest.mark.parametrize(("damage", "counts", "position"), DAMAGE.values(), ids=DAMAGE)
def test_where_one_fold_made_both_the_first_event_of_the_rows_that_differ_is_told(
    followed: Followed, damage: Any, counts: tuple[int, int, int], position: int | None
) -> None:
    same = Altered(BALANCES, "amount IS NOT NULL", "amount IS NOT NULL")
    with both_folded(followed, same) as (before, _):
        after = replace(before, suffix="_after")
        followed.projector.execute(after.sql(after.schema_sql))
        after.fold(followed.projector, 0, head(followed))
        followed.projector.execute(before.sql(damage))
        found = compared(followed, before, after)
    assert found.same_fold
    assert (found.changed, found.added, found.removed) == counts
    assert found.parted_at == position


@contextmanager
def both_folded(followed: Followed, altered: Altered, *, back: bool = False) -> Iterator[tuple[ReadModel, ReadModel]]:
    """The present build and the altered one, folded up to the head in a transaction that is undone."""
    with followed.projector.transaction() as scratch:
        builds = (replace(altered.model, suffix="_present"), altered.build)
        for build in builds:
            followed.projector.execute(build.sql(build.schema_sql))
            build.fold(followed.projector, 0, head(followed))
        yield builds[::-1] if back else builds
        raise psycopg.Rollback(scratch)


def compared(followed: Followed, before: ReadModel, after: ReadModel, *, sample_rows: int = ALL_ROWS) -> Comparison:
    return compare(followed.projector, before, after, head(followed), sample_rows=sample_rows, parting=True)


def head(followed: Followed) -> int:
    row = followed.projector.execute("SELECT max(position) AS head FROM movements").fetchone()
    assert row is not None
    position: int = row["head"]
    return position


def partings(followed: Followed, before: ReadModel, after: ReadModel) -> list[int]:
    """Every event up to which two folds have the same rows and behind which they do not.

    Where one of them cannot be folded cut behind an event, nothing is told of that event.
    """
    found, same, done = [], True, 0
    connection = followed.projector
    with connection.transaction() as scratch:
        for build in (before, after):
            connection.execute(build.sql(build.schema_sql))
        for event in range(1, head(followed) + 1):
            with suppress(psycopg.IntegrityError), connection.transaction():
                for build in (before, after):
                    build.fold(connection, done, event)
                done = event
            if done == event:
                was_same, same = same, rows_of(connection, before) == rows_of(connection, after)
                found += [event] if was_same and not same else []
        raise psycopg.Rollback(scratch)
    return found


def rows_of(connection: Connection[DictRow], build: ReadModel) -> Rows:
    found = connection.execute(build.sql("SELECT to_jsonb(model)::text AS row FROM {table} AS model"))
    rows = [json.loads(row["row"], parse_float=Decimal) for row in found]
    return {key_of(build, row): row for row in rows}


def key_of(build: ReadModel, row: Mapping[str, Any]) -> str:
    return json.dumps([row[column] for column in build.key])
