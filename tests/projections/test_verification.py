"""A read model that is verified holds what a second folding of the log, in Python, says; whatever differs is found."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.application import RechargePool
from ledger.domain.values import Kind
from ledger.store.database import Role
from projections.group_sets.replay import group_set_of
from projections.read_model import ENTRIES, READ_MODELS, ReadModel
from projections.runner import advance
from projections.verification import REPLAYS, Difference, Subject, Verified, verify
from tests.history import Play, acts
from tests.projections.followed import Followed, followed_ledger

MODELS = pytest.mark.parametrize("model", READ_MODELS, ids=lambda model: model.name)
GIVEN: Any = {"phases": [Phase.generate], "suppress_health_check": [HealthCheck.function_scoped_fixture]}
Row = dict[str, Any]
AGO = [timedelta(minutes=minutes, microseconds=tick) for minutes in (60, 50, 40, 10) for tick in (1, 0)]
"""Before the hour that the test clock begins at: one use after the other, each beside the edge of a bucket."""
ODD_GROUPS = [*'{},"\\ \t\n\r\v\f\u00a0\u2003', "NULL", "null", "nul", "\u00fc b", 'a "b" \\']


@pytest.fixture(scope="module")
def followed(server_dsn: str) -> Iterator[Followed]:
    """A ledger to which each example adds its own history; all of it is verified each time."""
    with followed_ledger(server_dsn) as followed:
        yield followed


@pytest.fixture(scope="module")
def grown(server_dsn: str) -> Iterator[Followed]:
    """A ledger with something in each column of each read model."""
    with followed_ledger(server_dsn) as followed:
        grow(followed)
        with followed.at_head():
            yield followed


def grow(followed: Followed) -> None:
    books, hands = followed.books, followed.hands
    pool: dict[str, Any] = {"holder": "acme", "currency": "credits", "resource": "r"}
    paid = books.issue_grant(
        **pool, amount=150, display_name="paid", grant_type="PAID", cost=5, payment_method="INVOICE",
        expires_at=hands.now + timedelta(days=90),
    ).lot_id  # fmt: skip
    books.record_grant_payment(grant=paid, collection="NOT_REQUIRED")
    books.issue_grant(**pool, amount=7, display_name="free", grant_type="PROMOTIONAL")
    debits = [
        books.consume(**pool, amount=amount, dimensions={"team": "lab"}, account_groups=("b", "a"))
        for amount in (52, 60)
    ]
    for ago in AGO:
        books.consume(**pool, amount=1, use_at=hands.now - ago, account_groups=(str(ago),))
    books.refund(transaction_id=debits[0].transaction_id, amount="50.000000001", reason="a reason")
    books.update_grant(grant=paid, display_name="another name")
    books.void_grant(grant=paid)
    books.create_grant_schedule(
        holder="acme", currency="credits", display_name="plan", amount=9, billing_period="MONTH",
        cadence="BEGINNING_OF_BILLING_PERIOD", anchor_at=hands.now, cost=1, rollover_periods=1, rollover_max=5,
    )  # fmt: skip
    books.save_auto_recharge(
        holder="acme", currency="credits", enabled=True, threshold=20, target=30, max_spend=100, unit_price="0.25"
    )
    books.ledger.execute_many_blocking([RechargePool(holder="acme", currency="credits")])
    credit: dict[str, Any] = {"company": "acme", "credit_type": "DAST"}
    addon = books.open_execution_credit(**credit, credits=10, rollup_type="ADDON").stream_id
    books.open_execution_credit(**credit | {"company": "other"}, credits=10, rollup_type="MONTHLY")
    renewing = books.open_execution_credit(
        **credit, credits=10, rollup_type="MONTHLY", company_label="Acme Ltd"
    ).stream_id
    books.consume(kind=Kind.EXECUTION_CREDIT, holder="acme", currency="DAST", amount=3)
    books.update_execution_credit(credit=renewing, credits=4, rollup_type="QUARTERLY")
    rule = books.define_allocation_rule(
        name="rule", account_groups=["z", "b"], allocated=3, alarm_threshold=50, currency="credits"
    ).stream_id
    books.define_allocation_rule(name="another", account_groups=["b"], allocated=3, alarm_threshold=50)
    books.change_allocation_rule(rule=rule, allocated=4)
    books.remove_allocation_rule(rule=rule)
    hands.set(hands.now + timedelta(days=40))
    books.settle_due()
    books.consume(kind=Kind.EXECUTION_CREDIT, holder="acme", currency="DAST", amount=2)
    books.update_execution_credit(credit=renewing, credits=2, rollup_type="MONTHLY")
    books.delete_execution_credit(credit=addon)


@contextmanager
def snapshot(connection: Connection[DictRow]) -> Iterator[Connection[DictRow]]:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


def position_of(connection: Connection[DictRow], model: ReadModel) -> int:
    row = connection.execute("SELECT position FROM projections WHERE name = %s", [model.name]).fetchone()
    assert row is not None
    position: int = row["position"]
    return position


def subjects(connection: Connection[DictRow]) -> list[Subject]:
    """All read models, each where it stands."""
    return [Subject(model, model.table, position_of(connection, model)) for model in READ_MODELS]


def differing(verified: Sequence[Verified]) -> list[Verified]:
    return [each for each in verified if each.differences or each.first is not None]


def test_every_read_model_has_a_second_implementation() -> None:
    assert list(REPLAYS) == [model.name for model in READ_MODELS]


@settings(max_examples=12, **GIVEN)
@given(acts=st.lists(acts, min_size=30, max_size=60), data=st.data())
def test_what_was_folded_is_what_the_second_implementation_says(
    followed: Followed, acts: list[Any], data: st.DataObject
) -> None:
    """Wherever each of the read models stands, and however the log was cut into windows."""
    play = Play(followed.books, followed.hands)
    for act in acts:
        play.one(act)
    for model in READ_MODELS:
        for events in data.draw(st.lists(st.integers(1, 40), max_size=4)):
            advance(followed.projector, model, window_events=events)
    with followed.database.connect(Role.READER) as connection, snapshot(connection):
        told: list[tuple[int, int]] = []
        wanted = subjects(connection)
        assert differing(verify(connection, wanted, lambda done, total: told.append((done, total)))) == []
        until = max(subject.position for subject in wanted)
        assert max(told, default=(0, 0)) == (2 * until, 2 * until), "one of its two passes is by holder, one by day"
        in_parts = verify(connection, wanted, part_events_max=data.draw(st.integers(1, 50)))
        assert in_parts == verify(connection, wanted), "a log that is replayed part by part is the same log"


WRONG = {
    "text": "coalesce({column}, '') || '!'",
    "uuid": "'00000000-0000-0000-0000-00000000000f'",
    "numeric": "coalesce({column}, 0) + 0.000000001",
    "timestamptz": "coalesce({column}, '2026-01-01T00:00:00Z') + interval '1 microsecond'",
    "int8": "coalesce({column}, 0) + 1",
    "int4": "coalesce({column}, 0) + 1",
    "bool": "NOT {column}",
    "jsonb": """coalesce({column}, '{{}}') || '{{"more": 1}}'""",
    "_text": "{column} || ARRAY['more']",
}
"""The least that a value of a type can be wrong by."""
PLANTED = sql.Identifier("planted")
COLUMNS = """
SELECT column_name, udt_name FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = 'planted'
"""


@MODELS
def test_a_wrong_value_in_any_column_is_found_and_named(grown: Followed, model: ReadModel) -> None:
    for name, type_name in columns_of(grown, model).items():
        wrong = sql.SQL(WRONG[type_name]).format(column=sql.Identifier(name))
        plant = sql.SQL("UPDATE {} SET {} = {} WHERE ctid = '(0,1)'").format(PLANTED, sql.Identifier(name), wrong)
        before, after, verified = planted(grown, model, plant)
        key = REPLAYS[model.name].columns[: REPLAYS[model.name].key_size]
        assert verified.first is not None, name
        if name in key:
            assert verified.differences == 2, name
            assert verified.first.column is None
            assert verified.first.row in [{each: row[each] for each in key} for row in (before, after)]
        else:
            row = {each: before[each] for each in key}
            assert verified.first == Difference(model.name, row, name, after[name], before[name])
            assert verified.differences == 1


@MODELS
def test_a_row_that_is_missing_or_too_many_is_found_and_named(grown: Followed, model: ReadModel) -> None:
    before, _, missing = planted(grown, model, sql.SQL("DELETE FROM {} WHERE ctid = '(0,1)'").format(PLANTED))
    again = sql.SQL("INSERT INTO {table} SELECT * FROM {table} WHERE ctid = '(0,1)'").format(table=PLANTED)
    _, _, twice = planted(grown, model, again)
    key = REPLAYS[model.name].columns[: REPLAYS[model.name].key_size]
    row = {name: before[name] for name in key}
    others = {name: value for name, value in before.items() if name not in key}
    assert missing[1:] == (twice.rows - 2, 1, Difference(model.name, row, None, None, others))
    assert twice[2:] == (1, Difference(model.name, row, None, others, None))


@MODELS
def test_all_differences_are_counted_and_the_first_is_that_of_the_smallest_key(
    grown: Followed, model: ReadModel
) -> None:
    key = REPLAYS[model.name].columns[: REPLAYS[model.name].key_size]
    rows = grown.projector.execute(model.sql("SELECT * FROM {table}")).fetchall()
    keys = [{name: row[name] for name in key} for row in rows]
    _, _, verified = planted(grown, model, sql.SQL("DELETE FROM {}").format(PLANTED))
    assert verified.first is not None
    assert verified[1:3] == (0, len(rows))
    assert verified.first.row == min(keys, key=lambda row: [(value is None, value or 0) for value in row.values()])


def test_an_entry_beyond_the_position_of_its_table_is_one_too_many(grown: Followed) -> None:
    with snapshot(grown.projector) as connection:
        [verified] = verify(connection, [Subject(ENTRIES, ENTRIES.table, 1)])
    assert verified.differences == verified.rows - 1 > 1
    assert verified.first is not None
    assert (verified.first.row, verified.first.expected) == ({"position": 2}, None)


@pytest.mark.parametrize("rows_at_once", [1, 2, 3])
def test_how_much_is_read_at_once_does_not_matter(
    grown: Followed, rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.verification.ROWS_AT_ONCE", rows_at_once)
    with snapshot(grown.projector) as connection:
        assert differing(verify(connection, subjects(connection))) == []


def test_a_set_of_groups_has_the_id_that_the_log_gives_it(grown: Followed) -> None:
    for groups in [*((group,) for group in ODD_GROUPS), tuple(sorted(ODD_GROUPS))]:
        known = grown.projector.execute("SELECT group_set_of(%s::text[]) AS id", [list(groups)]).fetchone()
        assert known == {"id": group_set_of(groups)}, groups


def columns_of(followed: Followed, model: ReadModel) -> dict[str, str]:
    """Each column of a read model's table, and its type."""
    with followed.projector.transaction(force_rollback=True):
        followed.projector.execute(model.sql("CREATE TABLE planted AS TABLE {table}"))
        return {row["column_name"]: row["udt_name"] for row in followed.projector.execute(COLUMNS)}


def planted(followed: Followed, model: ReadModel, plant: sql.Composed) -> tuple[Row, Row, Verified]:
    """What a copy without constraints is found to be once `plant` has run; its first row before and then."""
    first = sql.SQL("SELECT * FROM {} ORDER BY ctid LIMIT 1").format(PLANTED)
    connection = followed.projector
    with connection.transaction(force_rollback=True):
        connection.execute(model.sql("CREATE TABLE planted AS TABLE {table}"))
        [whole] = verify(connection, [Subject(model, PLANTED, position_of(connection, model))])
        assert (whole.differences, whole.first) == (0, None)
        before = row_of(connection.execute(first).fetchone())
        after = row_of(connection.execute(plant + sql.SQL(" RETURNING *")).fetchone())
        subject = Subject(model, PLANTED, position_of(connection, model))
        [verified] = verify(connection, [subject])
        [in_parts] = verify(connection, [subject], part_events_max=2)
        assert in_parts.first is not None
        assert verified.first is not None
        assert in_parts.first.row == verified.first.row, "part by part it is found as well"
        return before, after, verified


def row_of(row: Row | None) -> Row:
    assert row is not None
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


@MODELS
def test_an_event_that_was_left_out_is_left_out_of_the_verification_too(grown: Followed, model: ReadModel) -> None:
    """Each event in turn, as far as the read model can be folded without it."""
    connection = grown.projector
    head = position_of(connection, model)
    mattered = 0
    for position in range(1, head + 1):
        with connection.transaction(force_rollback=True):
            beside = ReadModel(model.name, "_beside")
            connection.execute(beside.sql(beside.schema_sql))
            try:
                beside.fold(connection, 0, position - 1)
                beside.fold(connection, position, head)
            except psycopg.errors.IntegrityError:
                continue
            skipping = Subject(model, beside.table, head, frozenset([position]))
            assert differing(verify(connection, [skipping])) == []
            mattered += len(differing(verify(connection, [skipping._replace(skips=frozenset())])))
    assert mattered > 0
