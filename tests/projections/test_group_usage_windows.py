"""A window is a few ranges of buckets, some added and some taken away, whatever was used in it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.domain.instants import FOREVER, Instant
from ledger.store.database import Role
from ledger.store.sql import statement
from projections.group_usage.windows import LENGTHS, Grain, Part, parts
from projections.read_model import GROUP_USAGE
from tests.conftest import START
from tests.projections.followed import Followed, followed_ledger
from tests.projections.test_usage import steps

TICK = timedelta(microseconds=1)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MIDNIGHT = datetime(2026, 1, 20, tzinfo=UTC)
ROWS = 100_000

instants = st.integers(0, (FOREVER - EPOCH) // TICK).map(lambda ticks: EPOCH + ticks * TICK)
near = st.integers(-3 * 144, 3 * 144).map(lambda number: MIDNIGHT + number * timedelta(minutes=10))
edges = instants | st.builds(lambda at, ticks: at + ticks * TICK, near, st.integers(-2, 2) | st.integers(0, 6 * 10**8))


@given(start=edges, end=st.none() | edges, others=st.lists(edges))
@example(start=EPOCH, end=FOREVER, others=[FOREVER - DAY, FOREVER - TICK])
@example(start=FOREVER - 13 * timedelta(hours=1), end=FOREVER - timedelta(hours=11), others=[])
@example(start=MIDNIGHT + DAY / 2, end=None, others=[MIDNIGHT])
@example(start=MIDNIGHT + DAY / 2 + TICK, end=None, others=[MIDNIGHT])
@example(start=MIDNIGHT + DAY / 2 - TICK, end=MIDNIGHT + DAY / 2 + TICK, others=[MIDNIGHT])
def test_each_instant_of_a_window_counts_once_and_every_other_not_at_all(
    start: Instant, end: Instant | None, others: list[Instant]
) -> None:
    if end is not None and end < start:
        start, end = end, start
    found = parts(start, end)
    bounds = {bound for part in found for bound in (part.start, part.end) if bound is not None}
    asked = {start, start - TICK, *others, *bounds, *(bound - TICK for bound in bounds if bound > EPOCH)}
    asked |= set() if end is None else {end - TICK, *({end} if end < FOREVER else ())}
    for instant in asked:
        inside = start <= instant and (end is None or instant < end)
        assert sum(part.sign for part in found if holds(part, instant)) == inside, (instant, found)


def holds(part: Part, instant: Instant) -> bool:
    """Whether the bucket that an instant lies in is one of the part's."""
    bucket = instant if part.grain is Grain.INSTANT else instant - (instant - EPOCH) % LENGTHS[part.grain]
    return part.start <= bucket and (part.end is None or bucket < part.end)


@given(start=edges, end=st.none() | edges)
@example(start=MIDNIGHT + timedelta(hours=11, minutes=25), end=MIDNIGHT + timedelta(days=9, hours=11, minutes=25))
def test_little_is_read_at_the_edges_of_a_window_however_long_it_is(start: Instant, end: Instant | None) -> None:
    if end is not None and end < start:
        start, end = end, start
    found = parts(start, end)
    assert len([part for part in found if part.grain is Grain.DAY]) <= 1
    in_last_day = max(start, end or start) > FOREVER - DAY  # where the calendar has no next bucket to begin from
    for coarser, finer in pairwise([*LENGTHS, Grain.INSTANT]):
        lengths = [part.end - part.start for part in found if part.grain is finer and part.end is not None]
        assert len(lengths) == len([part for part in found if part.grain is finer]) <= 2
        assert max(lengths, default=0 * DAY) <= LENGTHS[coarser] / (1 if in_last_day else 2), found
    for part in found:
        assert part.end is None or part.start < part.end
        for bound in (part.start, part.end):
            assert bound is None or part.grain is Grain.INSTANT or (bound - EPOCH) % LENGTHS[part.grain] == 0 * DAY


@pytest.mark.parametrize("end", [MIDNIGHT - TICK, MIDNIGHT])
def test_a_window_that_holds_no_instant_reads_nothing(end: Instant) -> None:
    assert parts(MIDNIGHT, end) == []


@pytest.fixture(scope="module")
def full(server_dsn: str) -> Iterator[Followed]:
    """The table with a hundred thousand instants, and as many hours as they take."""
    with followed_ledger(server_dsn) as followed:
        fill = """
            INSERT INTO {table} (grain, bucket_at, position, currency, group_set, used)
            SELECT
                grain, %(start)s::timestamptz + number * step, CASE grain WHEN 'INSTANT' THEN number END, 'credits',
                '00000000-0000-0000-0000-000000000000', 1
            FROM generate_series(1, %(rows)s) AS number
            JOIN (VALUES ('INSTANT', interval '10 seconds', 1), ('HOUR', interval '1 hour', 360))
                AS one (grain, step, many) ON number <= %(rows)s / many
        """
        followed.projector.execute(GROUP_USAGE.sql(fill), {"start": START - 30 * DAY, "rows": ROWS})
        yield followed


@pytest.mark.parametrize("looked_after", [False, True])
def test_a_window_is_read_through_the_indexes_alone(full: Followed, looked_after: bool) -> None:
    """Whether or not statistics were ever gathered; once the table was vacuumed, instants come from the index alone."""
    if looked_after:
        full.projector.execute(GROUP_USAGE.sql("VACUUM (ANALYZE) {table}"))
    start = START - 20 * DAY + timedelta(hours=7, minutes=13)
    for end in (start + 7 * DAY, None):
        wanted = parts(start, end)
        values = {
            "grains": [part.grain.value for part in wanted], "starts": [part.start for part in wanted],
            "ends": [part.end for part in wanted], "signs": [part.sign for part in wanted],
        }  # fmt: skip
        text = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + statement("projections.group_usage", "used.sql")
        with full.reader.connection() as connection:
            row: Any = connection.execute(GROUP_USAGE.sql(text), values).fetchone()
        scans = [step for step in steps(row["QUERY PLAN"][0]["Plan"]) if step.get("Relation Name")]
        assert {step["Node Type"] for step in scans} <= {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}, scans
        most = sum(step["Actual Rows"] * step["Actual Loops"] for step in scans)
        assert 0 < most <= 24 + 2 * 30 + 2 * 12, scans
        if looked_after:
            of_instants = [step for step in scans if "_grain_" not in step.get("Index Name", "_grain_")]
            assert {step["Node Type"] for step in of_instants} == {"Index Only Scan"}, scans


def test_a_large_window_hashes_once_each_set_that_its_uses_name(full: Followed) -> None:
    """Not each use's: in a rebuild that takes as long as to sort them."""
    full.books.issue_grant(holder="acme", currency="credits", amount=1000, display_name="g", grant_type="PAID")
    sets: list[tuple[str, ...]] = [(), ("a",), ("a", "b")]
    for number in range(60):
        full.books.consume(holder="acme", currency="credits", amount=1, account_groups=sets[number % len(sets)])
    with full.database.connect(Role.OWNER) as connection:
        connection.execute("ANALYZE events")
    fold = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + GROUP_USAGE.sql(GROUP_USAGE.fold_sql).as_string()
    row: Any = full.projector.execute(fold, {"after": 0, "until": 61}).fetchone()
    [kept] = [step for step in steps(row["QUERY PLAN"][0]["Plan"]) if step["Node Type"] == "Memoize"]
    assert (kept["Cache Misses"], kept["Cache Hits"]) == (len(sets), 60 - len(sets))
