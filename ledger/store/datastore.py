"""The library's datastore on our address, with a connection that a writer can pin to its thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import local

from eventsourcing.postgres import ConnectionPool, PostgresDatastore
from psycopg import Connection
from psycopg.rows import DictRow, dict_row

from ledger.store.database import POOL_SECONDS_MAX, RECONNECT_SECONDS_MAX, Database, Role, adapt
from ledger.store.wire import Wire


@dataclass
class PinnedTransaction:
    """An open transaction that holds the writers' lock; `head` is the log's last position inside it.

    With a `wire`, what is appended is on its way when the append returns: by a statement of its own or, while
    `copying`, by a COPY that was begun. Then only the wire's answers tell whether it could be written.
    """

    connection: Connection[DictRow]
    head: int
    wire: Wire | None = None
    copying: bool = False


class LedgerDatastore(PostgresDatastore):
    """Connections of the writer's role. Inside `pin`, the library's objects all use the pinned connection."""

    def __init__(self, database: Database, *, connections_max: int = 8) -> None:
        # Not super().__init__: it takes host, user and password apart, and has no room for a DSN.
        self.database = database
        self.schema = database.schema
        self.originator_id_type = "text"
        self.enable_db_functions = False  # they append without the lock, and subscribers miss events
        self.single_row_tracking = True
        self.lock_timeout = 0
        self.pool_open_timeout = None
        self.db_type_names = set()
        self.psycopg_type_adapters = {}
        self.psycopg_python_types = {}
        self.pool = ConnectionPool(
            database.conninfo(Role.WRITER),
            connection_class=Connection[DictRow],
            kwargs={"row_factory": dict_row, "autocommit": True},
            min_size=0,
            max_size=connections_max,
            open=False,
            timeout=POOL_SECONDS_MAX,
            reconnect_timeout=RECONNECT_SECONDS_MAX,
            configure=adapt,
            name=f"{database.schema}-reads",
        )
        self._pinned = local()

    def register_type_adapters(self) -> None:
        """Nothing to register: the log takes lines, not the library's composite type."""

    @property
    def pinned(self) -> PinnedTransaction | None:
        return getattr(self._pinned, "transaction", None)

    @contextmanager
    def pin(self, transaction: PinnedTransaction) -> Iterator[None]:
        """Make this thread's reads and appends part of `transaction`."""
        self._pinned.transaction = transaction
        try:
            yield
        finally:
            del self._pinned.transaction

    @contextmanager
    def get_connection(self) -> Iterator[Connection[DictRow]]:
        pinned = self.pinned
        if pinned is not None:
            yield pinned.connection
        else:
            with super().get_connection() as connection:
                yield connection
