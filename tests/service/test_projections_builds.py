"""Builds that are taken over from before and builds that are dropped: nobody who reads them meets a gap."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import Connection

import projections.pruning
from ledger.domain.credits import credits_of
from ledger.domain.values import Kind, PoolKey
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from projections.balances.queries import pool_balance
from projections.pruning import prune
from projections.read_model import BALANCES, LOTS, READ_MODELS
from projections.reading import Reader
from projections.registry import begin_shadow
from projections.runner import Runner
from tests.service.load import eventually
from tests.service.operating import SECONDS_MAX, Operated, fill, use

ACME = PoolKey(Kind.CREDIT_GRANT, "acme", "credits", None)
FORMER = """
CREATE TABLE projections (
    name       text   NOT NULL,
    version    text   NOT NULL,
    schema_sql text   NOT NULL,
    fold_sql   text   NOT NULL,
    position   bigint NOT NULL DEFAULT 0,
    error      text,
    PRIMARY KEY (name, version)
);
"""
"""The registry before there were builds, pauses and skips."""


@pytest.fixture
def operated(database: Database) -> Operated:
    return fill(database, 50)


def test_a_registry_of_before_is_taken_over_with_its_tables_and_goes_on(operated: Operated) -> None:
    """Whoever comes first does it; nothing is folded again, and all that operators do works on it."""
    position = operated.head()
    with operated.database.connect(Role.PROJECTOR) as connection:
        connection.execute(FORMER)
        for model in READ_MODELS:
            connection.execute(model.sql(model.schema_sql))
            model.fold(connection, 0, position)
            connection.execute(
                "INSERT INTO projections (name, version, schema_sql, fold_sql, position) VALUES (%s, %s, %s, %s, %s)",
                [model.name, model.version, model.schema_sql, model.fold_sql, position],
            )
        connection.execute("INSERT INTO projections VALUES ('lots', 'older', '', '', 3)")
        connection.execute("CREATE TABLE lots_older ()")
    assert operated.told("status")["projections"] == [], "it only looks"
    tables = operated.tables()

    with Runner(operated.database), Reader(operated.database, clock=settable_clock()) as reader:
        with reader.snapshot() as snapshot:
            assert (snapshot.position, snapshot.stale) == (position, False)
            before = pool_balance(snapshot, ACME).balance
        assert operated.tables() - tables == {"projection_pauses", "projection_skips"}
        with operated.books() as books:
            use(books, 10)
        with reader.snapshot(at_least=operated.head()) as snapshot:
            assert pool_balance(snapshot, ACME).balance == before - credits_of(10)
    builds = [(each["name"], each["version"], each["state"]) for each in operated.told("status")["projections"]]
    assert [each for each in builds if each[1] != "older"] == [
        (each.name, each.version, "live") for each in READ_MODELS
    ]
    assert operated.run("rebuild", "--all", "--dry-run").returncode == 0
    dropped = [(each["name"], each["build"]) for each in operated.told("prune")]
    assert dropped == [("lots", "older")]


@pytest.fixture
def replaced(operated: Operated) -> Operated:
    """Its balances were rebuilt; an unfinished build of the lots was left behind."""
    operated.follow()
    return operated


def open_reader(operated: Operated) -> "Connection[Any]":
    """A transaction that has looked which build serves, and has not read it yet."""
    reader = operated.database.connect(Role.READER)
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    reader.execute("SELECT FROM projections")
    return reader


def test_prune_drops_nothing_while_a_transaction_may_still_read_it_and_says_whose(
    replaced: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projections.pruning, "READERS_SECONDS_MAX", 0.2)
    old = replaced.serving(BALANCES)
    with open_reader(replaced) as reader:
        replaced.told("rebuild", "balances")
        tables = replaced.tables()
        refused = replaced.told("prune", ends=6)["error"]
        assert (refused["code"], refused["pid"]) == ("ProjectionStillRead", reader.info.backend_pid)
        assert replaced.tables() == tables
        assert len(reader.execute(old.sql("SELECT FROM {table}")).fetchall()) == 3
    assert [each["build"] for each in replaced.told("prune")] == [old.build]
    with pytest.raises(psycopg.errors.UndefinedTable):
        replaced.rows(old, old)


def test_prune_waits_for_those_who_may_still_read_but_for_nobody_who_came_later(replaced: Operated) -> None:
    old = replaced.serving(BALANCES)
    table = f"balances_{old.build}"
    waiting = (
        "SELECT FROM pg_stat_activity WHERE state = 'idle' AND query LIKE %s AND pid <> pg_backend_pid() "
        "AND datname = current_database()"
    )
    with ThreadPoolExecutor(1) as threads, open_reader(replaced) as reader:
        replaced.told("rebuild", "balances")
        pruning = threads.submit(prune, replaced.database, [BALANCES])
        with replaced.database.connect(None) as looking:
            assert eventually(lambda: looking.execute(waiting, ["%virtualxid%"]).fetchone() is not None, SECONDS_MAX)
        assert table in replaced.tables()
        with open_reader(replaced) as later:
            assert not pruning.done()
            reader.rollback()
            assert [each.build for each in pruning.result(SECONDS_MAX)] == [old.build]
            assert len(later.execute(replaced.serving(BALANCES).sql("SELECT FROM {table}")).fetchall()) == 3
    assert table not in replaced.tables()


def test_prune_drops_what_was_left_unfinished_and_only_of_those_that_were_named(replaced: Operated) -> None:
    with replaced.database.connect(Role.PROJECTOR) as connection:
        left = {
            f"{model.name}_{begin_shadow(connection, replaced.database, model).build}" for model in (LOTS, BALANCES)
        }
    rows, tables = replaced.all_rows(), replaced.tables()
    assert left < tables
    (dropped,) = replaced.told("prune", "lots")
    assert (dropped["name"], dropped["stage"]) == ("lots", "shadow")
    assert tables - replaced.tables() == {f"lots_{dropped['build']}"}
    replaced.told("prune")
    assert tables - replaced.tables() == left
    assert replaced.all_rows() == rows
    assert [each["state"] for each in replaced.statuses("lots")] == ["live"]
