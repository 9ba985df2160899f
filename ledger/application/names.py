"""What a batch's commands name, and the pools they need: found and loaded before the lock is taken."""

from collections.abc import Sequence
from typing import cast

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application.commands import Command, ConsumeCredits, RefundDebit
from ledger.application.grant_commands import GrantCommand
from ledger.domain.pool import Pool
from ledger.domain.values import UUID, PoolKey, StreamId
from ledger.store.pools import load_debits, load_pools, pool_key_of_row
from ledger.store.side_tables import READABLE_ID, claimed
from ledger.store.sql import query


class Names:
    """Debits, grants and credits by the names that commands gave them, with their pools. None of it ever changes.

    `loaded` are the pools that were not at hand, as they were at position `loaded_at`.
    """

    def __init__(self, commands: Sequence[Command]) -> None:
        self.streams: dict[str, StreamId] = {}
        self.scopes: dict[str, str] = {}
        """What the keys of commands that name something are unique in: a debit counts for its holder, any other thing
        by its id, whichever name the command gave it."""
        self.pool_of: dict[str, PoolKey] = {}
        self.loaded: dict[PoolKey, Pool] = {}
        self.loaded_at = 0
        self._of_commands = {command.pool for command in commands}
        self.others = [command for command in commands if type(command) is not ConsumeCredits]
        """All but uses, which need nothing besides their pool; mostly few."""
        self.naming = [command for command in self.others if command.pool is None]
        """Those that name something instead of telling their pool."""

    @property
    def pools(self) -> set[PoolKey]:
        """All pools that the batch's commands are about."""
        return cast("set[PoolKey]", {*self._of_commands, *self.pool_of.values()} - {None})

    def find(self, connection: Connection[DictRow]) -> None:
        """Look up what is named. A UUID is an id, whatever somebody's readable id may look like."""
        commands = self.naming
        debits = [command.transaction_id for command in commands if isinstance(command, RefundDebit)]
        debits = [name for name in debits if UUID.fullmatch(name)]
        grants = [command.grant for command in commands if isinstance(command, GrantCommand)]
        streams = [command.named for command in commands if not isinstance(command, RefundDebit)]
        if debits:
            for debit_id, debit in load_debits(connection, debits).items():
                self.pool_of[debit_id] = debit.pool
                self.scopes[debit_id] = debit.pool.holder
        readable = [name for name in grants if not UUID.fullmatch(name)]
        if readable:
            self.streams |= claimed(connection, READABLE_ID, readable)
        for name in streams:
            if UUID.fullmatch(name):
                self.streams[name] = StreamId(name)
        if self.streams:
            self._find_pools_of_streams(connection)

    def load(self, connection: Connection[DictRow], missing: Sequence[PoolKey]) -> None:
        """Load pools in one snapshot, marked with its position."""
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        head = connection.execute(query("head")).fetchone()
        assert head is not None
        self.loaded = load_pools(connection, missing)
        self.loaded_at = head["position"] or 0
        connection.execute("COMMIT")

    def _find_pools_of_streams(self, connection: Connection[DictRow]) -> None:
        wanted = {"streams": list(set(self.streams.values()))}
        pools = {row["stream_id"]: pool_key_of_row(row) for row in connection.execute(query("streams"), wanted)}
        for name, stream_id in list(self.streams.items()):
            if stream_id in pools:
                self.pool_of[name] = pools[stream_id]
                self.scopes[name] = stream_id
            else:
                del self.streams[name]
