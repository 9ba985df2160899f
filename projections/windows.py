"""Windows of the log, and the turn of whoever folds one into a build."""

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow

from projections.read_model import ReadModel
from projections.registry import position_of
from projections.sql import query


def of_the_session(error: psycopg.Error) -> bool:
    """Whether the connection, a lock or the server is at fault, and not what was folded.

    By its class of SQLSTATE: the driver counts limits that a row exceeds among operational errors.
    """
    return error.sqlstate is None or error.sqlstate[:2] in {"08", "40", "53", "55", "57", "58"}


def take_turn(connection: Connection[DictRow], build: ReadModel) -> int | None:
    """Take the turn of a build for this transaction, and tell where it stands.

    None while somebody else has it, and where it was dropped.
    """
    row = connection.execute(query("take_turn"), {"build_table": build.table.as_string(connection)}).fetchone()
    if row is None or not row["ours"]:
        return None
    return position_of(connection, build)


def wait_for_turn(connection: Connection[DictRow], build: ReadModel) -> int | None:
    """The same, but wait for it as long as the session's lock_timeout lets it; None if there is no such build."""
    connection.execute(query("wait_for_turn"), {"build_table": build.table.as_string(connection)})
    return position_of(connection, build)


def window_end(connection: Connection[DictRow], after: int, events: int) -> int:
    """Where a window of about so many events ends: where a transaction does; `after` if there is nothing after it."""
    window = {"after": after, "limit": events}
    end = connection.execute(query("window_end"), window).fetchone()
    return after if end is None else max(after, end["transaction_last"])


def middle_of(connection: Connection[DictRow], after: int, until: int) -> int | None:
    """Where a transaction ends, about in the middle of (after, until]; None if that is one transaction."""
    half = after + max(1, (until - after) // 2)
    middle = window_end(connection, after, half - after)
    if middle < until:
        return middle
    values = {"after": after, "position": half}
    row = connection.execute(query("transaction_before"), values).fetchone()
    assert row is not None
    return None if row["ends_at"] == after else int(row["ends_at"])


def log_head(connection: Connection[DictRow]) -> int:
    """The last position of the log; 0 before the first event."""
    row = connection.execute(query("head")).fetchone()
    assert row is not None
    position: int = row["position"]
    return position
