"""The epochs of a log: a position means one event within an epoch, and after a restore maybe another."""

from typing import NamedTuple

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.instants import Instant
from ledger.domain.refusals import InvalidArgument
from ledger.store.database import Database, Role
from ledger.store.recorder import lock_key
from ledger.store.sql import query

LOCK_WAIT = "10s"
"""How long writers may keep the log from an operator; then he is told so."""


class Epoch(NamedTuple):
    """An epoch holds the events after `began_after`. When it was begun is not known of a ledger's first one."""

    epoch: str
    began_after: int
    began_at: Instant | None
    began_by: str | None
    reason: str | None


class Identity(NamedTuple):
    """Which ledger it is, and its epochs, oldest first; the last one is the present one."""

    ledger_id: str
    epochs: tuple[Epoch, ...]

    @property
    def present(self) -> str:
        return self.epochs[-1].epoch

    def epoch_of(self, position: int) -> str:
        """The epoch that an event was recorded in."""
        return next(each.epoch for each in reversed(self.epochs) if each.began_after < position)

    def knows(self, epoch: str) -> bool:
        return any(each.epoch == epoch for each in self.epochs)

    def last_common(self, epoch: str, position: int) -> int:
        """The last position up to which somebody who had come to this place has seen what is in the log now.

        0 for an epoch that is not this ledger's: nothing is known to be common.
        """
        places = [place for place, each in enumerate(self.epochs) if each.epoch == epoch]
        return min((position, *(each.began_after for each in self.epochs[places[0] + 1 :]))) if places else 0


def identity(connection: Connection[DictRow]) -> Identity:
    """Which ledger a database holds, and its epochs."""
    rows = connection.execute(query("epochs")).fetchall()
    epochs = (Epoch(*(row[name] for name in Epoch._fields)) for row in rows)
    return Identity(rows[0]["ledger_id"], tuple(epochs))


def begin_epoch(database: Database, now: Instant, *, after: int | None, by: str, reason: str) -> Epoch:
    """Begin a new epoch after a position, the head if none is given; writers that run meanwhile stop.

    Refuses: InvalidArgument, for a position that the log has not.
    """
    with database.connect(Role.OWNER, lock_timeout=LOCK_WAIT) as connection, connection.transaction():
        connection.execute(query("lock"), {"key": lock_key(connection, database.schema)})
        values = {"after": after, "now": now, "by": by, "reason": reason}
        row = connection.execute(query("begin_epoch"), values).fetchone()
    if row is None:
        raise InvalidArgument("after", "must be a position of the log")
    return Epoch(*(row[name] for name in Epoch._fields))
