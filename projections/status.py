"""How every build of every read model is getting on, as operators see it."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.instants import Instant
from ledger.store.clock import Clock
from projections.read_model import READ_MODELS
from projections.registry import Skip, all_skips, is_there
from projections.runner import TOGETHER_EVENTS_MAX
from projections.sql import query
from projections.windows import log_head

LIVE_SECONDS_MAX = 5.0
"""A build that serves and is farther behind, be it by one event, is catching up."""


class State(StrEnum):
    LIVE = "live"
    CATCHING_UP = "catching up"
    REBUILDING = "rebuilding"
    PAUSED = "paused"
    FAILED = "failed"
    KEPT = "kept"


class ProjectionStatus(NamedTuple):
    """One build. `lag_seconds` is how long ago the first event was recorded that it has not folded.

    `events_per_second` is how fast the last window was folded; `eta_seconds` is when the head of now is reached at that
    rate, if anybody is folding. `serving`: it is what the present version of the code, or an older one, reads.
    """

    name: str
    version: str
    state: State
    position: int
    head: int
    lag_events: int
    lag_seconds: float
    events_per_second: float | None
    eta_seconds: float | None
    error: str | None
    error_position: int | None
    serving: bool


class Overview(NamedTuple):
    """Every build of every projection beside the head of the log, and what is left out for ever.

    `followed`: some runner follows the log, in whatever process.
    """

    head: int
    followed: bool
    projections: Sequence[ProjectionStatus]
    skips: Sequence[Skip]


def overview(connection: Connection[DictRow], clock: Clock) -> Overview:
    """How the projections are getting on, in one snapshot; those that serve first. `clock` is the ledger's."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        head = log_head(connection)
        if not is_there(connection):
            return Overview(head, False, [], [])
        named = {"names": [model.name for model in READ_MODELS], "versions": [model.version for model in READ_MODELS]}
        rows = connection.execute(query("statuses"), named).fetchall()
        now = clock.read(connection)
        projections = [_status(row, now) for row in rows]
        return Overview(head, followed(connection), projections, all_skips(connection))


def followed(connection: Connection[DictRow]) -> bool:
    """Whether any runner follows the log at present, in whatever process."""
    row = connection.execute(query("followed")).fetchone()
    return row is not None


def _state(row: DictRow, lag_events: int, lag_seconds: float) -> State:
    """What matters most of a build's state."""
    if row["stage"] == "kept":
        return State.KEPT
    if row["error"] is not None:
        return State.FAILED
    if row["paused"]:
        return State.PAUSED
    if row["stage"] == "shadow":
        return State.REBUILDING
    behind = lag_events > TOGETHER_EVENTS_MAX or lag_seconds > LIVE_SECONDS_MAX
    return State.CATCHING_UP if behind else State.LIVE


def _status(row: DictRow, now: Instant) -> ProjectionStatus:
    lag, rate = max(0, row["head"] - row["position"]), row["events_per_second"]
    since = row["behind_since"]
    lag_seconds = 0.0 if since is None else max(0.0, (now - since).total_seconds())
    state = _state(row, lag, lag_seconds)
    return ProjectionStatus(
        name=row["name"],
        version=row["version"],
        state=state,
        position=row["position"],
        head=row["head"],
        lag_events=lag,
        lag_seconds=lag_seconds,
        events_per_second=rate,
        eta_seconds=lag / rate if rate and state not in (State.PAUSED, State.FAILED, State.KEPT) else None,
        error=row["error"],
        error_position=row["error_position"],
        serving=row["stage"] == "serving",
    )
