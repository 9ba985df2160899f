"""A ledger whose read models are brought to the head of the log whenever they are asked."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application import BlockingLedger, CreditLedger
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from projections.read_model import READ_MODELS, ReadModel
from projections.reading import Reader, Snapshot
from projections.registry import prepare
from projections.runner import advance
from tests.conftest import Hands, drop


class Followed(NamedTuple):
    """A ledger of its own for all tests of a module."""

    database: Database
    books: BlockingLedger
    hands: Hands
    projector: Connection[DictRow]
    reader: Reader

    @contextmanager
    def at_head(self, models: Sequence[ReadModel] = READ_MODELS) -> Iterator[Snapshot]:
        for model in models:
            while advance(self.projector, model):
                pass
        with self.reader.snapshot(models) as snapshot:
            assert not snapshot.stale
            yield snapshot


@contextmanager
def followed_ledger(server_dsn: str) -> Iterator[Followed]:
    """On the test clock, which stands at START."""
    database = Database(server_dsn, f"t_{secrets.token_hex(6)}")
    migrate(database)
    try:
        hands = Hands(database)
        with (
            CreditLedger(database, clock=settable_clock()) as ledger,
            database.connect(Role.PROJECTOR) as projector,
            Reader(database, clock=settable_clock()) as reader,
        ):
            prepare(projector, database)
            yield Followed(database, BlockingLedger(ledger), hands, projector, reader)
    finally:
        drop(database)
