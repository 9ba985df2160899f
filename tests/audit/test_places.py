"""However few of a holder's events are read at once, every figure is the same."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql

from ledger.application import ConsumeCredits, UpdateGrant
from ledger.domain.values import GrantType, Kind
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from projections.read_model import ENTRIES
from projections.reports.as_of import as_of
from projections.reports.figures import Scope, lots_of, pages
from projections.reports.ledger import Part, ledger
from projections.reports.report import AsOf
from projections.reports.statement import statement
from service.bootstrap import RunningLedger, open_ledger
from tests.conftest import Hands
from tests.history import HOLDERS, Play, histories

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FEW = (1, 10, 30, 100)
SCOPES = [Scope(kind, frozenset({holder})) for kind in Kind for holder in HOLDERS]
SKIP = (
    "INSERT INTO projection_skips SELECT 'entries', position, 'odd', recorded_at, 'me' FROM events WHERE position = %s"
)


@pytest.fixture(scope="module")
def running(schema: Database) -> Iterator[RunningLedger]:
    with open_ledger(schema.dsn, schema=schema.schema, clock=settable_clock(), migrating=False) as running:
        yield running


@pytest.fixture(scope="module")
def hands(schema: Database) -> Hands:
    return Hands(schema)


def move_beginnings(running: RunningLedger, hands: Hands, chance: Random) -> None:
    """Grants to come, half of which will come at another time; what is refused is refused."""
    grants = [
        running.blocking.issue_grant(
            holder=chance.choice(HOLDERS), currency="credits", display_name="to come", grant_type=GrantType.PAID,
            amount=3, effective_at=hands.now + DAY,
        ).stream_id
        for _ in range(8)
    ]  # fmt: skip
    for grant in grants[:4]:
        for _ in range(chance.randint(1, 3)):
            at = hands.now + chance.randint(-100, 20) * HOUR
            running.ledger.execute_many_blocking([UpdateGrant(grant=grant, effective_at=at)])


def clocks(running: RunningLedger, position: int | None = None) -> AsOf:
    with running.reader.connection() as connection:
        return as_of(connection, running.reader.clock, None, position)


@settings(max_examples=2, phases=[Phase.generate])
@given(acts=histories, seed=st.integers())
def test_every_figure_is_the_same_however_few_events_are_read_at_once(
    running: RunningLedger, hands: Hands, acts: Sequence[Any], seed: int
) -> None:
    chance, reader = Random(seed), running.reader
    Play(running.blocking, hands).all(acts)
    move_beginnings(running, hands, chance)
    head = clocks(running).position
    for scope in [*SCOPES, Scope(), Scope(currency="credits")]:
        known = clocks(running, chance.randint(head // 2, head))
        at = known._replace(effective_at=hands.now + chance.randint(-30 * 24, 24) * HOUR)
        start = at.effective_at - chance.randint(1, 30) * DAY
        few = chance.choice(FEW)
        whole = lots_of(reader, scope, at, start)
        assert list(lots_of(reader, scope, at, start, events_max=few).items()) == list(whole.items())
        part = Part(chance.choice((None, start)), chance.choice((None, head - 9)), chance.choice((None, 7)))
        for report in (
            partial(ledger, reader, scope, None, part, at),
            partial(statement, reader, scope, None, start, at),
        ):
            assert json.dumps(report(events_max=few).data()) == json.dumps(report().data())


def test_pages_have_few_events_of_a_holder_and_each_of_them_once(schema: Database, running: RunningLedger) -> None:
    """Looked up where they are far apart, read with the log where they are not; one that their list leaves out too."""
    busy, rare = (ConsumeCredits(holder=holder, currency="credits", amount=1) for holder in ("busy", "rare"))
    for holder in ("busy", "rare"):
        running.blocking.issue_grant(
            holder=holder, currency="credits", amount=1000, display_name="g", grant_type=GrantType.PAID
        )
    far_apart = ([busy] * 40 + [rare]) * 5
    running.ledger.execute_many_blocking([*far_apart, *[rare] * 40, *far_apart])
    scope, head = Scope(Kind.CREDIT_GRANT, frozenset({"rare"})), clocks(running).position
    with running.reader.snapshot((ENTRIES,), at_least=head) as snapshot:
        rows = snapshot.connection.execute("SELECT position FROM movements WHERE holder = 'rare' ORDER BY position")
        expected = [row["position"] for row in rows]
        entries = snapshot.builds[ENTRIES.name].table
    with schema.connect(Role.OWNER) as connection:
        left_out = [expected[3]]
        connection.execute(sql.SQL("DELETE FROM {} WHERE position = %s").format(entries), left_out)
        connection.execute(SKIP, left_out)

    def read(events_max: int, after: int, *, newest_first: bool) -> Iterator[int]:
        found = pages(running.reader, scope, head, after, events_max=events_max, newest_first=newest_first)
        for connection, moved, values in found:
            rows = connection.execute(sql.SQL("SELECT position FROM ({}) AS moved").format(moved), values)
            some = sorted((row["position"] for row in rows), reverse=newest_first)
            whole.add(values["positions"] is None)
            assert len(some) <= events_max // 10
            assert values["positions"] or values["until"] - values["after"] <= events_max
            yield from some

    whole: set[bool] = set()
    for events_max in (10, 30, 10_000):
        assert list(read(events_max, 0, newest_first=False)) == expected
        assert list(read(events_max, 0, newest_first=True)) == expected[::-1]
        assert list(read(events_max, expected[20], newest_first=False)) == expected[21:]
    assert whole == {True, False}
