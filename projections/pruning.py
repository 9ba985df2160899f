"""Dropping the builds that nobody reads any more."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.store.database import Database, Role
from projections import registry
from projections.read_model import ReadModel
from projections.rebuild import PAUSE_SECONDS, rebuild_turn
from projections.refusals import READERS_SECONDS_MAX, StillRead
from projections.sql import query

LOCK_WAIT = "5s"


class Dropped(NamedTuple):
    name: str
    build: str
    stage: str
    position: int


def prune(database: Database, models: Sequence[ReadModel]) -> list[Dropped]:
    """Drop what was replaced, what was left unfinished, and what older versions of the code have read.

    A build that was replaced is dropped once every transaction has ended that was open then: none sees it after that.
    Refuses: ProjectionBeingRebuilt, ProjectionStillRead.
    """
    dropped = []
    with database.connect(Role.PROJECTOR, lock_timeout=LOCK_WAIT) as connection:
        registry.prepare(connection, database)
        for model in models:
            with rebuild_turn(connection, model.name):
                found = _droppable(connection, model)
                if found:
                    _wait_for_readers(connection)
                for each in found:
                    registry.drop(connection, each.name, each.build, registry.Stage(each.stage))
                    dropped.append(each)
    return dropped


def _droppable(connection: Connection[DictRow], model: ReadModel) -> list[Dropped]:
    named = {"names": [model.name], "versions": [model.version]}
    rows = connection.execute(query("droppable"), named)
    return [Dropped(row["name"], row["version"], row["stage"], row["position"]) for row in rows]


def _wait_for_readers(connection: Connection[DictRow]) -> None:
    waited_for = _open_transactions(connection)
    ends_at = time.monotonic() + READERS_SECONDS_MAX
    while still := waited_for.keys() & _open_transactions(connection).keys():
        if time.monotonic() >= ends_at:
            raise StillRead(waited_for[min(still)])
        time.sleep(PAUSE_SECONDS)


def _open_transactions(connection: Connection[DictRow]) -> dict[str, int]:
    return {row["transaction"]: row["pid"] for row in connection.execute(query("open_transactions"))}
