"""The registry: which builds of which read models there are, which one serves, and what operators said of them.

Of each version one build serves: it is what the runner follows and what is read. An operator's word (pause, skip) holds
for a read model by its name, for all of its builds and for those to come.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

import psycopg
from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.domain.instants import Instant
from ledger.store.database import Database
from ledger.store.sql import statement
from projections.read_model import READ_MODELS, ReadModel
from projections.refusals import NotFailedThere, ProjectionNotFound
from projections.sql import query

REGISTRY_LOCK_WAIT = "100ms"
REGISTRY_SECONDS_MAX = 60.0
PAUSE_SECONDS = 0.05


class Stage(StrEnum):
    SERVING = "serving"
    SHADOW = "shadow"
    KEPT = "kept"


class Known(NamedTuple):
    """A build that the registry knows, of the present version of its read model."""

    model: ReadModel
    position: int
    paused: bool
    failed: bool


class Skip(NamedTuple):
    """An event that a read model leaves out for ever, who said so and why."""

    name: str
    position: int
    reason: str
    skipped_at: Instant
    skipped_by: str


def model_named(name: str) -> ReadModel:
    """Refuses: ProjectionNotFound."""
    for model in READ_MODELS:
        if model.name == name:
            return model
    raise ProjectionNotFound(name)


def prepare(connection: Connection[DictRow], database: Database, models: Sequence[ReadModel] = READ_MODELS) -> None:
    """Make the registry and the tables of these models, if they are not there; several processes may come at once."""
    _make_registry(connection, database)
    with _one_at_a_time(connection, database.schema):
        known = {each.model.name for each in serving(connection, models)}
        for model in models:
            if model.name not in known:
                _begin(connection, model, Stage.SERVING)


def _make_registry(connection: Connection[DictRow], database: Database) -> None:
    """Make the registry, or bring one of a former version up to date; whoever reads it meanwhile is let through."""
    ends_at = time.monotonic() + REGISTRY_SECONDS_MAX
    while not is_there(connection):
        try:
            with _one_at_a_time(connection, database.schema):
                connection.execute(f"SET LOCAL lock_timeout = '{REGISTRY_LOCK_WAIT}'")
                connection.execute(statement("projections", "registry.sql"))
        except psycopg.errors.LockNotAvailable:
            if time.monotonic() >= ends_at:
                raise
            time.sleep(PAUSE_SECONDS)


def is_there(connection: Connection[DictRow]) -> bool:
    """Whether any read model was ever begun by this version."""
    row = connection.execute(query("registry_there")).fetchone()
    return row is not None and bool(row["there"])


def begin_shadow(connection: Connection[DictRow], database: Database, model: ReadModel) -> ReadModel:
    """An empty build beside the one that serves."""
    with _one_at_a_time(connection, database.schema):
        return _begin(connection, model, Stage.SHADOW)


def serving(connection: Connection[DictRow], models: Sequence[ReadModel]) -> list[Known]:
    """The builds that serve for the present versions of these; those that have not been prepared are left out."""
    by_name = {model.name: model for model in models}
    named = {"names": list(by_name), "versions": [model.version for model in by_name.values()]}
    return [
        Known(by_name[row["name"]].built_as(row["build"]), row["position"], row["paused"], row["failed"])
        for row in connection.execute(query("serving"), named)
    ]


def shadow_of(connection: Connection[DictRow], model: ReadModel) -> ReadModel | None:
    """The unfinished build of this version, if there is one."""
    return _of_stage(connection, model, Stage.SHADOW)


def kept_of(connection: Connection[DictRow], model: ReadModel) -> ReadModel | None:
    """The build that served before the present one, if it is still there."""
    return _of_stage(connection, model, Stage.KEPT)


def position_of(connection: Connection[DictRow], model: ReadModel) -> int | None:
    """How far a build has come; None if there is none."""
    row = connection.execute(query("position"), {"name": model.name, "version": model.build}).fetchone()
    return None if row is None else row["position"]


def has_table(connection: Connection[DictRow], build: ReadModel) -> bool:
    row = connection.execute("SELECT to_regclass(%s) AS place", [build.table.as_string(connection)]).fetchone()
    return row is not None and row["place"] is not None


def skips_of(connection: Connection[DictRow], name: str, *, after: int, until: int) -> list[int]:
    """The events in (after, until] that a read model leaves out, in order."""
    rows = connection.execute(query("skips"), {"name": name, "after": after, "until": until})
    return [row["position"] for row in rows]


def all_skips(connection: Connection[DictRow]) -> list[Skip]:
    """Every skip there ever was."""
    return [Skip(**row) for row in connection.execute(query("all_skips"))]


def pause(connection: Connection[DictRow], name: str, *, at: Instant, by: str) -> None:
    """Nobody follows or rebuilds this read model until it is resumed."""
    connection.execute(query("pause"), {"name": name, "at": at, "by": by})


def resume(connection: Connection[DictRow], name: str) -> None:
    """Let it be followed and rebuilt again; of one that is not paused there is nothing to do."""
    connection.execute(query("resume"), {"name": name})


def paused(connection: Connection[DictRow], name: str) -> bool:
    return connection.execute(query("paused"), {"name": name}).fetchone() is not None


def skip(connection: Connection[DictRow], said: Skip) -> None:
    """Leave an event out for ever, in every build of a read model, and go on. Refuses: NotFailedThere.

    A build beside the one that serves that has folded it already is made no further, and nobody goes back to it.
    """
    with connection.transaction():
        cleared = connection.execute(query("clear_error"), {"name": said.name, "position": said.position})
        if cleared.rowcount == 0:
            raise NotFailedThere(said.name, said.position)
        connection.execute(query("add_skip"), said._asdict())
        connection.execute(query("retire"), {"name": said.name, "position": said.position})


def drop(connection: Connection[DictRow], name: str, build: str, stage: Stage) -> None:
    """Drop a build that is still at this stage, and forget it."""
    with connection.transaction() as dropping:
        # The table first: who folds into it, because he does not know yet, holds it before he moves its position.
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(f"{name}_{build}")))
        if connection.execute(query("forget"), {"name": name, "version": build, "stage": stage}).rowcount != 1:
            raise psycopg.Rollback(dropping)


def _begin(connection: Connection[DictRow], model: ReadModel, stage: Stage) -> ReadModel:
    """Make the first build of this version without a suffix; where its name is taken, the next one by a number."""
    row = connection.execute(query("last_number"), {"name": model.name}).fetchone()
    assert row is not None
    number = row["number"] + 1
    if stage is Stage.SHADOW or _taken(connection, model):
        while _taken(connection, beside := replace(model, suffix=f"_{number}")):
            number += 1
        model = beside
    connection.execute(model.sql(model.schema_sql))
    values = {"name": model.name, "version": model.build, "stage": stage, "number": number}
    connection.execute(query("begin_build"), {**values, "schema_sql": model.schema_sql, "fold_sql": model.fold_sql})
    return model


def _taken(connection: Connection[DictRow], model: ReadModel) -> bool:
    values = {"name": model.name, "version": model.build, "build_table": model.table.as_string(connection)}
    return connection.execute(query("taken"), values).fetchone() is not None


def _of_stage(connection: Connection[DictRow], model: ReadModel, stage: Stage) -> ReadModel | None:
    named = {"name": model.name, "version": model.version, "stage": stage}
    row = connection.execute(query("of_stage"), named).fetchone()
    return None if row is None else model.built_as(row["build"])


@contextmanager
def _one_at_a_time(connection: Connection[DictRow], schema: str) -> Iterator[None]:
    with connection.transaction():
        lock = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))"
        connection.execute(lock, [f"projections of {schema}"])
        yield
