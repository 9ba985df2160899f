"""Where the lines of a log come from: a database, or an export of one."""

from collections.abc import Iterator, Set
from datetime import datetime
from itertools import islice
from typing import NamedTuple, Protocol

from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.domain.audit.lines import Line
from ledger.domain.refusals import InvalidArgument
from ledger.store.database import Database, Role
from ledger.store.epochs import Identity, identity
from ledger.store.sql import query as query_of_store
from ledger.store.sql import statement
from projections.reports.as_of import position_at
from projections.windows import log_head

LINES_PER_BLOCK = 2_000


class Source(Protocol):
    """The lines of a log from its first event up to a position, as often as one asks for them."""

    until: int
    """Where the lines end, if all is well: at the end of a transaction."""

    @property
    def kind(self) -> str:
        """`log`, or the form of an export."""
        ...

    def refunded(self) -> Set[str]:
        """The ids of the debits of which something comes back."""
        ...

    def blocks(self) -> Iterator[list[bytes]]:
        """The lines in order, some thousands at a time, each with its line end."""
        ...


class End(NamedTuple):
    """Where a replay ends, of which ledger."""

    ledger: Identity
    position: int


class LogLines:
    """The lines of the log in a database. It takes the writer's right to read the log itself, in sessions that cannot
    write."""

    kind = "log"

    def __init__(self, database: Database, until: int) -> None:
        self.until = until
        self._database = database

    def refunded(self) -> Set[str]:
        with self._database.connect(Role.READER) as connection:
            rows = connection.execute(_query("refunded"), {"until": self.until})
            return {row["debit_id"] for row in rows}

    def blocks(self) -> Iterator[list[bytes]]:
        columns = sql.SQL(", ").join(map(sql.Identifier, Line._fields))
        text = sql.SQL(query_of_store("log_lines")).format(columns=columns)
        alone = {
            "default_transaction_read_only": "on",
            "max_parallel_workers_per_gather": "0",
            "statement_timeout": "0",
        }
        with (
            self._database.connect(Role.WRITER, **alone) as connection,
            connection.cursor().copy(text, {"until": self.until}) as copied,
        ):
            yield from in_blocks(map(bytes, copied))


def in_blocks(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Some lines at a time."""
    while block := list(islice(lines, LINES_PER_BLOCK)):
        yield block


def end_of_log(connection: Connection[DictRow], to: int | datetime | None) -> End:
    """Where a replay of this database's log ends: at a position, as of an instant, or at the head.

    A position inside a transaction means the transaction's last one. Refuses: InvalidArgument (no such position).
    """
    head = log_head(connection)
    wanted = position_at(connection, to, head) if isinstance(to, datetime) else to
    row = connection.execute(_query("end_of_log"), {"position": head if wanted is None else wanted}).fetchone()
    if row is None and isinstance(to, int):
        raise InvalidArgument("to", f"must be a position of the log, 1 to {head}")
    return End(identity(connection), 0 if row is None else row["transaction_last"])


def _query(name: str) -> "sql.SQL":
    return sql.SQL(statement("projections.audit", f"{name}.sql"))
