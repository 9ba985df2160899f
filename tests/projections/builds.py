"""What a build holds, to the byte, and what the whole log folded at once gives."""

from collections.abc import Iterable
from dataclasses import replace

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.store.database import Database, Role
from projections.read_model import READ_MODELS, ReadModel
from projections.registry import position_of, serving


def rows_of(connection: Connection[DictRow], build: ReadModel) -> list[str]:
    """Every row of a build as PostgreSQL prints it."""
    found = connection.execute(build.sql("SELECT t::text AS line FROM {table} AS t ORDER BY t::text"))
    return [row["line"] for row in found]


def whole_fold(connection: Connection[DictRow], build: ReadModel, until: int) -> list[str]:
    """The rows that one window up to `until` makes, in a table that is undone."""
    found: list[str] = []
    beside = replace(build, suffix="_whole")
    with connection.transaction() as scratch:
        connection.execute(beside.sql(beside.schema_sql))
        beside.fold(connection, 0, until)
        found = rows_of(connection, beside)
        raise psycopg.Rollback(scratch)
    return found


def serving_of(connection: Connection[DictRow], model: ReadModel) -> ReadModel:
    [known] = serving(connection, [model])
    return known.model


def wrong_builds(database: Database, builds: Iterable[ReadModel] = ()) -> list[str]:
    """Those of the builds that serve, and of some others, that are not what the log up to their position makes."""
    with database.connect(Role.PROJECTOR) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        looked_at = [*(serving_of(connection, model) for model in READ_MODELS), *builds]
        return [f"{build.name} {build.build}" for build in looked_at if not is_right(connection, build)]


def is_right(connection: Connection[DictRow], build: ReadModel) -> bool:
    position = position_of(connection, build)
    return position is not None and rows_of(connection, build) == whole_fold(connection, build, position)
