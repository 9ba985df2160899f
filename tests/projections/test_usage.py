"""Used credits by the instant of the use: any window is exact to the microsecond, and cheap however much was used."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from typing import Any, LiteralString

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.application import BlockingLedger, ConsumeCredits
from ledger.domain.credits import credits_of
from ledger.domain.instants import FOREVER, Instant
from ledger.domain.values import CreditType, DocumentId, Kind, RollupType
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from ledger.store.documents import load_documents
from ledger.store.sql import statement
from projections.read_model import USAGE
from projections.reading import Reader, Snapshot
from projections.registry import prepare
from projections.runner import advance
from projections.usage.queries import UsageFilter, sets_used, usage_series
from projections.usage.windows import (
    DAY,
    HOUR,
    Grain,
    PointSize,
    UsageWindow,
    point_starts,
    stretches,
    unit_start,
)
from tests.conftest import START, Hands
from tests.projections.test_cuts import ends, folded, rows

ACME = UsageFilter(Kind.CREDIT_GRANT, "acme")
TICK = timedelta(microseconds=1)
MIDNIGHT = datetime(2026, 1, 20, tzinfo=UTC)
EVER = UsageWindow(datetime(1, 1, 1, tzinfo=UTC), FOREVER)


@pytest.fixture
def acme(books: BlockingLedger) -> BlockingLedger:
    """The ledger with something to use: by acme in two currencies and for a site, and by a neighbour."""
    for holder, currency, resource in (
        ("acme", "credits", None), ("acme", "tokens", None), ("acme", "credits", "site"), ("b\u00e4r", "credits", None),
    ):  # fmt: skip
        books.issue_grant(
            holder=holder, currency=currency, resource=resource, amount=10**6, display_name="g", grant_type="PAID"
        )
    return books


@contextmanager
def at_head(database: Database) -> Iterator[Snapshot]:
    """The read model at the head of the log."""
    with database.connect(Role.PROJECTOR) as connection, Reader(database, clock=settable_clock()) as reader:
        prepare(connection, database, [USAGE])
        advance(connection, USAGE)
        with reader.snapshot([USAGE]) as snapshot:
            assert not snapshot.stale
            yield snapshot


def use_at(books: BlockingLedger, instant: Instant, amount: int | str = 1, **given: Any) -> str:
    """Use credits at an instant; the transaction."""
    whose = {"holder": "acme", "currency": "credits"} | given
    return books.consume(amount=amount, use_at=instant, **whose).transaction_id


def total(snapshot: Snapshot, start: Instant, end: Instant, wanted: UsageFilter = ACME) -> int:
    """What was used in [start, end); every size of points says the same."""
    (units,) = {
        sum(row.used for row in usage_series(snapshot, wanted, UsageWindow(start, end), size)) for size in PointSize
    }
    return units


def by_dimensions(snapshot: Snapshot, window: UsageWindow = EVER) -> dict[str, int]:
    """What was used by the dimensions that were named, as their JSON."""
    found = sets_used(snapshot, ACME, window, PointSize.DAY, limit=1000)
    texts = load_documents(snapshot.connection, [each.dimension_set for each in found if each.dimension_set])
    names: dict[DocumentId | None, str] = {
        each.dimension_set: json.dumps(texts[each.dimension_set]["dimensions"] if each.dimension_set else None)
        for each in found
    }
    labels = sorted(set(names.values()))
    numbers = {name: labels.index(label) for name, label in names.items()}
    sums: dict[str, int] = defaultdict(int)
    for row in usage_series(snapshot, ACME, window, PointSize.MONTH, numbers):
        sums[labels[row.series]] += row.used
    return dict(sums)


@pytest.mark.parametrize("edge", [MIDNIGHT, MIDNIGHT + 5 * HOUR, MIDNIGHT + timedelta(hours=7, minutes=3, seconds=1)])
def test_a_window_begins_with_its_start_and_ends_before_its_end(
    acme: BlockingLedger, database: Database, edge: Instant
) -> None:
    """Whether an edge lies between two days, between two hours, or in an hour."""
    use_at(acme, edge - TICK, 1)
    use_at(acme, edge, 10)
    use_at(acme, edge + TICK, 100)
    with at_head(database) as snapshot:
        for length in (2 * TICK, timedelta(minutes=20), HOUR, 30 * HOUR, 3 * DAY, 400 * DAY):
            assert total(snapshot, edge, edge + length) == credits_of(110)
            assert total(snapshot, edge + TICK, edge + TICK + length) == credits_of(100)
            assert total(snapshot, edge - length, edge) == credits_of(1)
            assert total(snapshot, edge - length, edge + TICK) == credits_of(11)
        assert total(snapshot, edge, edge + TICK) == credits_of(10)
        assert total(snapshot, edge + 2 * TICK, edge + DAY) == 0


def test_any_window_says_what_a_count_of_the_log_says(acme: BlockingLedger, database: Database, hands: Hands) -> None:
    """Sixty uses, some refunded in part, some wholly, against windows with edges at units, at uses and beside them."""
    instants = [MIDNIGHT + number * number * timedelta(minutes=4, microseconds=number % 3) for number in range(60)]
    for number, instant in enumerate(instants):
        currency = "tokens" if number % 4 == 0 else "credits"
        named = {"job": str(number % 3)} if number % 5 else None
        transaction = use_at(acme, instant, number + 1, currency=currency, dimensions=named)
        if number % 7 == 0:
            acme.refund(transaction_id=transaction, amount=1)
            hands.set(hands.now + HOUR)
        if number % 11 == 0 and number % 7:
            acme.refund(transaction_id=transaction)
    edges = {unit_start(instant, size) for instant in instants[::12] for size in PointSize}
    edges |= {instant + tick for instant in instants[::15] for tick in (-TICK, 0 * TICK, TICK)}
    with at_head(database) as snapshot:
        log = snapshot.connection.execute("SELECT * FROM movements WHERE debit_id IS NOT NULL").fetchall()
        assert {row["type"] for row in log} == {"ledger.debited", "ledger.refunded"}
        for size in PointSize:
            for start, end in combinations(sorted(edges), 2):
                found = usage_series(snapshot, ACME, UsageWindow(start, end), size)
                assert {(row.currency, row.point_at): row.used for row in found} == counted(log, start, end, size)
                sets = sets_used(snapshot, ACME, UsageWindow(start, end), size, limit=1000)
                assert {each.currency for each in sets} == {row.currency for row in found}


def counted(log: list[DictRow], start: Instant, end: Instant, size: PointSize) -> dict[tuple[str, Instant], int]:
    """The same from the log's rows, one by one."""
    sums: dict[tuple[str, Instant], int] = defaultdict(int)
    for row in log:
        if start <= row["use_at"] < end:
            sums[row["currency"], unit_start(row["use_at"], size)] -= row["amount"]
    return dict(sums)


def test_a_refund_counts_at_its_debits_use(acme: BlockingLedger, database: Database, hands: Hands) -> None:
    transaction = use_at(acme, MIDNIGHT, 10)
    with at_head(database) as snapshot:
        assert total(snapshot, MIDNIGHT, MIDNIGHT + TICK) == credits_of(10)
    hands.set(START + 3 * DAY)
    acme.refund(transaction_id=transaction, amount="2.5", reason="too slow")
    with at_head(database) as snapshot:
        assert total(snapshot, MIDNIGHT, MIDNIGHT + TICK) == credits_of("7.5")
        assert total(snapshot, MIDNIGHT + TICK, FOREVER) == 0


def test_what_was_refunded_wholly_was_used_all_the_same(acme: BlockingLedger, database: Database) -> None:
    acme.refund(transaction_id=use_at(acme, MIDNIGHT, 10))
    with at_head(database) as snapshot:
        found = usage_series(snapshot, ACME, EVER, PointSize.DAY)
        assert [(row.currency, row.point_at, row.used) for row in found] == [("credits", MIDNIGHT, 0)]
        (only,) = sets_used(snapshot, ACME, EVER, PointSize.DAY, limit=9)
        assert only == ("credits", None)


def test_a_refund_is_of_its_debits_dimensions(acme: BlockingLedger, database: Database) -> None:
    """Not of its own document, which holds its reason."""
    first = use_at(acme, MIDNIGHT, 10, dimensions={"team": "red"})
    second = use_at(acme, MIDNIGHT, 20, dimensions={"team": "blue"})
    third = use_at(acme, MIDNIGHT, 40)
    with at_head(database) as snapshot:
        whole = {'{"team": "red"}': 10, '{"team": "blue"}': 20, "null": 40}
        assert by_dimensions(snapshot) == {name: credits_of(used) for name, used in whole.items()}
    for number, transaction in enumerate((first, second, third), 1):
        acme.refund(transaction_id=transaction, amount=number, reason="too slow" if number % 2 else None)
    with at_head(database) as snapshot:
        left = {'{"team": "red"}': 9, '{"team": "blue"}': 18, "null": 37}
        assert by_dimensions(snapshot) == {name: credits_of(used) for name, used in left.items()}


def test_a_debit_of_many_grants_is_one_use(acme: BlockingLedger, database: Database) -> None:
    for number in range(5):
        acme.issue_grant(holder="acme", currency="c", amount=2, display_name=str(number), grant_type="PAID")
    transaction = use_at(acme, MIDNIGHT, 9, currency="c", dimensions={"team": "red"})
    acme.refund(transaction_id=transaction, amount=6, reason="too slow")
    with at_head(database) as snapshot:
        assert by_dimensions(snapshot) == {'{"team": "red"}': credits_of(3)}


def test_equal_dimensions_are_one_series_whenever_they_were_named(acme: BlockingLedger, database: Database) -> None:
    for named in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}, {"a": "1"}, {}, None):
        use_at(acme, MIDNIGHT, dimensions=named)
    with at_head(database) as snapshot:
        told = {json.dumps(json.loads(name), sort_keys=True): used for name, used in by_dimensions(snapshot).items()}
    assert told == {'{"a": "1", "b": "2"}': 2 * 10**9, '{"a": "1"}': 10**9, "null": 2 * 10**9}


def test_the_cuts_of_the_windows_do_not_matter_with_dimensions_and_refunds(
    acme: BlockingLedger, database: Database
) -> None:
    """A refund finds its debit's dimensions whether they came in one window or in two."""
    for number in range(12):
        named = {"job": str(number % 3)} if number % 4 else None
        transaction = use_at(acme, MIDNIGHT + number % 5 * HOUR, 3, dimensions=named)
        acme.refund(transaction_id=transaction, amount=1, reason="r" if number % 2 else None)
        acme.refund(transaction_id=transaction, amount=1 + number % 2)
    with at_head(database), database.connect(Role.PROJECTOR) as connection:
        followed, places = rows(connection, USAGE), ends(connection)
        assert len(followed) > 12
        assert folded(connection, USAGE, places, "_each") == followed
        assert folded(connection, USAGE, [*places[6:-1:3], places[-1]], "_cut") == followed


def test_pools_are_apart(acme: BlockingLedger, database: Database) -> None:
    acme.open_execution_credit(company="acme", credit_type=CreditType.DAST, credits=100, rollup_type=RollupType.MONTHLY)
    use_at(acme, MIDNIGHT, 1)
    use_at(acme, MIDNIGHT, 2, currency="tokens")
    use_at(acme, MIDNIGHT, 4, resource="site")
    use_at(acme, MIDNIGHT, 8, holder="b\u00e4r")
    acme.consume(holder="acme", currency="DAST", amount=16, kind=Kind.EXECUTION_CREDIT)
    apart = {
        ACME: 3, ACME._replace(currency="credits"): 1, ACME._replace(currency="tokens"): 2,
        ACME._replace(currency="x"): 0, ACME._replace(resource="site"): 4, ACME._replace(resource="other"): 0,
        ACME._replace(holder="b\u00e4r"): 8, ACME._replace(holder="nobody"): 0,
        ACME._replace(kind=Kind.EXECUTION_CREDIT): 16,
    }  # fmt: skip
    with at_head(database) as snapshot:
        assert {wanted: total(snapshot, *EVER, wanted) for wanted in apart} == {
            wanted: credits_of(used) for wanted, used in apart.items()
        }


instants = st.integers(0, (FOREVER - EVER.start) // TICK).map(lambda ticks: EVER.start + ticks * TICK)
instants |= st.integers(0, 4 * DAY // TICK).map(lambda ticks: MIDNIGHT + ticks * TICK)
edges = instants | st.builds(unit_start, instants, st.sampled_from(PointSize))
windows = st.tuples(edges, edges).filter(lambda both: both[0] != both[1]).map(lambda both: UsageWindow(*sorted(both)))


@given(window=windows, size=st.sampled_from(PointSize))
@example(window=UsageWindow(FOREVER - 3 * DAY, FOREVER), size=PointSize.MONTH)
@example(window=UsageWindow(FOREVER - TICK, FOREVER), size=PointSize.HOUR)
@example(window=UsageWindow(EVER.start, EVER.start + TICK), size=PointSize.DAY)
def test_a_window_is_read_in_whole_units_but_for_its_edges(window: UsageWindow, size: PointSize) -> None:
    parts = stretches(window, size)
    assert (parts[0].start, parts[-1].end) == window
    assert all(one.end == other.start for one, other in pairwise(parts))
    assert all(part.start < part.end for part in parts)
    for part in parts:
        if part.grain is not Grain.INSTANT:
            whole = PointSize(part.grain)
            assert (unit_start(part.start, whole), unit_start(part.end, whole)) == part[1:]
    longest = {
        grain: max((end - start for its, start, end in parts if its is grain), default=0 * DAY) for grain in Grain
    }
    assert longest[Grain.INSTANT] < HOUR
    assert size is PointSize.HOUR or longest[Grain.HOUR] < DAY
    assert size is not PointSize.HOUR or longest[Grain.DAY] == 0 * DAY
    assert len(parts) <= 5


@given(window=windows.filter(lambda window: window.end - window.start < 400 * DAY), size=st.sampled_from(PointSize))
@example(window=UsageWindow(FOREVER - TICK, FOREVER), size=PointSize.HOUR)
@example(window=UsageWindow(MIDNIGHT, MIDNIGHT + DAY), size=PointSize.DAY)
def test_every_instant_of_a_window_lies_in_one_of_its_points(window: UsageWindow, size: PointSize) -> None:
    starts = point_starts(window, size)
    assert starts[0] == unit_start(window.start, size)
    assert starts[-1] == unit_start(window.end - TICK, size)
    for one, other in pairwise(starts):
        assert unit_start(other, size) == other
        assert unit_start(other - TICK, size) == one


@pytest.fixture
def busy(acme: BlockingLedger, database: Database, analysed: bool) -> Iterator[Snapshot]:
    """Three thousand uses in two hours, and some on every day of a year."""
    acme.ledger.execute_many_blocking(
        [
            ConsumeCredits(holder="acme", currency="credits", amount=1, use_at=MIDNIGHT + number * timedelta(seconds=2))
            for number in range(3000)
        ]
        + [
            ConsumeCredits(holder="acme", currency="credits", amount=1, use_at=MIDNIGHT - number * 8 * HOUR)
            for number in range(3 * 365)
        ]
    )
    with at_head(database) as snapshot:
        if analysed:
            with database.connect(Role.PROJECTOR) as connection:
                connection.execute(USAGE.sql("ANALYZE {table}"))
        yield snapshot


def steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from steps(below)


def explained(connection: Connection[DictRow], explain: LiteralString, text: LiteralString, values: Any) -> Any:
    """The steps of a plan that read a table."""
    row = connection.execute(sql.SQL(explain) + USAGE.sql(text), values).fetchone()
    assert row is not None
    return [step for step in steps(row["QUERY PLAN"][0]["Plan"]) if "Relation Name" in step]


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize("name", ["series.sql", "sets.sql"])
@pytest.mark.parametrize("currency", [None, "credits"])
def test_a_year_reads_its_days_and_its_edges_alone(busy: Snapshot, name: str, currency: str | None) -> None:
    """However much was used in it."""
    window = UsageWindow(MIDNIGHT - timedelta(days=364, hours=7, minutes=13), MIDNIGHT + 5 * HOUR)
    parts = stretches(window, PointSize.MONTH)
    values = {
        "holder": "acme", "kind": "CREDIT_GRANT", "resource": "", "currency": currency, "point": "month", "limit": 1000,
        "sets": [], "numbers": [], "grains": [part.grain.value for part in parts],
        "starts": [part.start for part in parts], "ends": [part.end for part in parts],
    }  # fmt: skip
    text = statement("projections.usage", name)
    read = explained(busy.connection, "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) ", text, values)
    assert {step["Node Type"] for step in read} <= {"Index Scan", "Index Only Scan"}, read
    rows_read = sum(
        (step["Actual Rows"] + step.get("Rows Removed by Filter", 0)) * step["Actual Loops"] for step in read
    )
    assert 365 <= rows_read <= 365 + 2 * 23 + 2, read


@pytest.mark.parametrize("analysed", [False, True])
def test_the_fold_of_a_few_events_reads_no_table_whole(busy: Snapshot, database: Database) -> None:
    with database.connect(Role.PROJECTOR) as connection:
        for width in (1, 50):
            window = {"after": busy.position - width, "until": busy.position}
            text = statement("projections.usage", "fold.sql")
            read = explained(connection, "EXPLAIN (FORMAT JSON) ", text, window)
            assert {step["Relation Name"] for step in read} >= {"events"}
            assert "Seq Scan" not in {step["Node Type"] for step in read}, read
