"""An event that a read model cannot fold: found to its position, told, and stopped before."""

from bisect import bisect_left
from typing import NamedTuple

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow

from projections.read_model import ReadModel
from projections.registry import skips_of
from projections.sql import query
from projections.windows import middle_of, of_the_session, take_turn, window_end


class Poison(NamedTuple):
    """What stopped a build. No position: it fails whatever is folded, say because its table is gone."""

    position: int | None
    error: str


def said_by(error: psycopg.Error) -> str:
    """What the database says without the row that it says it of: that is for nobody who may not read it."""
    return error.diag.message_primary or str(error)


def stop_before_poison(
    connection: Connection[DictRow], build: ReadModel, window_events: int, error: psycopg.Error
) -> Poison | None:
    """Fold what can be folded of the next window, and record what cannot; `error` is what folding it whole said.

    The window is halved until one transaction is left; the build stops before it. None if it was somebody
    else's turn, or if all can be folded now.
    """
    with connection.transaction():
        after = take_turn(connection, build)
        if after is None:
            return None
        until = window_end(connection, after, window_events)
        poison, ends_at = Poison(None, said_by(error)), after
        if _refusal(connection, build, after, after) is None:
            if _refusal(connection, build, after, until) is None:
                return None
            poison, ends_at = _fold_up_to_poison(connection, build, after, until)
        values = {"name": build.name, "version": build.build, "after": after, "until": ends_at}
        told = {"error": poison.error, "error_position": poison.position}
        connection.execute(query("set_error"), {**values, **told})
        return poison


def _fold_up_to_poison(connection: Connection[DictRow], build: ReadModel, after: int, until: int) -> tuple[Poison, int]:
    """Fold the transactions of (after, until] before the first that cannot be folded; what is wrong there, and where
    they end."""
    while (middle := middle_of(connection, after, until)) is not None:
        if _refusal(connection, build, after, middle) is None:
            _fold(connection, build, after, middle)
            after = middle
        else:
            until = middle
    return _poison_of(connection, build, after, until), after


def _poison_of(connection: Connection[DictRow], build: ReadModel, after: int, until: int) -> Poison:
    """The event without which this transaction could be folded; the first that cannot be folded if there is none.

    A transaction that is cut may be refused for being cut: that is no fault of the event before the cut.
    """
    positions = range(after + 1, until + 1)
    first = positions[
        bisect_left(
            positions,
            True,
            hi=len(positions) - 1,
            key=lambda position: _refusal(connection, build, after, position) is not None,
        )
    ]
    refused: list[Poison] = []
    for position in (first, *positions):
        refusal = _refusal(connection, build, after, position)
        if refusal is not None:
            refused.append(Poison(position, refusal))
            if _refusal(connection, build, after, until, without=position) is None:
                return refused[-1]
    return refused[0]


def _refusal(
    connection: Connection[DictRow], build: ReadModel, after: int, until: int, *, without: int | None = None
) -> str | None:
    """What the database says to folding (after, until], which is undone at once; None if it can be folded."""
    try:
        with connection.transaction() as attempt:
            _fold(connection, build, after, until, without=without)
            raise psycopg.Rollback(attempt)
    except psycopg.Error as error:
        if of_the_session(error):
            raise
        return said_by(error)
    return None


def _fold(
    connection: Connection[DictRow], build: ReadModel, after: int, until: int, *, without: int | None = None
) -> None:
    skips = skips_of(connection, build.name, after=after, until=until)
    build.fold(connection, after, until, skips if without is None else sorted({*skips, without}))
