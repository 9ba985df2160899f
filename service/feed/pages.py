"""Pages of the log, straight from the database: what a subscriber wants of the next stretch, and where that ends."""

from collections.abc import Sequence
from typing import LiteralString, NamedTuple

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.store.epochs import Identity, identity
from ledger.store.sql import statement
from projections.windows import window_end
from service.feed.messages import EVERYTHING, Filter, Message, message_of

SCANNED_EVENTS_MAX = 20_000
"""How much of the log one page looks through, however little of it is wanted."""


class Page(NamedTuple):
    """The wanted messages of (the place asked after, until], in order; `head` is where the log was found to end.

    `epoch` is the one that all of this is of.
    """

    messages: Sequence[Message]
    until: int
    head: int
    epoch: str

    @property
    def caught_up(self) -> bool:
        return self.until >= self.head


class Log:
    """Reads pages of one ledger's log. It knows the epochs, and looks them up again when a new one has begun."""

    def __init__(self) -> None:
        self._identity: Identity | None = None

    def look(self, connection: Connection[DictRow]) -> tuple[Identity, int]:
        """Which log it is, as of now, and its head."""
        row = connection.execute(_query("head")).fetchone()
        assert row is not None
        if self._identity is None or self._identity.present != row["epoch"]:
            self._identity = identity(connection)
        return self._identity, row["head"]

    def page(self, connection: Connection[DictRow], after: int, wanted: Filter, limit: int) -> Page:
        """The next page of at most `limit` messages; a transaction is never cut, so one that has more comes whole."""
        log, head = self.look(connection)
        if after >= head:
            return Page([], after, head, log.present)
        # where all is wanted, no more than a page holds: a server without statistics reads the whole window for it
        until = min(head, window_end(connection, after, limit + 1 if wanted == EVERYTHING else SCANNED_EVENTS_MAX))
        rows = self._rows(connection, after, until, wanted, limit + 1)
        if len(rows) > limit:
            whole = [row for row in rows if row["transaction_last"] < rows[limit]["position"]]
            if not whole:
                until = rows[0]["transaction_last"]
                whole = self._rows(connection, after, until, wanted, None)
            rows, until = whole, whole[-1]["transaction_last"]
        return Page([message_of(row, log) for row in rows], until, head, log.present)

    def stretch(self, connection: Connection[DictRow], after: int, until: int, wanted: Filter = EVERYTHING) -> Page:
        """The wanted messages of (after, until], or up to the head if that is nearer."""
        log, head = self.look(connection)
        until = min(until, head)
        rows = self._rows(connection, after, until, wanted, None) if until > after else []
        return Page([message_of(row, log) for row in rows], until, head, log.present)

    def _rows(
        self, connection: Connection[DictRow], after: int, until: int, wanted: Filter, limit: int | None
    ) -> list[DictRow]:
        values = {name: sorted(each) for name, each in wanted._asdict().items()}
        bounds = {"after": after, "until": until, "limit": limit}
        return connection.execute(_query("events"), {**bounds, **values}).fetchall()


def _query(name: str) -> LiteralString:
    return statement("service", f"queries/feed/{name}.sql")
